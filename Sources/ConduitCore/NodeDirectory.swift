/// Which nodes the cluster has, told by the heartbeats that Redis keeps: who lives, who is late, whose lease ran out.
package struct NodeDirectory: Sendable {
    /// How a node seems to be.
    package enum State: String, Hashable, Sendable {
        /// Heartbeats come.
        case live
        /// Over half of its lease without one.
        case suspect
        /// Its lease ran out.
        case lost
    }

    /// What to do after a heartbeat.
    package enum Action: Hashable, Sendable {
        /// Try to take over the clean-up of a node whose lease ran out.
        case claim(NodeID)
        /// A node was not known before.
        case appeared(NodeID)
        /// A node is gone from the list, and has been for a lease's time: forget its members.
        case vanished(NodeID)
        /// Our own entry was gone though we thought that we had one: assert everything again.
        case reassert
    }

    /// One node as the list shows it.
    package struct Node: Hashable, Sendable {
        /// Its last heartbeat in Redis's clock, in milliseconds.
        package var heartbeat: Int64
        /// What that means at the time of the newest reply.
        package var state: State
        /// Since when it isn't listed any more, in Redis's clock.
        var missingSince: Int64?
        /// When its clean-up may be tried (again).
        var nextClaim: Int64 = 0
    }

    /// Nodes beyond this are not taken in: the list is written by others.
    package static let maximumNodes = 4_096
    /// The latest time that is believed, in milliseconds since 1970: some 30,000 years.
    private static let maximumTime: Int64 = 1_000_000_000_000_000

    private let own: NodeID
    private let leaseMilliseconds: Int64
    private var registered = false
    /// The other nodes.
    package private(set) var nodes: [NodeID: Node] = [:]

    /// A directory of a node that isn't registered yet.
    package init(own: NodeID, leaseMilliseconds: Int64) {
        self.own = own
        self.leaseMilliseconds = min(max(1, leaseMilliseconds), Self.maximumTime)
    }

    /// The other nodes that have a lease.
    package var living: Set<NodeID> { Set(nodes.filter { $0.value.state != .lost }.keys) }

    /// A heartbeat was answered. `added`: our own entry was not there before it.
    package mutating func heartbeatAnswered(
        now: Int64, scores: [(node: NodeID, heartbeat: Int64)], added: Bool
    ) -> [Action] {
        // Redis's clock and the list may say anything; the sums below must not overflow.
        guard (0...Self.maximumTime).contains(now) else { return [] }
        var actions: [Action] = []
        if added, registered { actions.append(.reassert) }
        registered = true
        var listed: Set<NodeID> = []
        for (node, listedHeartbeat) in scores where node != own {
            let heartbeat = min(max(0, listedHeartbeat), Self.maximumTime)
            guard nodes[node] != nil || nodes.count < Self.maximumNodes else { continue }
            listed.insert(node)
            if nodes[node] == nil {
                nodes[node] = Node(heartbeat: heartbeat, state: .live)
                actions.append(.appeared(node))
            }
            let age = now - heartbeat
            let state: State = age >= leaseMilliseconds ? .lost : age * 2 > leaseMilliseconds ? .suspect : .live
            nodes[node]?.heartbeat = heartbeat
            nodes[node]?.state = state
            nodes[node]?.missingSince = nil
            if state == .lost, let next = nodes[node]?.nextClaim, next <= now {
                nodes[node]?.nextClaim = now + max(1_000, leaseMilliseconds / 2)
                actions.append(.claim(node))
            }
        }
        for (node, entry) in nodes where !listed.contains(node) {
            let since = entry.missingSince ?? now
            nodes[node]?.missingSince = since
            if now - since >= leaseMilliseconds {
                nodes[node] = nil
                actions.append(.vanished(node))
            }
        }
        return actions
    }

    /// Somebody announced that the node is down. Returns whether it was known.
    @discardableResult
    package mutating func remove(_ node: NodeID) -> Bool { nodes.removeValue(forKey: node) != nil }
}
