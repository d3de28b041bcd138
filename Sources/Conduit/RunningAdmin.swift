import ConduitAdmin
import ConduitCluster
import ConduitGateway
import ConduitHub
import Logging
import NIOCore

/// The operator's port while it is open.
final class RunningAdmin: Sendable {
    let port: Int
    private let task: Task<Void, any Error>

    private init(port: Int, task: Task<Void, any Error>) {
        self.port = port
        self.task = task
    }

    /// Returns when the port is open; `nil` when the configuration wants none.
    static func open(
        _ configuration: NodeConfiguration, hub: Hub, bridge: BridgeRef, gateway: Gateway,
        readiness: @escaping @Sendable () -> Readiness, group: any EventLoopGroup, logger: Logger
    ) async throws -> RunningAdmin? {
        guard configuration.admin.isEnabled else { return nil }
        let node = AdminView(
            configuration: configuration, hub: hub, bridge: bridge, gateway: gateway, readinessNow: readiness)
        let (addresses, opened) = AsyncStream<SocketAddress>.makeStream()
        let server = try AdminServer(
            configuration: configuration.admin, node: node, eventLoopGroup: group, logger: logger
        ) { address in
            opened.yield(address)
        }
        let task = Task {
            defer { opened.finish() }
            try await server.run()
        }
        for await address in addresses { return RunningAdmin(port: address.port ?? 0, task: task) }
        // The stream ended without an address: the server could not open its port.
        try await task.value
        throw ChannelError.unknownLocalAddress
    }

    /// Closes the port and returns when it is closed.
    func close() async {
        task.cancel()
        _ = await task.result
    }
}
