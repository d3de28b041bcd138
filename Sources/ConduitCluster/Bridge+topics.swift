import ConduitCore

// Single subscriptions that are lost while the connection stays, as in a Redis Cluster when a slot moves.
extension Bridge {
    /// Redis has taken these subscriptions away. They are made again at once, and what was missed is asked for when
    /// they are confirmed.
    func topicsLost(_ topics: [BusTopic]) {
        for topic in interest.lost(topics) {
            tracker.pause(topic)
            if case .room(let room) = topic { forget(room) }
        }
        needsFlush()
    }
}
