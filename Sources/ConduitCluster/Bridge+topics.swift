import ConduitCore
import ConduitRedis

// Single subscriptions that are lost while the connection stays, as in a Redis Cluster when a slot moves.
extension Bridge {
    /// Redis has taken these subscriptions away. They are made again at once, and what was missed is asked for when
    /// all of them are confirmed.
    func topicsLost(_ topics: [BusTopic]) {
        guard !topics.isEmpty, phase != .closed else { return }
        for topic in interest.lost(topics) {
            tracker.pause(topic)
            if case .room(let room) = topic { forget(room) }
        }
        let own: [BusTopic] = [.everyone, .control, .node(node)]
        let service = topics.filter(own.contains)
        if !service.isEmpty { subscriptions?.subscribe(service.map(keys.channel)) }
        lostTopics.formUnion(topics.filter { service.contains($0) || interest.state(of: $0) != nil })
        catchUp.lost()
        if lostTopics.isEmpty { askEverybody() }
        needsFlush()
    }
}
