import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore
import Synchronization

/// Sends clients to nodes that have fewer: always, when `rebalance.mode` is `auto`, or once, when an operator says so.
///
/// Every few seconds it looks at what the nodes say of themselves in Redis; while it has nothing to do it looks at
/// nothing. It touches no client itself: the shards send them away at the pace that it gives.
final class Rebalancer: Sendable {
    /// Why nobody is sent away, or what is done about it.
    enum View: Hashable {
        /// Redis is away.
        case blind
        /// A node comes or goes, by its state.
        case unsettled(NodeID, String)
        /// All nodes are ready: the clients of this one and of the others that take some.
        case settled(own: Int, others: [NodeID: Int])
    }

    private struct State {
        var task: Task<Void, Never>?
        var hasEnded = false
    }

    /// Steps without a view of a settled cluster after which a command is given up.
    private static let patience = 12
    private let configuration: RebalanceConfiguration
    private let delay: TimeAmount
    private let interval: Duration
    private let hub: Hub
    private let bridge: BridgeRef
    private let logger: Logger
    private let state = Mutex(State())

    init(
        _ configuration: RebalanceConfiguration, delay: TimeAmount, heartbeat: Duration, hub: Hub,
        bridge: BridgeRef, logger: Logger
    ) {
        self.configuration = configuration
        self.delay = delay
        // What was sent away in one step is counted by the others before the next but one.
        self.interval = max(configuration.interval, heartbeat * 2 + Duration(delay))
        self.hub = hub
        self.bridge = bridge
        self.logger = logger
    }

    /// Begins, where the configuration wants it.
    func start() {
        if configuration.mode == .auto { run(isCommanded: false) }
    }

    /// Sends clients away until this node is near the mean. Nothing happens while it does so already.
    func runNow() { run(isCommanded: true) }

    /// Ends for good: the node stops.
    func stop() {
        let task = state.withLock { state in
            state.hasEnded = true
            return state.task.take()
        }
        task?.cancel()
    }

    /// What the nodes have, as far as all of them are ready.
    static func look(hub: Hub, bridge: BridgeRef, node: NodeID) async -> View {
        guard let loads = await bridge.loads() else { return .blind }
        let strange = loads.sorted { $0.node.rawValue < $1.node.rawValue }.first {
            $0.state != NodeState.ready.rawValue
        }
        if let strange { return .unsettled(strange.node, strange.state) }
        // Who is full or kept out of the balancer gets none, however few it has.
        let others = loads.filter { $0.node != node && $0.accepts }.map { ($0.node, $0.clients) }
        return .settled(own: await hub.openCount(), others: Dictionary(others) { first, _ in first })
    }

    private func run(isCommanded: Bool) {
        state.withLock { state in
            guard state.task == nil, !state.hasEnded else { return }
            state.task = Task { [weak self] in await self?.work(isCommanded: isCommanded) }
        }
    }

    private func work(isCommanded: Bool) async {
        var balance = ClientBalance(share: configuration.share, tolerance: configuration.tolerance)
        var wasShedding = false
        var blindSteps = 0
        var away = ClientsUnderWay()
        // A command ends at the latest when the node could have sent everybody away twice.
        let steps = Double(200 * 60 / configuration.share) / Self.seconds(interval)
        var step = 0.0
        while !Task.isCancelled, !isCommanded || step < steps {
            step += 1
            let until = ContinuousClock.now + interval
            switch await Self.look(hub: hub, bridge: bridge, node: hub.node) {
            case .blind, .unsettled:
                hub.endShedding()
                balance.pause()
                blindSteps += 1
                if isCommanded, blindSteps >= Self.patience { step = steps }
            case .settled(let own, let others):
                blindSteps = 0
                away.look(total: own + others.values.reduce(0, +), nodes: others.count)
                let count = balance.step(
                    own: own, others: Array(others.values), inFlight: away.count, seconds: Self.seconds(interval))
                away.sent(count)
                if balance.isShedding != wasShedding {
                    wasShedding = balance.isShedding
                    logger.info(
                        wasShedding ? "sending clients to other nodes" : "as many clients as the other nodes have",
                        metadata: [LogKey.count: "\(own)"])
                }
                if count > 0 {
                    await hub.shed(
                        count: count, perSecond: Double(count) / Self.seconds(interval), reason: .rebalance,
                        delay: delay, by: .now() + TimeAmount(interval))
                }
                if isCommanded, !balance.isShedding { step = steps }
            }
            if isCommanded, step >= steps { break }
            try? await Task.sleep(until: until)
        }
        state.withLock { state in if !Task.isCancelled { state.task = nil } }
    }

    private static func seconds(_ duration: Duration) -> Double { duration / .seconds(1) }
}
