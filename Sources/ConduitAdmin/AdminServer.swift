import Hummingbird
import HummingbirdCore
package import Logging
package import NIOCore
import ServiceLifecycle
import Synchronization

/// The operator's port: health, metrics and the cluster's API, on a listener of its own.
package final class AdminServer: Service {
    /// Most bytes of a request's body.
    package static let maximumBodyBytes = 512 * 1024
    /// Most bytes of all header fields of a request, of one of them, and most fields.
    static let (maximumHeadBytes, maximumFieldBytes, maximumFields) = (16_384, 8_192, 100)
    /// Most connections at a time; more wait in the kernel.
    private static let maximumConnections = 256

    private let configuration: AdminConfiguration
    private let group: any EventLoopGroup
    private let logger: Logger
    private let serve: @Sendable (AdminServer) async throws -> Void
    private let bound = Mutex<SocketAddress?>(nil)

    /// Checks the configuration; ``run()`` listens.
    ///
    /// - Parameter onListening: told the address once, when connections are taken.
    /// - Throws: ``AdminConfigurationError`` for an address that others can reach without a token.
    package init(
        configuration: AdminConfiguration, node: some AdminNode, eventLoopGroup: any EventLoopGroup, logger: Logger,
        onListening: @escaping @Sendable (SocketAddress) async -> Void = { _ in }
    ) throws {
        guard !configuration.token.isEmpty || AdminConfiguration.isLoopback(configuration.host) else {
            throw AdminConfigurationError.openToOthers(host: configuration.host)
        }
        self.configuration = configuration
        self.group = eventLoopGroup
        self.logger = logger
        let responder = AdminResponder(
            node: node, admission: AdminGuard(token: configuration.token), timeLimit: configuration.timeLimit,
            left: LeftRequests(logger: logger))
        self.serve = { server in
            try await server.application(responder, onListening: onListening).run()
        }
    }

    /// Where it listens; `nil` before it does.
    package var localAddress: SocketAddress? { bound.withLock { $0 } }

    /// Serves until the task is cancelled or a graceful shutdown begins.
    package func run() async throws { try await serve(self) }

    private func application<Responder: HTTPResponder>(
        _ responder: Responder, onListening: @escaping @Sendable (SocketAddress) async -> Void
    ) -> Application<Responder> where Responder.Context == BasicRequestContext {
        var quiet = logger
        // Hummingbird logs each start, stop and broken connection, its own cancellation as an error; the node says
        // itself what matters.
        quiet.logLevel = .critical
        return Application(
            responder: responder,
            server: HTTPServerBuilder { responder in
                AdminConnection(
                    http1: HTTP1Channel(
                        responder: responder,
                        configuration: .init(
                            idleTimeout: .seconds(60),
                            httpDecoderConfiguration: .init(
                                maxHeaderFieldSize: Self.maximumFieldBytes, maxHeaderListSize: Self.maximumHeadBytes,
                                maxHeaderFieldCount: Self.maximumFields))))
            },
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port),
                availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
            onServerRunning: { [self] channel in
                guard let address = channel.localAddress else { return }
                bound.withLock { $0 = address }
                await onListening(address)
            },
            eventLoopGroupProvider: .shared(group),
            logger: quiet)
    }
}

/// Why an admin port is not opened.
package enum AdminConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Other machines could use it and no token is asked for.
    case openToOthers(host: String)

    package var description: String {
        switch self {
        case .openToOthers(let host):
            "admin.host \(host) can be reached by other machines, so admin.token must be set"
        }
    }
}
