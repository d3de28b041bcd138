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

/// One node, running: the hub, its bridge to the other nodes, the public port and the operator's port.
///
/// ``start(configuration:router:hooks:logger:authenticate:)`` returns when the ports are open. ``run()`` returns when
/// the node has stopped: after ``shutdown()``, a graceful shutdown of the `ServiceGroup` that it is in, or the
/// cancellation of its task.
public final class ConduitNode: Service {
    /// The settings that it runs with. A node that lets anybody in may have another `gateway.host` than it was given.
    public let configuration: NodeConfiguration
    /// Everything local to the node: clients, rooms, broadcasts. What is broadcast reaches the other nodes too.
    public let hub: Hub
    /// Where WebSocket clients connect to, as this machine sees it.
    public let url: String
    /// Where the public port listens.
    public let httpPort: Int
    /// Where the operator's port listens; `nil` when there is none.
    public let adminPort: Int?

    private let parts: NodeParts

    private init(configuration: NodeConfiguration, parts: NodeParts, httpPort: Int, adminPort: Int?) {
        self.configuration = configuration
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
    ///   - authenticate: decides on every handshake, in the place of `configuration.auth`. Without one and with nothing
    ///     in `configuration.auth`, anybody comes in, and the node listens on loopback only unless `auth.isOpen` is set;
    ///     then pages must have come from a loopback name too, unless `gateway.origins` lists others.
    /// - Throws: what kept a port from opening, or a configuration that contradicts itself.
    public static func start(
        configuration: NodeConfiguration = NodeConfiguration(), router: MessageRouter = MessageRouter(),
        hooks: HubHooks = HubHooks(), logger: Logger = Logger(label: "conduit"),
        authenticate: AuthenticationHandler? = nil
    ) async throws -> ConduitNode {
        var configuration = configuration
        var logger = logger
        logger.logLevel = configuration.logLevel
        logger[metadataKey: "node"] = "\(configuration.nodeID)"
        var authenticator: Authenticator?
        if authenticate == nil {
            if configuration.auth.isConfigured {
                authenticator = try await Authenticator.make(configuration.auth, logger: logger)
                if let notice = configuration.endlessTokensNotice { logger.warning("\(notice)") }
            } else {
                logger.warning("\(configuration.openNotice)")
                configuration.gateway.host = configuration.listeningHost(isAuthenticated: false)
                configuration.gateway.origins = configuration.openOrigins
            }
        }
        let loops = configuration.eventLoops > 0 ? configuration.eventLoops : ProcessorCount.usable
        let group = MultiThreadedEventLoopGroup(numberOfThreads: min(loops, 64))
        do {
            return try await start(configuration, router, hooks, logger, authenticate, authenticator, group)
        } catch {
            await authenticator?.shutdown()
            try? await group.shutdownGracefully()
            throw error
        }
    }

    private static func start(
        _ configuration: NodeConfiguration, _ router: MessageRouter, _ hooks: HubHooks, _ logger: Logger,
        _ authenticate: AuthenticationHandler?, _ authenticator: Authenticator?, _ group: MultiThreadedEventLoopGroup
    ) async throws -> ConduitNode {
        var hooks = hooks
        if let authenticator {
            // What the application does itself goes first.
            hooks.refresh = hooks.refresh ?? { try await authenticator.refresh($0, $1) }
            if hooks.authorize == nil, !authenticator.questions.isEmpty {
                hooks.authorize = { try await authenticator.authorize($0) }
                hooks.authorizes = authenticator.questions
            }
        }
        let hub = try await Hub.make(
            node: configuration.nodeID, eventLoops: Array(group.makeIterator()), configuration: configuration.hub,
            router: router, hooks: Admission.hooks(hooks), logger: logger)
        var authenticate = authenticate.map { Admission.checking($0, hub.revocations) }
        if let authenticator { authenticate = { try await authenticator.authenticate($0, hub.revocations) } }
        let parts = try await NodeParts.open(
            configuration, hub: hub, group: group, authenticate: authenticate, authenticator: authenticator,
            logger: logger)
        return ConduitNode(
            configuration: configuration, parts: parts, httpPort: parts.httpPort, adminPort: parts.adminPort)
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

    /// Reads the certificate of the public port again; new connections get it, and those that stand keep theirs.
    ///
    /// The files are looked at by themselves as well (`http.tls-reload-interval`).
    ///
    /// - Returns: whether there was a new one.
    /// - Throws: ``ConduitGateway/ServerTLSError`` when the files can't be used: the certificate that was there stays.
    @discardableResult
    public func reloadCertificates() async throws -> Bool { try await parts.reloadCertificates() }

    /// Whether the node takes clients, in a word: `starting`, `ready`, `degraded`, `overloaded`, `draining`.
    public var readiness: String { parts.readiness.word }
}
