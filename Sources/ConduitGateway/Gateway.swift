public import ConduitHub
import ConduitTelemetry
public import Logging
public import NIOCore

/// The public port: accepts connections, serves the few pages, upgrades the rest and hands them to the hub.
///
/// ``start()`` binds, ``stopAccepting()`` closes the listener and leaves the clients alone: ending them is the hub's.
public final class Gateway: Sendable {
    /// What all connections of the port look at.
    struct Shared: Sendable {
        let configuration: GatewayConfiguration
        let frontDoor: FrontDoor
        let readiness: @Sendable () -> Readiness
        let authenticate: AuthenticationHandler?
        let counters: GatewayCounters
        /// What the echo keeps to, as the hub does.
        let limits: HubConfiguration
        let logger: Logger
        let admit: @Sendable (any Channel, AcceptedHandshake) throws -> Void
        /// The receive buffer of a loop; asked on it.
        let receivePool: @Sendable (any EventLoop) -> ReceivePool
    }

    private let group: any EventLoopGroup
    private let shared: Shared
    private let listeners: NIOLoopBoundBox<[any Channel]>
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
            authenticate: authenticate, limits: hub.configuration,
            receivePool: { loop in
                hub.receivePool(on: loop) ?? ReceivePool(bufferBytes: HubConfiguration().readBufferBytes)
            }
        ) { [isPlain = configuration.tls == nil] channel, accepted in
            guard let shard = hub.shard(on: channel.eventLoop) else { throw ChannelError.operationUnsupported }
            try shard.admit(
                channel, identity: accepted.identity, leftover: accepted.leftover, deflate: accepted.deflate,
                isPlain: isPlain, observer: accepted.observer)
        }
    }

    /// A port whose clients are taken by a closure, which runs on the client's loop.
    ///
    /// - Parameters:
    ///   - spreads: `false` makes one listening socket for all loops even where each could have its own.
    ///   - limits: what the echo keeps to, and how messages are compressed.
    ///   - receivePool: what the sockets of a loop are read into; called once a loop, on it.
    package init(
        configuration: GatewayConfiguration, group: any EventLoopGroup, logger: Logger,
        readiness: @escaping @Sendable () -> Readiness, authenticate: AuthenticationHandler? = nil,
        spreads: Bool = true, limits: HubConfiguration = HubConfiguration(),
        receivePool: @escaping @Sendable (any EventLoop) -> ReceivePool = { _ in ReceivePool(bufferBytes: 16_384) },
        admit: @escaping @Sendable (any Channel, AcceptedHandshake) throws -> Void
    ) {
        let counters = GatewayCounters()
        let limit = configuration.connections
        // A node whose places are taken says so, so that a balancer chooses another one.
        let readiness: @Sendable () -> Readiness = {
            let said = readiness()
            return said.acceptsClients && limit > 0 && counters.upgraded >= limit ? .overloaded : said
        }
        self.group = group
        self.spreads = spreads
        self.listeners = .makeBoxSendingValue([], eventLoop: group.next())
        self.shared = Shared(
            configuration: configuration,
            frontDoor: FrontDoor(
                configuration: configuration, windowBits: UInt8(clamping: limits.compression?.windowBits ?? 0)),
            readiness: readiness, authenticate: authenticate, counters: counters, limits: limits, logger: logger,
            admit: admit, receivePool: receivePool)
    }

    /// Whether the port wants clients: what `GET /ready` says.
    public var readiness: Readiness { shared.readiness() }

    /// What has happened so far.
    public var statistics: GatewayStatistics { shared.counters.snapshot }

    /// Binds and accepts; returns the address, whose port is a real one even where 0 was configured.
    ///
    /// - Throws: ``ServerTLSError``, or what the system says of the port.
    @discardableResult
    public func start() async throws -> SocketAddress {
        let shared = self.shared
        let tls = try shared.configuration.tls?.makeContext()
        let eventLoops = Array(group.makeIterator())
        var doors: [NIOLoopBound<GatewayLoop>] = []
        for eventLoop in eventLoops {
            let door = eventLoop.submit {
                NIOLoopBound(
                    GatewayLoop(shared: shared, eventLoop: eventLoop, pool: shared.receivePool(eventLoop), tls: tls),
                    eventLoop: eventLoop)
            }
            doors.append(try await door.get())
        }
        let all = doors
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
    }
}
