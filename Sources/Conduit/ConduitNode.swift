import ConduitAdmin
import ConduitAuth
import ConduitCluster
public import ConduitCore
public import ConduitGateway
public import ConduitHub
import ConduitTelemetry
public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle
import Synchronization
public import Tracing

/// One node, running: the hub, its bridge to the other nodes, the public port and the operator's port.
///
/// ``start(configuration:router:hooks:logger:authenticate:)`` returns when the ports are open. ``run()`` returns when
/// the node has stopped: after ``shutdown()``, a graceful shutdown of the `ServiceGroup` that it is in, or the
/// cancellation of its task.
public final class ConduitNode: Service {
    /// The settings that it runs with now. A node that lets anybody in may have another `gateway.host` than it was given.
    public var configuration: NodeConfiguration { parts.live.current }
    /// Everything local to the node: clients, rooms, broadcasts. What is broadcast reaches the other nodes too.
    public let hub: Hub
    /// Where WebSocket clients connect to, as this machine sees it.
    public let url: String
    /// Where the public port listens.
    public let httpPort: Int
    /// Where the operator's port listens; `nil` when there is none.
    public let adminPort: Int?

    private let parts: NodeParts

    private init(parts: NodeParts, httpPort: Int, adminPort: Int?) {
        let configuration = parts.live.current
        self.parts = parts
        self.hub = parts.hub
        self.httpPort = httpPort
        self.adminPort = adminPort
        let host = configuration.gateway.host
        let shown = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host.contains(":") ? "[\(host)]" : host
        let scheme = configuration.gateway.tls == nil ? "ws" : "wss"
        self.url = "\(scheme)://\(shown):\(httpPort)\(configuration.gateway.path)"
    }

    /// Starts a node and returns when its ports are open. Redis need not be there: the node is degraded until it is.
    ///
    /// - Parameters:
    ///   - configuration: every setting.
    ///   - router: message types of the application's beside the built-in ones.
    ///   - hooks: what the application is told of.
    ///   - logger: where lines go.
    ///   - tracer: where spans go when `configuration.tracing` is on; without one to the program's own
    ///     (`InstrumentationSystem`), or into the log where `tracing.exporter` says so.
    ///   - authenticate: decides on every handshake, in the place of `configuration.auth`. Without one and with nothing
    ///     in `configuration.auth`, anybody comes in, and the node listens on loopback only unless `auth.isOpen` is set;
    ///     then pages must have come from a loopback name too, unless `gateway.origins` lists others.
    /// - Throws: what kept a port from opening, or a configuration that contradicts itself.
    public static func start(
        configuration: NodeConfiguration = NodeConfiguration(), router: MessageRouter = MessageRouter(),
        hooks: HubHooks = HubHooks(), logger: Logger = Logger(label: "conduit"),
        tracer: (any Tracer)? = nil, authenticate: AuthenticationHandler? = nil
    ) async throws -> ConduitNode {
        var configuration = configuration
        let level = LogLevelCell(configuration.logLevel)
        var logger = logger
        logger.handler = LeveledLogHandler(logger.handler, level)
        logger[metadataKey: LogKey.node] = "\(configuration.nodeID)"
        var authenticator: LiveAuthenticator?
        if authenticate == nil {
            if configuration.auth.isConfigured {
                authenticator = try await LiveAuthenticator(configuration.auth, logger: logger)
                if let notice = configuration.endlessTokensNotice { logger.warning("\(notice)") }
            } else {
                logger.warning("\(configuration.openNotice)")
                configuration.applyOpenRules()
            }
        }
        let loops = configuration.eventLoops > 0 ? configuration.eventLoops : ProcessorCount.usable
        let group = MultiThreadedEventLoopGroup(numberOfThreads: min(loops, 64))
        do {
            let settings = NodeParts.Settings(
                live: LiveConfiguration(configuration), level: level, authenticator: authenticator,
                decidesItself: authenticate != nil, asksServer: authenticator != nil && hooks.authorize == nil)
            let tracing = configuration.messageTracer(tracer, logger: logger)
            return try await start(settings, router, hooks, logger, authenticate, tracing, group)
        } catch {
            await authenticator?.shutdown()
            try? await group.shutdownGracefully()
            throw error
        }
    }

    private static func start(
        _ settings: NodeParts.Settings, _ router: MessageRouter, _ hooks: HubHooks, _ logger: Logger,
        _ authenticate: AuthenticationHandler?, _ tracer: MessageTracer?, _ group: MultiThreadedEventLoopGroup
    ) async throws -> ConduitNode {
        let configuration = settings.live.current
        var hooks = hooks
        if let authenticator = settings.authenticator {
            // What the application does itself goes first.
            hooks.refresh = hooks.refresh ?? { try await authenticator.refresh($0, $1) }
            if settings.asksServer {
                hooks.authorize = { try await authenticator.authorize($0) }
                hooks.authorizes = authenticator.questions
            }
        }
        let hub = try await Hub.make(
            node: configuration.nodeID, eventLoops: Array(group.makeIterator()), configuration: configuration.hub,
            router: router, hooks: Admission.hooks(hooks), tracer: tracer, logger: logger)
        var authenticate = authenticate.map { Admission.checking($0, hub.revocations) }
        if let authenticator = settings.authenticator {
            authenticate = { try await authenticator.authenticate($0, hub.revocations) }
        }
        let parts = try await NodeParts.open(
            settings, hub: hub, group: group, authenticate: authenticate, logger: logger)
        return ConduitNode(parts: parts, httpPort: parts.httpPort, adminPort: parts.adminPort)
    }

    /// Waits until the node has stopped.
    ///
    /// - Throws: ``NodeIDTaken`` when it had to stop because another running node has its id.
    public func run() async throws {
        await withTaskCancellationOrGracefulShutdownHandler {
            await parts.waitUntilStopped()
        } onCancelOrGracefulShutdown: {
            Task { await self.shutdown() }
        }
        if let reason = parts.reason { throw reason }
    }

    /// Makes the tokens of a user good no more, on every node: connections that came with one are closed with 3500, and new
    /// ones are refused. Tokens that are issued later are good again, where they say when (`Identity.issuedAt`).
    ///
    /// - Parameter lastExpiry: when the last of these tokens runs out, in milliseconds since 1970: as long the node remembers
    ///   it. `auth.revocation-age` from now when it isn't known. A token that is refused and lives longer lengthens it.
    /// - Returns: whether nodes that are out of reach now or start later will know: `false` while Redis is away.
    @discardableResult
    public func revoke(_ user: UserID, lastExpiry: Int64? = nil) async -> Bool {
        await parts.revoke(.user(user), lastExpiry)
    }

    /// The same for one token, by its id (`jti`, 1 to 255 bytes), whoever has it.
    @discardableResult
    public func revoke(tokenID: String, lastExpiry: Int64? = nil) async -> Bool {
        guard (1...Revocation.maximumTokenIDBytes).contains(tokenID.utf8.count) else { return false }
        return await parts.revoke(.token(tokenID), lastExpiry)
    }

    /// Stops the node: it isn't ready any more, sends its clients to the other nodes at a pace (close 3001), keeps their
    /// users in the rosters until they are back there, and leaves Redis last. Docs/draining.md has the steps.
    ///
    /// Returns when everything is closed, at the latest a little after `shutdown.timeout`. May be called again.
    ///
    /// - Parameter waitsForBalancer: whether clients are still taken for `drain.wait`, as long as there are any.
    public func shutdown(waitsForBalancer: Bool = true) async { await parts.stop(isWaiting: waitsForBalancer) }

    /// Whoever stops the node from now on, no balancer is waited for.
    package func skipWait() { parts.skipWait() }

    /// Reads the certificate of the public port again; new connections get it, and those that stand keep theirs.
    ///
    /// The files are looked at by themselves as well (`http.tls-reload-interval`).
    ///
    /// - Returns: whether there was a new one.
    /// - Throws: ``ConduitGateway/ServerTLSError`` when the files can't be used: the certificate that was there stays.
    @discardableResult
    public func reloadCertificates() async throws -> Bool { try await parts.reloadCertificates() }

    /// Takes over what a running node can of another configuration, and says what it can't: nobody is disconnected, clients
    /// and rooms that are here are held to the new limits too. The certificate is read again as well.
    ///
    /// Taken over are the log's level, limits of clients and of the door, times of clients, origins, keys and everything else
    /// that says who may connect, and policies of rooms but for mode, inbox and presence; Docs/configuration.md marks each
    /// setting. Who is connected keeps the rights that it came with until it brings a new token.
    ///
    /// - Returns: what has changed, and what needs a new start.
    /// - Throws: what is wrong with it: ``ConduitGateway/ServerTLSError`` for the certificate, else what is wrong with keys.
    ///   Then all settings stay as they were; a new certificate that is good is taken all the same.
    @discardableResult
    public func reload(_ configuration: NodeConfiguration) async throws -> ReloadReport {
        try await parts.reload { configuration }
    }

    /// The same for a configuration that is read first, say by ``NodeConfiguration/load(overrides:environment:file:)``. What is
    /// wrong with it is logged and counted, and changes nothing.
    @discardableResult
    public func reload(
        reading read: @escaping @Sendable () throws -> NodeConfiguration
    ) async throws -> ReloadReport {
        try await parts.reload(reading: read)
    }

    /// Whether the node takes clients, in a word: `starting`, `ready`, `degraded`, `overloaded`, `draining`.
    public var readiness: String { parts.readiness.word }
}
