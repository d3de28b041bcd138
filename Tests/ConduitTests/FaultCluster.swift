import ConduitTesting
import Foundation
import Synchronization

/// Real nodes on a real Redis, each behind a proxy of its own, and traffic through all of them.
final class FaultCluster: Sendable {
    private struct State {
        var nodes: [NodeProcess?]
        var presence: [Double] = []
        var stopped: Set<Int> = []
    }

    let redis: RedisServer
    let proxies: [TCPProxy]
    let plan: FaultTraffic.Plan
    let traffic: FaultTrafficRef
    private let state: Mutex<State>
    private let folder: TemporaryFolder

    private init(
        redis: RedisServer, proxies: [TCPProxy], nodes: [NodeProcess], plan: FaultTraffic.Plan,
        traffic: FaultTrafficRef, folder: TemporaryFolder
    ) {
        self.redis = redis
        self.proxies = proxies
        self.plan = plan
        self.traffic = traffic
        self.folder = folder
        state = Mutex(State(nodes: nodes))
    }

    static func start(_ plan: FaultTraffic.Plan, persistence: Bool) async throws -> FaultCluster {
        let redis = try await RedisServer.start(
            .init(arguments: persistence ? ["--appendonly", "yes", "--appendfsync", "everysec"] : []))
        let folder = try TemporaryFolder("faults")
        // Namespaces with a policy: the log is large enough for all that a run sends.
        let text = """
            rooms:
              \(plan.orderedNamespace):
                mode: ordered
                history-size: 1000000
                history-age: 1h
                recover-limit: 100000
            """
        try text.write(toFile: folder.path("conduit.yaml"), atomically: true, encoding: .utf8)
        var proxies: [TCPProxy] = []
        for _ in 0..<plan.nodes { proxies.append(try await TCPProxy.start(to: redis.port)) }
        var nodes: [NodeProcess] = []
        for index in 0..<plan.nodes {
            nodes.append(try await node(index, proxies[index], folder, hasOrdered: plan.orderedRooms > 0))
        }
        let traffic = try await FaultTrafficRef.start(plan, ports: nodes.map(\.port))
        return FaultCluster(
            redis: redis, proxies: proxies, nodes: nodes, plan: plan, traffic: traffic, folder: folder)
    }

    private static func node(
        _ index: Int, _ proxy: TCPProxy, _ folder: TemporaryFolder, hasOrdered: Bool
    ) async throws -> NodeProcess {
        try await NodeProcess.start(
            name(index), redis: "redis://127.0.0.1:\(proxy.port)", ["CONDUIT_NODE_EVENT_LOOPS": "1"],
            arguments: hasOrdered ? ["--config", folder.path("conduit.yaml")] : [])
    }

    static func name(_ index: Int) -> String { "node-\(index)" }

    func node(_ index: Int) -> NodeProcess? { state.withLock { $0.nodes[index] } }
    var runningNodes: [NodeProcess] { state.withLock { $0.nodes.compactMap { $0 } } }

    /// Nodes that were stopped for a while: what takes long there is the fault itself.
    var stoppedNodes: Set<Int> { state.withLock { $0.stopped } }

    /// How long presence was wrong, in seconds, each time that a fault looked.
    var presence: [Double] { state.withLock { $0.presence } }

    // MARK: Doing harm

    func kill(_ index: Int) async throws {
        try await traffic.query {
            $0.killed.insert(index)
            $0.ports[index] = nil
        }
        let node = self.node(index)
        node?.signal(SIGKILL)
        _ = try await node?.exitCode()
        state.withLock { $0.nodes[index] = nil }
    }

    /// SIGTERM, and what the process answers with.
    func terminate(_ index: Int) async throws -> Int32 {
        let node = self.node(index)
        node?.signal(SIGTERM)
        let code = try await node?.exitCode(within: .seconds(30)) ?? -1
        try await traffic.query { $0.ports[index] = nil }
        state.withLock { $0.nodes[index] = nil }
        return code
    }

    /// Starts a node again that has ended; its ports are others.
    func revive(_ index: Int) async throws {
        let node = try await Self.node(index, proxies[index], folder, hasOrdered: plan.orderedRooms > 0)
        state.withLock { $0.nodes[index] = node }
        let port = node.port
        try await traffic.query {
            $0.killed.remove(index)
            $0.ports[index] = port
        }
    }

    func pause(_ index: Int) {
        _ = state.withLock { $0.stopped.insert(index) }
        node(index)?.signal(SIGSTOP)
    }

    func resume(_ index: Int) { node(index)?.signal(SIGCONT) }

    /// Waits until the nodes that run know exactly who is there, and keeps how long it took.
    func awaitPresence() async throws {
        let began = ContinuousClock.now
        try await eventually("presence is true on the nodes that run", within: .seconds(40), poll: .milliseconds(100)) {
            try await self.traffic.comparePresence().isEmpty
        }
        let took = (ContinuousClock.now - began) / .seconds(1)
        state.withLock { $0.presence.append(took) }
    }

    // MARK: How things are

    /// Every node runs, none is degraded, everybody is connected and in all rooms; else what is missing.
    func trouble() async -> [String] {
        var trouble: [String] = []
        for index in 0..<plan.nodes {
            guard let node = node(index), node.isRunning else {
                trouble.append("\(Self.name(index)) doesn't run")
                continue
            }
            if (try? await node.isDegraded()) != false { trouble.append("\(Self.name(index)) is degraded") }
        }
        trouble += (try? await traffic.query { $0.whoIsMissing }) ?? ["no traffic"]
        return trouble
    }

    /// The sums of some of the nodes' own counters.
    func counters() async throws -> [String: Int] {
        let names = ["healed", "unrecoverable", "relay_gaps", "relay_dropped"]
        var sums: [String: Int] = [:]
        for index in 0..<plan.nodes {
            let text = try await redis.redisCLI(["HMGET", "conduit:node:\(Self.name(index))"] + names)
            let values = text.split(separator: "\n", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            for (name, value) in zip(names, values) { sums[name, default: 0] += value }
        }
        return sums
    }

    func stop() { traffic.stop() }
}
