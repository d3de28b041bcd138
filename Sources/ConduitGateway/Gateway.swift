package import ConduitCore
public import ConduitHub
import ConduitTelemetry
public import Logging
import NIOConcurrencyHelpers
public import NIOCore
import NIOPosix

/// The public port: accepts connections, serves the few pages, upgrades the rest and hands them to the hub.
///
/// ``start()`` binds, ``stopAccepting()`` closes the listener and leaves the clients alone: ending them is the hub's, but
/// for the echo's, which ``closeEchoes(_:within:)`` ends.
public final class Gateway: Sendable {
    /// What all connections of the port look at.
    struct Shared: Sendable {
        /// What the port was opened with; ``GatewayLoop/configuration`` is what holds now.
        let configuration: GatewayConfiguration
        let readiness: @Sendable () -> Readiness
        let authenticate: AuthenticationHandler?
        let counters: GatewayCounters
        let limits: DoorLimits
        let memory: MemoryGuard
        /// What the echo keeps to, as the hub does.
        let clientLimits: HubConfiguration
        let logger: Logger
        /// Lines that clients can cause.
        let limitedLog: LimitedLogger
        let admit: @Sendable (any Channel, AcceptedHandshake) throws -> Void
        /// The receive buffer of a loop; asked on it.
        let receivePool: @Sendable (any EventLoop) -> ReceivePool
    }

    private let group: any EventLoopGroup
    private let shared: Shared
    private let listeners: NIOLoopBoundBox<[any Channel]>
    private let doors = NIOLockedValueBox<[NIOLoopBound<GatewayLoop>]>([])
    private let certificates = NIOLockedValueBox<CertificateKeeper?>(nil)
    /// What looks at memory, files and tables from time to time.
    private let watchers = NIOLockedValueBox<[Task<Void, Never>]>([])
    /// Whether each loop gets a listening socket of its own, where the system can do that.
    private let spreads: Bool

    /// A port whose clients are taken by the hub.
    ///
    /// - Parameters:
    ///   - group: the loops that the hub's shards live on.
    ///   - readiness: asked on event loops for each request; must not block.
    ///   - authenticate: `nil` lets everybody in as ``ConduitHub/Identity/anonymous``.
    public convenience init(
        configuration: GatewayConfiguration, hub: Hub, group: any EventLoopGroup, logger: Logger,
        readiness: @escaping @Sendable () -> Readiness, authenticate: AuthenticationHandler? = nil
    ) {
        self.init(
            configuration: configuration, group: group, logger: logger, readiness: readiness,
            authenticate: authenticate, clientLimits: hub.configuration,
            receivePool: { loop in
                hub.receivePool(on: loop) ?? ReceivePool(bufferBytes: HubConfiguration().readBufferBytes)
            }
        ) { [isPlain = configuration.tls == nil] channel, accepted in
            guard let shard = hub.shard(on: channel.eventLoop) else { throw ChannelError.operationUnsupported }
            try shard.admit(
                channel, identity: accepted.identity, leftover: accepted.leftover, deflate: accepted.deflate,
                isPlain: isPlain, handshakeMicroseconds: accepted.microseconds, observer: accepted.observer,
                address: accepted.address)
        }
    }

    /// A port whose clients are taken by a closure, which runs on the client's loop.
    ///
    /// - Parameters:
    ///   - spreads: `false` makes one listening socket for all loops even where each could have its own.
    ///   - clientLimits: what the echo keeps to, and how messages are compressed.
    ///   - residentBytes: asked once a second.
    ///   - receivePool: what the sockets of a loop are read into; called once a loop, on it.
    package init(
        configuration: GatewayConfiguration, group: any EventLoopGroup, logger: Logger,
        readiness: @escaping @Sendable () -> Readiness, authenticate: AuthenticationHandler? = nil,
        spreads: Bool = true, clientLimits: HubConfiguration = HubConfiguration(),
        residentBytes: @escaping @Sendable () -> UInt64 = { ProcessFigures.residentBytes() },
        receivePool: @escaping @Sendable (any EventLoop) -> ReceivePool = { _ in ReceivePool(bufferBytes: 16_384) },
        admit: @escaping @Sendable (any Channel, AcceptedHandshake) throws -> Void
    ) {
        let counters = GatewayCounters()
        let limits = DoorLimits(configuration, counters: counters)
        let memory = MemoryGuard(limit: MemoryGuard.limit(configuration.memoryBytes), resident: residentBytes)
        // A node whose places are taken says so, so that a balancer chooses another one.
        let readiness: @Sendable () -> Readiness = {
            let said = readiness()
            guard said.acceptsClients else { return said }
            let limit = limits.connections
            let isFull = memory.isOver || (limit > 0 && counters.upgraded >= limit)
            return isFull ? (said == .leaving ? .draining : .overloaded) : said
        }
        self.group = group
        self.spreads = spreads
        self.listeners = .makeBoxSendingValue([], eventLoop: group.next())
        self.shared = Shared(
            configuration: configuration,
            readiness: readiness, authenticate: authenticate, counters: counters,
            limits: limits, memory: memory, clientLimits: clientLimits,
            logger: logger, limitedLog: LimitedLogger(logger), admit: admit, receivePool: receivePool)
    }

    /// Whether the port wants clients: what `GET /ready` says.
    public var readiness: Readiness { shared.readiness() }

    /// What is counted for all loops together; for tests.
    var limits: DoorLimits { shared.limits }

    /// What has happened so far.
    public var statistics: GatewayStatistics {
        var statistics = shared.counters.snapshot
        certificates.withLockedValue { $0 }?.report(&statistics)
        statistics.memoryLimit = shared.memory.limit
        statistics.isMemoryOver = shared.memory.isOver
        return statistics
    }

    /// Reads the certificate's files again, off the loops. Connections that stand keep what they have.
    ///
    /// - Returns: whether new connections get another certificate now.
    /// - Throws: ``ServerTLSError`` when the files are no good; then the certificate that was there stays.
    @discardableResult
    public func reloadCertificates() async throws -> Bool {
        guard let keeper = certificates.withLockedValue({ $0 }) else { return false }
        return try await NIOThreadPool.singleton.runIfActive { try keeper.reload() }
    }

    /// Other settings from now on: origins, limits, times and headers. Where it listens, how it speaks TLS and whom it
    /// believes as a proxy stays.
    ///
    /// - Parameter clientLimits: what the echo keeps to.
    package func reload(_ new: GatewayConfiguration, clientLimits: HubConfiguration) async {
        shared.limits.reload(new)
        shared.memory.limit = MemoryGuard.limit(new.memoryBytes)
        let doors = self.doors.withLockedValue { $0 }
        let share = Self.share(of: new.handshaking, loops: doors.count)
        for door in doors {
            try? await door.eventLoop.submit {
                door.value.reload(new, clientLimits: clientLimits, handshaking: share)
            }.get()
        }
    }

    /// Binds and accepts; returns the address, whose port is a real one even where 0 was configured.
    ///
    /// - Throws: ``ServerTLSError``, or what the system says of the port.
    @discardableResult
    public func start() async throws -> SocketAddress {
        let shared = self.shared
        let keeper: CertificateKeeper? =
            if let tls = shared.configuration.tls { try CertificateKeeper(tls, logger: shared.logger) } else { nil }
        certificates.withLockedValue { $0 = keeper }
        let eventLoops = Array(group.makeIterator())
        let share = Self.share(of: shared.configuration.handshaking, loops: eventLoops.count)
        var doors: [NIOLoopBound<GatewayLoop>] = []
        for eventLoop in eventLoops {
            let door = eventLoop.submit {
                NIOLoopBound(
                    GatewayLoop(
                        shared: shared, eventLoop: eventLoop, pool: shared.receivePool(eventLoop),
                        certificates: keeper, handshaking: share),
                    eventLoop: eventLoop)
            }
            doors.append(try await door.get())
        }
        let all = doors
        self.doors.withLockedValue { $0 = all }
        let listener = Listener(configuration: shared.configuration, logger: shared.logger) { channel in
            guard let door = all.first(where: { $0.eventLoop === channel.eventLoop }) else {
                throw ChannelError.operationUnsupported
            }
            try door.value.open(channel)
        }
        let channels = try await listener.bind(group: group, loops: eventLoops, isShared: spreads)
        let listeners = self.listeners
        try await listeners.eventLoop.submit { listeners.value = channels }.get()
        guard let address = channels.first?.localAddress else { throw ChannelError.unknownLocalAddress }
        startWatching(keeper)
        shared.logger.info("listening", metadata: [LogKey.address: "\(address)"])
        return address
    }

    /// Closes the listening sockets. Connections that are open stay.
    public func stopAccepting() async {
        let listeners = self.listeners
        let channels = try? await listeners.eventLoop.submit {
            defer { listeners.value = [] }
            return listeners.value
        }.get()
        for channel in channels ?? [] { try? await channel.close() }
        for watcher in watchers.withLockedValue({ $0 }) { watcher.cancel() }
    }

    /// The loops are about to stop: nothing is asked of them any more, and whoever reloads waits for none.
    package func end() { doors.withLockedValue { $0 = [] } }

    /// Closes the connections of `/echo`, and returns when they are gone or the time is over. New ones are let in as long
    /// as the readiness says so.
    ///
    /// - Parameter spread: the time over which they are told, one after the other.
    package func closeEchoes(
        _ reason: CloseReason = .shutdown, over spread: TimeAmount = .zero, within time: TimeAmount
    ) async {
        let doors = self.doors.withLockedValue { $0 }
        // All are told before the first is waited for.
        let gone = doors.map { door in
            door.eventLoop.flatSubmit { door.value.closeEchoes(reason, over: spread, within: time) }
        }
        for future in gone { try? await future.get() }
    }

    /// Open connections of `/echo`.
    package func echoCount() async -> Int {
        var count = 0
        for door in doors.withLockedValue({ $0 }) {
            count += (try? await door.eventLoop.submit { door.value.echoCount }.get()) ?? 0
        }
        return count
    }

    /// Unfinished handshakes of one loop. A quarter of the descriptors at most, so that they can't take them all.
    static func share(of handshaking: Int, loops: Int) -> Int {
        let descriptors = ProcessFigures.now().maxDescriptors
        let most = descriptors > 0 ? min(handshaking, max(64, descriptors / 4)) : handshaking
        return max(1, (most + loops - 1) / max(1, loops))
    }

    // MARK: From time to time

    /// Seconds that memory may be over its limit before the C library is asked for what it keeps, each time.
    private static let trimSeconds = 10
    private static let sweepSeconds = 30

    private func startWatching(_ keeper: CertificateKeeper?) {
        let shared = self.shared
        var tasks = [
            Task {
                var seconds = 0
                var secondsOver = 0
                repeat {
                    shared.memory.look(shared.logger)
                    secondsOver = shared.memory.isOver ? secondsOver + 1 : 0
                    if secondsOver % Self.trimSeconds == Self.trimSeconds - 1 { MemoryGuard.trim() }
                    seconds += 1
                    if seconds % Self.sweepSeconds == 0 { shared.limits.sweep() }
                } while (try? await Task.sleep(for: .seconds(1))) != nil
            }
        ]
        if let keeper, let interval = shared.configuration.tls?.reloadMilliseconds, interval > 0 {
            tasks.append(
                Task {
                    while (try? await Task.sleep(for: .milliseconds(interval))) != nil {
                        // What is wrong is logged and counted there.
                        _ = try? await NIOThreadPool.singleton.runIfActive { try keeper.reload() }
                    }
                })
        }
        watchers.withLockedValue { $0 = tasks }
    }

    deinit {
        for watcher in watchers.withLockedValue({ $0 }) { watcher.cancel() }
    }
}
