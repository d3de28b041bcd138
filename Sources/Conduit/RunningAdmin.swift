import ConduitAdmin
import ConduitAuth
import ConduitCluster
import ConduitGateway
import ConduitHub
import Logging
import NIOCore
import ServiceLifecycle

/// The operator's port while it is open.
final class RunningAdmin: Sendable {
    /// How long requests that are under way may take when the port closes.
    private static let grace = Duration.seconds(1)

    let port: Int
    private let services: ServiceGroup
    private let task: Task<Void, any Error>

    private init(port: Int, services: ServiceGroup, task: Task<Void, any Error>) {
        self.port = port
        self.services = services
        self.task = task
    }

    /// Returns when the port is open; `nil` when the configuration wants none.
    static func open(
        _ live: LiveConfiguration, hub: Hub, bridge: BridgeRef, gateway: Gateway,
        authenticator: LiveAuthenticator?, operations: NodeOperations,
        group: any EventLoopGroup, logger: Logger
    ) async throws -> RunningAdmin? {
        let configuration = live.current
        guard configuration.admin.isEnabled else { return nil }
        let node = AdminView(
            live: live, hub: hub, bridge: bridge, gateway: gateway, authenticator: authenticator,
            operations: operations)
        var quiet = logger
        // The service group tells of its own steps; the node tells what matters itself.
        quiet.logLevel = .critical
        let (addresses, opened) = AsyncStream<SocketAddress>.makeStream()
        let server = try AdminServer(
            configuration: configuration.admin, node: node, eventLoopGroup: group, logger: logger
        ) { address in
            opened.yield(address)
        }
        let services = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [.init(service: server)], logger: quiet))
        let task = Task {
            defer { opened.finish() }
            try await services.run()
        }
        for await address in addresses {
            return RunningAdmin(port: address.port ?? 0, services: services, task: task)
        }
        // The stream ended without an address: the server could not open its port.
        let address = "\(configuration.admin.host):\(configuration.admin.port)"
        do {
            try await task.value
        } catch {
            throw PortUnavailable(key: "admin.port", address: address, reason: error)
        }
        throw PortUnavailable(key: "admin.port", address: address, reason: ChannelError.unknownLocalAddress)
    }

    /// Closes the port and returns when it is closed.
    func close() async {
        await services.triggerGracefulShutdown()
        let cutter = Task { [task] in
            try await Task.sleep(for: Self.grace)
            task.cancel()
        }
        _ = await task.result
        cutter.cancel()
    }
}
