import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTesting
import NIOConcurrencyHelpers
import NIOCore
import Testing

/// Every node publishes to rooms, to a user and to everybody, whatever happens; then each node's receipts are compared
/// with what the others sent: what is lost, what came twice, what came out of order.
final class Traffic: Sendable {
    /// What one node received of another.
    struct Verdict: Equatable, CustomStringConvertible {
        var sent = 0
        var lost = 0
        var duplicated = 0
        var reordered = 0
        var description: String { "\(sent) sent, \(lost) lost, \(duplicated) duplicated, \(reordered) reordered" }
        var isPerfect: Bool { lost == 0 && duplicated == 0 && reordered == 0 }
    }

    let nodes: [TestNode]
    private let rooms: [RoomName]
    private let user: UserID
    private let sent = NIOLockedValueBox<[NodeID: Int]>([:])
    private let isStopping = NIOLockedValueBox(false)
    private let publishers = NIOLockedValueBox<[Task<Void, Never>]>([])

    init(_ nodes: [TestNode]) throws {
        self.nodes = nodes
        rooms = [try room("lobby"), try room("attic {2}")]
        user = try #require(UserID("ann"))
    }

    /// Everybody is in every room, and the user is on every node.
    func join(_ redis: RedisServer) async throws {
        for node in nodes {
            for place in rooms { try node.join(place, "member") }
            node.bridge.relay([.connected(client: try node.client("k"), user: user)], fromShard: 0)
        }
        let keys = ClusterKeys(prefix: "conduit")
        for topic in rooms.map({ BusTopic.room($0) }) + [.user(user)] {
            try await eventually {
                try await redis.redisCLI("PUBSUB", "NUMSUB", keys.channel(topic))
                    .split(whereSeparator: \.isWhitespace).last == "\(self.nodes.count)"
            }
        }
        for node in nodes { try await node.knows(nodes.count) }
    }

    /// Begins to publish on all nodes.
    func start() {
        publishers.withLockedValue { publishers in
            publishers = nodes.map { node in
                Task {
                    while !self.isStopping.withLockedValue({ $0 }) {
                        self.publish(node, 4)
                        // Only the pace: about a thousand messages a second altogether.
                        try? await Task.sleep(for: .milliseconds(10))
                    }
                }
            }
        }
    }

    /// Some messages in one turn, to different places.
    func publish(_ node: TestNode, _ count: Int) {
        let first = sent.withLockedValue { sent in
            let first = sent[node.id, default: 0]
            sent[node.id] = first + count
            return first
        }
        let events = (first..<first + count).map { number -> HubEvent in
            let text = message("{\"from\":\"\(node.id)\",\"n\":\(number)}")
            return switch number % 4 {
            case 0: .broadcast(room: rooms[0], message: text)
            case 1: .broadcast(room: rooms[1], message: text)
            case 2: .broadcastAll(message: text)
            default: .send(target: .user(user), message: text, pending: nil)
            }
        }
        node.bridge.relay(events, fromShard: 0)
    }

    func stop() async {
        isStopping.withLockedValue { $0 = true }
        for task in publishers.withLockedValue({ $0 }) { await task.value }
    }

    /// How many messages a node has sent.
    func count(of node: TestNode) -> Int { sent.withLockedValue { $0[node.id, default: 0] } }

    /// Waits until so many more were sent by every node: something happens in the middle of traffic.
    func flow(_ more: Int = 40) async throws {
        let before = sent.withLockedValue { $0 }
        try await eventually("traffic flows") {
            self.nodes.allSatisfy { self.count(of: $0) >= before[$0.id, default: 0] + more }
        }
    }

    func verdict(_ receiver: TestNode, of sender: TestNode) -> Verdict {
        let prefix = "{\"from\":\"\(sender.id)\",\"n\":"
        let numbers = receiver.sink.received.compactMap { received -> Int? in
            guard received.json.hasPrefix(prefix) else { return nil }
            return Int(received.json.dropFirst(prefix.count).dropLast())
        }
        var verdict = Verdict(sent: count(of: sender))
        let distinct = Set(numbers)
        verdict.lost = verdict.sent - distinct.count
        verdict.duplicated = numbers.count - distinct.count
        verdict.reordered = zip(numbers, numbers.dropFirst()).count { $0 >= $1 }
        return verdict
    }

    /// Pairs of nodes with what one received of the other.
    func verdicts() -> [String: Verdict] {
        var result: [String: Verdict] = [:]
        for receiver in nodes {
            for sender in nodes where sender.id != receiver.id {
                result["\(sender.id) to \(receiver.id)"] = verdict(receiver, of: sender)
            }
        }
        return result
    }

    /// Waits until everything has arrived, as far as it will, and says what is not as it should be.
    func faults(within limit: Duration = .seconds(60)) async -> [String: Verdict] {
        try? await eventually(within: limit) { self.verdicts().values.allSatisfy { $0.lost == 0 } }
        return verdicts().filter { !$0.value.isPerfect }
    }
}
