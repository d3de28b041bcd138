import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitHub
import NIOCore
import Synchronization

/// What an operator does with nodes as a whole, through any of them: drain one, share the clients out again.
///
/// It is there before the node is, since the admin port is; what stops the node is plugged in later.
final class NodeOperations: Sendable {
    /// How long another node has to say that it drains, and how often is looked.
    private static let answerTime = Duration.seconds(3)
    private static let lookInterval = Duration.milliseconds(50)

    private let configuration: NodeConfiguration
    private let hub: Hub
    private let bridge: BridgeRef
    let rebalancer: Rebalancer
    private struct Stop {
        var body: (@Sendable (Duration?) -> Void)?
        /// An order that came before the node was there.
        var early: Duration??
    }
    private let stop = Mutex(Stop())

    init(configuration: NodeConfiguration, hub: Hub, bridge: BridgeRef, rebalancer: Rebalancer) {
        self.configuration = configuration
        self.hub = hub
        self.bridge = bridge
        self.rebalancer = rebalancer
    }

    /// Says how this node is made to drain; the time is how long it may take, `nil` for as long as it is configured.
    func onDrain(_ body: @escaping @Sendable (Duration?) -> Void) {
        let early = stop.withLock { stop in
            stop.body = body
            return stop.early.take()
        }
        if let early { body(early) }
    }

    /// What another node has told this one.
    func carryOut(_ order: NodeOrder) {
        switch order {
        case .drain(let milliseconds):
            let timeout: Duration? = milliseconds == 0 ? nil : .milliseconds(Int64(milliseconds))
            let body = stop.withLock { stop in
                if stop.body == nil { stop.early = .some(timeout) }
                return stop.body
            }
            body?(timeout)
        case .rebalance: rebalancer.runNow()
        }
    }

    /// Makes a node drain, and returns when it says that it does.
    func drain(_ node: NodeID, within timeout: Duration?) async -> AdminDrain {
        let milliseconds = timeout.map { UInt32(clamping: Int64($0 / .milliseconds(1))) } ?? 0
        guard node != configuration.nodeID else {
            carryOut(.drain(milliseconds: milliseconds))
            return .draining
        }
        guard let loads = await bridge.loads(with: node) else { return .unreachable("redis") }
        guard let load = loads.first(where: { $0.node == node }) else { return .unknown }
        guard load.state != "lost" else { return .unreachable(node.rawValue) }
        guard load.state != NodeState.draining.rawValue else { return .draining }
        // It takes no orders yet.
        guard load.state != NodeState.starting.rawValue else { return .unreachable(node.rawValue) }
        bridge.tell(.drain(milliseconds: milliseconds), to: node)
        let deadline = ContinuousClock.now + Self.answerTime
        repeat {
            try? await Task.sleep(for: Self.lookInterval)
            guard let loads = await bridge.loads(with: node) else { continue }
            // It may be gone by now.
            guard let load = loads.first(where: { $0.node == node }), load.state == NodeState.ready.rawValue else {
                return .draining
            }
        } while ContinuousClock.now < deadline && !Task.isCancelled
        return .unreachable(node.rawValue)
    }

    /// Tells all nodes to send clients to those that have fewer.
    func rebalance() async throws(RequestError) -> AdminRebalance {
        switch await Rebalancer.look(hub: hub, bridge: bridge, node: configuration.nodeID) {
        case .blind: throw RequestError(.unavailable, "Redis can't be reached")
        case .unsettled(let node, "lost"):
            return AdminRebalance(started: [], mean: nil, unreachable: [node.rawValue])
        case .unsettled(let node, let state):
            throw RequestError(.unavailable, "\(node) is \(state); clients are shared out when all nodes are ready")
        case .settled(let own, let others):
            let mean = ClientBalance.mean(own: own, others: Array(others.values))
            let all = others.merging([configuration.nodeID: own]) { first, _ in first }
            let started = all.filter { _, clients in
                var balance = ClientBalance(
                    share: configuration.rebalance.share, tolerance: configuration.rebalance.tolerance)
                _ = balance.step(own: clients, others: otherThan(clients, of: all), seconds: 1)
                return balance.isShedding
            }
            if !started.isEmpty {
                bridge.tell(.rebalance)
                rebalancer.runNow()
            }
            return AdminRebalance(started: started.keys.sorted { $0.rawValue < $1.rawValue }, mean: mean)
        }
    }

    /// The counts of all nodes but one that has so many.
    private func otherThan(_ clients: Int, of all: [NodeID: Int]) -> [Int] {
        var counts = Array(all.values)
        if let index = counts.firstIndex(of: clients) { counts.remove(at: index) }
        return counts
    }
}
