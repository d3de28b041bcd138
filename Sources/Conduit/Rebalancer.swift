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
        /// An operator wants it now.
        var isCommanded = false
        var figures = Figures()
    }

    /// How often it has stopped because nobody arrived where the clients were sent, and whether it has now.
    struct Figures: Hashable {
        var halts: UInt64 = 0
        var isHalted = false
    }

    /// Steps without a view of a settled cluster after which a command is given up.
    private static let patience = 12
    private let configuration: RebalanceConfiguration
    private let delay: TimeAmount
    private let rate: Int
    private let interval: Duration
    private let hub: Hub
    private let bridge: BridgeRef
    private let logger: Logger
    private let state = Mutex(State())

    init(
        _ configuration: RebalanceConfiguration, drain: DrainConfiguration, heartbeat: Duration, hub: Hub,
        bridge: BridgeRef, logger: Logger
    ) {
        self.configuration = configuration
        let delay = TimeAmount(drain.reconnectDelay)
        self.delay = delay
        self.rate = drain.rate
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

    var figures: Figures { state.withLock { $0.figures } }

    /// Whether it looks at the nodes now and then.
    var isRunning: Bool { state.withLock { $0.task != nil } }

    /// Whether an operator's order waits for the next look.
    var isCommanded: Bool { state.withLock { $0.isCommanded } }

    /// Sends clients away until this node is near the mean. While it does so already, it only ends the pause that was made
    /// because nobody had arrived. In mode `auto` it goes on behind that, also when the order comes before ``start()``.
    func runNow() {
        state.withLock { $0.isCommanded = true }
        run(isCommanded: configuration.mode != .auto)
    }

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
        var rebalance = RebalanceSteps(share: configuration.share, tolerance: configuration.tolerance)
        var wasShedding = false
        var blindSteps = 0
        // A command ends at the latest when the node could have sent everybody away twice.
        let seconds = interval / .seconds(1)
        let steps = Double(200 * 60 / configuration.share) / seconds
        let most = max(1, Int(Double(rate) * seconds * 0.9))
        var step = 0.0
        while !Task.isCancelled, !isCommanded || step < steps {
            step += 1
            let until = ContinuousClock.now + interval
            switch await Self.look(hub: hub, bridge: bridge, node: hub.node) {
            case .blind, .unsettled:
                hub.endShedding()
                rebalance.pause()
                blindSteps += 1
                if isCommanded, blindSteps >= Self.patience { step = steps }
            case .settled(let own, let others):
                blindSteps = 0
                let isPushed = state.withLock { state in
                    defer { state.isCommanded = false }
                    return state.isCommanded
                }
                let (count, edge) = rebalance.step(
                    own: own, others: others, isPushed: isPushed, seconds: seconds, most: most)
                note(edge)
                let isShedding = rebalance.balance.isShedding
                state.withLock { $0.figures.isHalted = rebalance.watch.isHalted }
                if isShedding != wasShedding, !rebalance.watch.isHalted {
                    wasShedding = isShedding
                    logger.info(
                        isShedding ? "sending clients to other nodes" : "as many clients as the other nodes have",
                        metadata: [LogKey.count: "\(own)"])
                }
                if count > 0 {
                    await hub.shed(
                        count: count, perSecond: Double(count) / seconds, limit: rate, reason: .rebalance, delay: delay,
                        by: .now() + TimeAmount(interval))
                }
                if isCommanded, !isShedding { step = steps }
            }
            if isCommanded, step >= steps { break }
            try? await Task.sleep(until: until)
        }
        state.withLock { state in
            state.figures.isHalted = false
            if !Task.isCancelled { state.task = nil }
        }
    }

    /// One line for each edge.
    private func note(_ edge: ArrivalWatch.Edge?) {
        switch edge {
        case .halted(let sent, let arrived):
            state.withLock { $0.figures.halts += 1 }
            logger.warning(
                "clients don't arrive at the nodes that have fewer; is one kept out of the balancer?",
                metadata: [LogKey.count: "\(sent)", LogKey.arrived: "\(arrived)"])
        case .resumed: logger.notice("clients arrive at the nodes that have fewer again")
        case nil: break
        }
    }
}
