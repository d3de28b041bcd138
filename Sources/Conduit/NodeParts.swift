import ConduitAdmin
import ConduitAuth
import ConduitCluster
import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// What a node is made of, opened in the order of dependence and closed backwards.
final class NodeParts: Sendable {
    /// How far the node is in its life.
    fileprivate enum Phase: Int {
        case starting, open, leaving, draining, stopped
    }

    let hub: Hub
    let bridge: BridgeRef
    let httpPort: Int
    let adminPort: Int?
    /// The settings of now.
    let live: LiveConfiguration
    /// The least level of the node's log lines.
    let level: LogLevelCell
    let gateway: Gateway
    let authenticator: LiveAuthenticator?
    /// The application's own handler says who may connect.
    let decidesItself: Bool
    /// The application's server, not its own hook, is asked what clients may do with rooms.
    let asksServer: Bool
    let logger: Logger
    private let admin: RunningAdmin?
    private let rebalancer: Rebalancer
    private let group: MultiThreadedEventLoopGroup
    private let phase: PhaseCell
    private let skipsWait = Atomic(false)
    private let failure = Mutex<NodeIDTaken?>(nil)
    /// Completed when the node has stopped. Belongs to a loop of the singleton group, which outlives the node's own.
    private let stopped: EventLoopPromise<Void>

    private init(
        _ settings: Settings, hub: Hub, bridge: BridgeRef, gateway: Gateway, admin: RunningAdmin?,
        rebalancer: Rebalancer, httpPort: Int, group: MultiThreadedEventLoopGroup, phase: PhaseCell, logger: Logger
    ) {
        self.live = settings.live
        self.level = settings.level
        self.decidesItself = settings.decidesItself
        self.asksServer = settings.asksServer
        self.hub = hub
        self.bridge = bridge
        self.gateway = gateway
        self.admin = admin
        self.authenticator = settings.authenticator
        self.rebalancer = rebalancer
        self.httpPort = httpPort
        self.adminPort = admin?.port
        self.group = group
        self.phase = phase
        self.logger = logger
        self.stopped = MultiThreadedEventLoopGroup.singleton.any().makePromise()
    }

    /// A node that is let go without a stop: nobody waits for it any more.
    deinit {
        stopped.succeed()
        rebalancer.stop()
        guard let authenticator else { return }
        Task { await authenticator.shutdown() }
    }

    /// The ports are bound first, so that the node can say where it is; clients are taken when everything is there.
    static func open(
        _ settings: Settings, hub: Hub, group: MultiThreadedEventLoopGroup,
        authenticate: AuthenticationHandler?, logger: Logger
    ) async throws -> NodeParts {
        let configuration = settings.live.current
        let phase = PhaseCell()
        let status = LateStatus()
        let readiness: @Sendable () -> Readiness = { Self.readiness(phase, status) }
        let gateway = Gateway(
            configuration: configuration.gateway, hub: hub, group: group, logger: logger, readiness: readiness,
            authenticate: authenticate)
        let address = "\(configuration.gateway.host):\(configuration.gateway.port)"
        let port: Int
        do {
            port = try await gateway.start().port ?? 0
        } catch let error as ServerTLSError {
            throw error
        } catch {
            throw PortUnavailable(key: "http.port", address: address, reason: error)
        }
        var cluster = configuration.cluster
        // One table for both, whoever made the configuration.
        cluster.rooms = configuration.hub.rooms
        cluster.replayBytes = configuration.hub.pendingBytes / 2
        cluster.handOverMilliseconds = TimeAmount(configuration.drain.presenceGrace).nanoseconds / 1_000_000
        if cluster.address.isEmpty { cluster.address = "\(configuration.gateway.host):\(port)" }
        let bridge = BridgeRef(
            node: configuration.nodeID, configuration: cluster, eventLoop: group.any(), tracer: hub.tracer,
            logger: logger)
        status.set(bridge)
        let rebalancer = Rebalancer(
            configuration.rebalance, drain: configuration.drain,
            heartbeat: .milliseconds(cluster.heartbeatMilliseconds), hub: hub, bridge: bridge, logger: logger)
        let operations = NodeOperations(
            configuration: configuration, hub: hub, bridge: bridge, rebalancer: rebalancer)
        do {
            // On loops of its own: an operator's request neither waits behind messages nor holds them up.
            let admin = try await RunningAdmin.open(
                settings.live, hub: hub, bridge: bridge, gateway: gateway, authenticator: settings.authenticator,
                operations: operations, group: MultiThreadedEventLoopGroup.singleton, logger: logger)
            bridge.onAccepts { [weak gateway] in gateway?.readiness.acceptsClients ?? true }
            try await hub.connect(to: bridge)
            // What comes before the node can stop is remembered.
            bridge.onOrder { operations.carryOut($0) }
            bridge.start(sink: hub)
            bridge.setState(.ready)
            phase.set(.open)
            let parts = NodeParts(
                settings, hub: hub, bridge: bridge, gateway: gateway, admin: admin, rebalancer: rebalancer,
                httpPort: port, group: group, phase: phase, logger: logger)
            operations.onDrain { [weak parts] timeout in
                guard let parts else { return }
                Task { await parts.stop(within: timeout) }
            }
            rebalancer.start()
            bridge.onConflict { [weak parts] conflict in
                guard let parts else { return }
                parts.failure.withLock { $0 = NodeIDTaken(conflict) }
                Task { await parts.stop() }
            }
            return parts
        } catch {
            await gateway.stopAccepting()
            await hub.shutdown(within: .seconds(1))
            throw error
        }
    }

    /// What `/ready` says.
    var readiness: Readiness { gateway.readiness }

    func reloadCertificates() async throws -> Bool { try await gateway.reloadCertificates() }

    private static func readiness(_ phase: PhaseCell, _ cluster: LateStatus) -> Readiness {
        switch phase.value {
        case .starting: return .starting
        case .leaving: return .leaving
        case .draining, .stopped: return .draining
        case .open: break
        }
        switch cluster.value {
        case .alone, .connected: return .ready
        case nil, .connecting, .degraded: return .degraded
        }
    }

    func revoke(_ target: Revocation.Target, _ lastExpiry: Int64?) async -> Bool {
        let age = live.current.hub.revocationAgeMilliseconds
        return await bridge.revoke(
            Revocation(target, now: WallClock.milliseconds, lastExpiry: lastExpiry, age: age))
    }

    func waitUntilStopped() async { try? await stopped.futureResult.get() }

    /// Why it has stopped by itself.
    var reason: NodeIDTaken? { failure.withLock { $0 } }

    /// No balancer is waited for when the node stops.
    func skipWait() { skipsWait.store(true, ordering: .relaxed) }

    /// Stops once, whoever asks and how often; returns when the node has stopped.
    ///
    /// - Parameters:
    ///   - timeout: how long it may take; `shutdown.timeout` when `nil`.
    ///   - isWaiting: whether clients are taken a little longer, until the balancer knows.
    func stop(within timeout: Duration? = nil, isWaiting: Bool = true) async {
        guard phase.begin() else { return await waitUntilStopped() }
        let start = NIODeadline.now()
        let configuration = live.current
        rebalancer.stop()
        hub.endShedding()
        bridge.setState(.draining)
        let clients = await hub.openCount()
        let echoes = await gateway.echoCount()
        let times = DrainTimes(
            configuration.drain, within: timeout ?? configuration.shutdownTimeout,
            isWaiting: isWaiting && !skipsWait.load(ordering: .relaxed) && clients + echoes > 0)
        logger.info("stopping", metadata: [LogKey.count: "\(clients + echoes)"])
        if times.wait > .zero { try? await Task.sleep(for: Duration(times.wait)) }
        // The port stays open until the clients are gone: it refuses upgrades and tells the balancer why.
        phase.set(.draining)
        let told = await sendAway(times, since: start)
        await bridge.waitForHandOvers(until: min(told + times.handOver, start + times.clientsEnd))
        await gateway.stopAccepting()
        await bridge.drain(within: min(.seconds(5), max(.seconds(1), start + times.end - .now())))
        await admin?.close()
        await authenticator?.shutdown()
        hub.end()
        gateway.end()
        try? await group.shutdownGracefully()
        phase.set(.stopped)
        let time = NIODeadline.now() - start
        logger.info("stopped", metadata: [LogKey.milliseconds: "\(time.nanoseconds / 1_000_000)"])
        stopped.succeed()
    }

    /// Clients and echoes share the pace; what is still there at the end is cut. Returns when the last client was told.
    private func sendAway(_ times: DrainTimes, since start: NIODeadline) async -> NIODeadline {
        let settings = live.current.drain
        let echoes = await gateway.echoCount()
        let all = max(1, await hub.openCount() + echoes)
        // Echoes have no part in the count of what all loops let go: each loop may be one ahead of its part.
        let rate = Double(max(1, settings.rate - min(echoes, hub.shardCount)))
        let told = start + times.told
        let evenly = TimeAmount.nanoseconds(Int64(Double(all) / rate * 1_000_000_000))
        let left = max(.zero, told - .now())
        let end = start + times.clientsEnd
        async let echoesGone: Void = gateway.closeEchoes(
            .shutdown, over: min(evenly, left), within: max(.zero, end - .now()))
        await hub.shed(
            perSecond: rate * Double(max(1, all - echoes)) / Double(all), reason: .drain,
            delay: times.delay, by: told)
        let last = NIODeadline.now()
        let cut = await hub.shutdown(
            .shutdown, within: max(.milliseconds(10), end - .now()), spread: times.delay)
        await echoesGone
        if cut > 0 { logger.warning("clients cut at the deadline", metadata: [LogKey.count: "\(cut)"]) }
        return last
    }

    /// What is decided before the parts are made.
    struct Settings: Sendable {
        let live: LiveConfiguration
        let level: LogLevelCell
        let authenticator: LiveAuthenticator?
        let decidesItself: Bool
        let asksServer: Bool
    }

    /// The bridge's status for the front door, which is there before the bridge is.
    final class LateStatus: Sendable {
        private let bridge = Mutex<BridgeRef?>(nil)

        fileprivate var value: ClusterStatus? { bridge.withLock { $0 }?.status }

        fileprivate func set(_ made: BridgeRef) { bridge.withLock { $0 = made } }
    }

    /// The phase as any thread reads it.
    final class PhaseCell: Sendable {
        private let number = Atomic<Int>(Phase.starting.rawValue)

        fileprivate var value: Phase { Phase(rawValue: number.load(ordering: .relaxed)) ?? .stopped }

        fileprivate func set(_ phase: Phase) { number.store(phase.rawValue, ordering: .relaxed) }

        /// Begins to stop; `false` when somebody else has.
        fileprivate func begin() -> Bool {
            number.compareExchange(
                expected: Phase.open.rawValue, desired: Phase.leaving.rawValue, ordering: .relaxed
            ).exchanged
        }
    }
}
