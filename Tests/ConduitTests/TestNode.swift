import Conduit
import ConduitTesting
import Logging
import NIOCore

/// A node in this process on free ports, and clients for it.
struct TestNode {
    let node: ConduitNode
    var hub: Hub { node.hub }

    /// Free ports, no admin port, quick timers.
    static func configuration(redis url: String? = nil, name: String? = nil) throws -> NodeConfiguration {
        var configuration = configuration(name: name)
        if let url { try configuration.joinCluster(redisURL: url) }
        return configuration
    }

    static func configuration(name: String? = nil) -> NodeConfiguration {
        var configuration = name.flatMap { NodeID($0) }.map { NodeConfiguration(nodeID: $0) } ?? NodeConfiguration()
        configuration.gateway.port = 0
        configuration.admin.isEnabled = false
        configuration.logLevel = .error
        configuration.eventLoops = 2
        // Nobody waits for a balancer that isn't there, or for clients that the test is done with.
        configuration.drain.wait = .zero
        configuration.drain.rate = 1_000_000
        configuration.drain.presenceGrace = .zero
        return configuration
    }

    static func start(
        _ configuration: NodeConfiguration = configuration(), router: MessageRouter = MessageRouter(),
        hooks: HubHooks = HubHooks(), authenticate: AuthenticationHandler? = nil
    ) async throws -> TestNode {
        TestNode(
            node: try await ConduitNode.start(
                configuration: configuration, router: router, hooks: hooks, authenticate: authenticate))
    }

    /// Starts a node, uses it and stops it whatever happens.
    static func with(
        _ configuration: NodeConfiguration = configuration(), router: MessageRouter = MessageRouter(),
        hooks: HubHooks = HubHooks(), authenticate: AuthenticationHandler? = nil,
        _ body: (TestNode) async throws -> Void
    ) async throws {
        let node = try await start(configuration, router: router, hooks: hooks, authenticate: authenticate)
        do {
            try await body(node)
        } catch {
            await node.node.shutdown()
            throw error
        }
        await node.node.shutdown()
    }

    func connect(
        token: String? = nil, subprotocols: [String] = [], receiveBufferBytes: Int? = nil
    ) async throws -> TestWebSocket {
        try await TestWebSocket.connect(
            port: node.httpPort, headers: token.map { [("Authorization", "Bearer \($0)")] } ?? [],
            subprotocols: subprotocols, receiveBufferBytes: receiveBufferBytes,
            segmentBytes: receiveBufferBytes == nil ? nil : 1_000)
    }
}
