import ConduitCore
import ConduitRedis

// Channels that a Redis Cluster takes away one slot at a time, while the connection stays.
extension Bridge {
    /// The slot of these channels has moved to another server. They are asked for again there; what was published in
    /// between has gone by.
    func channelsLost(_ channels: [String]) {
        guard phase != .closed, phase != .offline else { return }
        var topics: [BusTopic] = []
        var own: [BusTopic] = []
        for channel in channels {
            switch keys.topic(ofChannel: channel) {
            case .room(let room): topics.append(.room(room))
            case .user(let user): topics.append(.user(user))
            case .everyone: own.append(.everyone)
            case .control: own.append(.control)
            case .node(let node) where node == self.node: own.append(.node(node))
            case .node, nil: break
            }
        }
        if !own.isEmpty, phase == .subscribing {
            // They are counted; a count that is wrong for good would never become complete.
            subscriptions?.forceReconnect(reason: "channels of this node were moved while it came up")
            return
        }
        // Their confirmations come once more.
        if phase == .subscribing {
            backlog += topics.count { interest.isConfirmed($0) && interest.shards(of: $0) != 0 }
        }
        counters.channelsMoved += UInt64(channels.count)
        topicsLost(topics + own)
    }
}
