import ConduitTelemetry
import Logging
import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Binds the public port: on Linux one listening socket an event loop, over which the kernel spreads the connections
/// (`SO_REUSEPORT`), so that a connection is accepted, shaken hands with and served by one loop.
///
/// Elsewhere, or where the system refuses, one socket whose connections are dealt out to the loops in turn.
struct Listener: Sendable {
    /// Connections that one loop accepts before it looks after its clients again.
    static let acceptsPerTurn: UInt = 16

    let configuration: GatewayConfiguration
    let logger: Logger
    /// Prepares a connection, on its loop.
    let open: @Sendable (any Channel) throws -> Void

    /// - Parameters:
    ///   - loops: those of `group`, at least one.
    ///   - isShared: whether the loops shall have sockets of their own.
    /// - Returns: the listening channels, the first of which says where the port is.
    func bind(group: any EventLoopGroup, loops: [any EventLoop], isShared: Bool = true) async throws -> [any Channel] {
        let address = (configuration.host, configuration.port)
        guard isShared, loops.count > 1, Self.spreadsConnections else {
            return [try await bootstrap(group).bind(host: address.0, port: address.1).get()]
        }
        // The first one binds as if it were alone: another process that has the port, even one that would share it,
        // makes that fail. Only then it is opened to the others, whose port it has chosen if that was left open.
        let first = try await bootstrap(loops[0]).bind(host: address.0, port: address.1).get()
        var channels = [first]
        do {
            guard let local = first.localAddress else { throw ChannelError.unknownLocalAddress }
            try await first.setOption(Self.portSharing, value: 1).get()
            for loop in loops.dropFirst() {
                channels.append(
                    try await bootstrap(loop).serverChannelOption(Self.portSharing, value: 1)
                        .bind(to: local).get())
            }
            return channels
        } catch {
            logger.notice("the event loops share one listening socket", metadata: [LogKey.error: "\(error)"])
            let port = first.localAddress?.port ?? configuration.port
            for channel in channels { try? await channel.close() }
            return [try await bootstrap(group).bind(host: address.0, port: port).get()]
        }
    }

    private static var portSharing: ChannelOptions.Types.SocketOption {
        ChannelOptions.Types.SocketOption(level: .socket, name: NIOBSDSocket.Option(rawValue: SO_REUSEPORT))
    }

    private static var spreadsConnections: Bool {
        #if os(Linux)
            true
        #else
            // Others let sockets share a port, too, but don't spread connections over them.
            false
        #endif
    }

    private func bootstrap(_ group: any EventLoopGroup) -> ServerBootstrap {
        let logger = self.logger
        let open = self.open
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(clamping: configuration.backlog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: Self.acceptsPerTurn)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(AcceptGuard(logger: logger))
                    try pipeline.addHandler(AcceptBackoffHandler(shouldForwardIOErrorCaught: false))
                }
            }
            .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try open(channel) } }
        #if os(Linux)
            // Connections inherit it from the listening socket, which saves each a system call.
            return bootstrap.serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        #else
            return bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        #endif
    }
}
