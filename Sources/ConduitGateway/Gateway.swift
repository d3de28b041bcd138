public import ConduitHub
import ConduitTelemetry
public import Logging
public import NIOCore
import NIOHTTP1
import NIOPosix

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
        let logger: Logger
        let admit: @Sendable (any Channel, AcceptedHandshake) throws -> Void
    }

    /// Handshakes that may be under way when ``GatewayConfiguration/connections`` is reached; more are cut at accept.
    private static let spareConnections = 256

    private let group: any EventLoopGroup
    private let shared: Shared
    private let listener: NIOLoopBoundBox<(any Channel)?>

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
            configuration: configuration, group: group, logger: logger, readiness: readiness, authenticate: authenticate
        ) { channel, accepted in
            guard let shard = hub.shard(on: channel.eventLoop) else { throw ChannelError.operationUnsupported }
            try shard.admit(channel, identity: accepted.identity, leftover: accepted.leftover)
        }
    }

    /// A port whose clients are taken by a closure, which runs on the client's loop.
    package init(
        configuration: GatewayConfiguration, group: any EventLoopGroup, logger: Logger,
        readiness: @escaping @Sendable () -> Readiness, authenticate: AuthenticationHandler? = nil,
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
        self.listener = .makeBoxSendingValue(nil, eventLoop: group.next())
        self.shared = Shared(
            configuration: configuration, frontDoor: FrontDoor(configuration: configuration), readiness: readiness,
            authenticate: authenticate, counters: counters, logger: logger, admit: admit)
    }

    /// Whether the port wants clients: what `GET /ready` says.
    public var readiness: Readiness { shared.readiness() }

    /// What has happened so far.
    public var statistics: GatewayStatistics { shared.counters.snapshot }

    /// Binds and accepts; returns the address, whose port is a real one even where 0 was configured.
    @discardableResult
    public func start() async throws -> SocketAddress {
        let shared = self.shared
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(clamping: shared.configuration.backlog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(AcceptGuard(logger: shared.logger))
                    try pipeline.addHandler(AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(
                .recvAllocator, value: TransientReceiveAllocator(capacity: shared.configuration.readBufferBytes)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try Self.open(channel, shared) }
            }
            .bind(host: shared.configuration.host, port: shared.configuration.port).get()
        guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
        let listener = self.listener
        try await listener.eventLoop.submit { listener.value = channel }.get()
        shared.logger.info("listening", metadata: [LogKey.address: "\(address)"])
        return address
    }

    /// Closes the listener. Connections that are open stay.
    public func stopAccepting() async {
        let listener = self.listener
        let channel = try? await listener.eventLoop.submit {
            defer { listener.value = nil }
            return listener.value
        }.get()
        try? await channel?.close()
    }

    private static func open(_ channel: any Channel, _ shared: Shared) throws {
        let counters = shared.counters
        let limit = shared.configuration.connections
        let open = counters.accept()
        channel.closeFuture.whenComplete { _ in counters.close() }
        guard limit == 0 || open <= limit + spareConnections else {
            counters.count(.overflow)
            throw ChannelError.eof
        }
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = shared.configuration.maxHeaderBytes
        limits.maxHeaderListSize = shared.configuration.maxHeaderBytes
        limits.maxHeaderFieldCount = shared.configuration.maxHeaderFields
        let decoder = ByteToMessageHandler(
            HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits))
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(decoder)
        try pipeline.addHandler(FrontDoorHandler(shared: shared, decoder: decoder))
    }
}
