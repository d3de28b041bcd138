import ConduitCluster
import ConduitCore
import ConduitTesting
import NIOConcurrencyHelpers
import Testing

/// Publishers on several nodes who repeat, under the same key, whatever was not acknowledged.
final class OrderedTraffic: Sendable {
    let nodes: [TestNode]
    let room: RoomName
    private struct State {
        var acknowledged: [String] = []
        var repeated: Set<String> = []
        var isStopping = false
        var tasks: [Task<Void, any Error>] = []
    }
    private let state = NIOLockedValueBox(State())

    init(_ nodes: [TestNode], _ room: RoomName) {
        self.nodes = nodes
        self.room = room
    }

    var acknowledged: [String] { state.withLockedValue { $0.acknowledged } }
    var repeated: Set<String> { state.withLockedValue { $0.repeated } }

    func start() {
        state.withLockedValue { state in
            state.tasks = nodes.map { node in Task { try await self.publish(on: node) } }
        }
    }

    private func publish(on node: TestNode) async throws {
        var answered = 0
        var number = 0
        while !state.withLockedValue({ $0.isStopping }) {
            let texts = (0..<4).map { "\(node.id)-\(number + $0)" }
            number += 4
            var open = texts
            while !open.isEmpty {
                try node.publish(room, open, keys: open)
                answered += open.count
                try await node.answered(answered)
                let answers = try node.answers()[(answered - open.count)..<answered]
                open = zip(open, answers).filter { !$1.hasPrefix("{\"type\":\"ack\"") }.map(\.0)
                state.withLockedValue { $0.repeated.formUnion(open) }
            }
            state.withLockedValue { $0.acknowledged += texts }
        }
    }

    /// Checks that nothing acknowledged is lost, nothing came twice, and everybody has read the same order from 1 on, each
    /// publisher's in its own. `member` is in the room on every one of the nodes.
    func check(_ all: [TestNode], _ member: String) async throws {
        let acknowledged = acknowledged
        for node in all { try await node.hasRead(room, member, acknowledged.count) }
        let order = try all[0].read(room, member)
        let texts = Self.texts(order)
        #expect(texts.count == Set(texts).count && Set(texts) == Set(acknowledged))
        #expect(order.enumerated().allSatisfy { $1.hasSuffix(",\"offset\":\($0 + 1)}") })
        for node in all {
            #expect(try node.read(room, member) == order, "\(node.id)")
            let isOwn = { (text: String) in text.hasPrefix("\(node.id)-") }
            #expect(texts.filter(isOwn) == acknowledged.filter(isOwn))
            #expect(await node.bridge.statistics().unrecoverable == 0)
        }
    }

    /// What was published, of frames as members read them.
    private static func texts(_ frames: [String]) -> [String] {
        frames.compactMap { $0.split(separator: "\"").dropFirst(3).first.map(String.init) }
    }

    /// Waits until all nodes have published for a while.
    func flow(_ count: Int = 120) async throws {
        let goal = acknowledged.count + count
        try await eventually("\(count) more are acknowledged") { acknowledged.count >= goal }
    }

    func stop() async throws {
        let tasks = state.withLockedValue { state in
            state.isStopping = true
            return state.tasks
        }
        for task in tasks { try await task.value }
    }
}
