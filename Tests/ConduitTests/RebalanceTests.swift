import Conduit
import ConduitCluster
import ConduitTesting
import NIOConcurrencyHelpers
import NIOCore
import Testing

/// A client that goes where its node sends it: to the one that has the fewest.
private final class Wanderer: Sendable {
    let reasons = NIOLockedValueBox<[String]>([])
    private let task = NIOLockedValueBox<Task<Void, Never>?>(nil)

    init(_ socket: TestWebSocket, next: @escaping @Sendable () async throws -> TestWebSocket) {
        let reasons = reasons
        let task = Task {
            var socket = socket
            while !Task.isCancelled {
                guard let event = try? await socket.next(type: "reconnect", timeout: .seconds(120)),
                    let another = try? await next()
                else { return }
                reasons.withLockedValue { $0.append(event.string("reason") ?? "?") }
                socket = another
            }
        }
        self.task.withLockedValue { $0 = task }
    }

    deinit { task.withLockedValue { $0?.cancel() } }
}

@Suite(.timeLimit(.minutes(3))) struct RebalanceTests {
    private func start(_ name: String, _ redis: RedisServer, _ mode: RebalanceConfiguration.Mode) async throws
        -> TestNode
    {
        try await DrainTests.start(name, redis, admin: true) {
            $0.drain.presenceGrace = .seconds(2)
            $0.rebalance.mode = mode
            // Quickly, for a test.
            $0.rebalance.share = 3_000
            $0.rebalance.interval = .milliseconds(500)
            $0.cluster.heartbeatMilliseconds = 100
            $0.drain.reconnectDelay = .milliseconds(100)
        }
    }

    private func counts(_ nodes: [TestNode]) async -> [Int] {
        var counts: [Int] = []
        for node in nodes { counts.append(await node.hub.clientCount()) }
        return counts
    }

    /// Thirty clients on one node, and another one that has none.
    private func wanderers(_ one: TestNode, _ two: TestNode) async throws -> [Wanderer] {
        var wanderers: [Wanderer] = []
        for _ in 0..<30 {
            let socket = try await one.connect(subprotocols: ["conduit.v1.json"])
            wanderers.append(Wanderer(socket) { try await two.connect(subprotocols: ["conduit.v1.json"]) })
        }
        return wanderers
    }

    @Test func aNodeThatJoinsGetsItsShare() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .auto)
        let two = try await start("two", redis, .auto)
        let wanderers = try await wanderers(one, two)
        try await eventually("both have about the same", within: .seconds(60)) {
            let counts = await counts([one, two])
            return counts.reduce(0, +) == 30 && counts.allSatisfy { (14...16).contains($0) }
        }
        #expect(await two.hub.statistics().shed["rebalance"] == 0)
        let reasons = wanderers.flatMap { $0.reasons.withLockedValue { $0 } }
        #expect(reasons.allSatisfy { $0 == "rebalance" } && (14...16).contains(reasons.count))
        for node in [one, two] { await node.node.shutdown() }
    }

    @Test func withoutACommandNothingMovesWhereItIsOff() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .off)
        let two = try await start("two", redis, .off)
        let wanderers = try await wanderers(one, two)
        let admin = "http://127.0.0.1:\(try #require(two.node.adminPort))"
        // Its figures are written with its heartbeat.
        try await eventually { try await redis.redisCLI("HGET", "conduit:node:one", "clients") == "30" }
        #expect(await one.hub.statistics().shed["rebalance"] == 0)
        let outcome = try await Program.run("rebalance", "--admin", admin)
        #expect(outcome.output == #"{"started":["one"],"mean":15.0,"unreachable":[]}"# + "\n", "\(outcome)")
        try await eventually("both have about the same", within: .seconds(60)) {
            await counts([one, two]).allSatisfy { (14...16).contains($0) }
        }
        // What the others say is as old as their last heartbeat.
        try await eventually("nobody has too many") {
            try await Program.run("rebalance", "--admin", admin).output.hasPrefix(#"{"started":[],"mean":15.0"#)
        }
        #expect(wanderers.flatMap { $0.reasons.withLockedValue { $0 } }.count <= 16)
        // Not while a node is on its way out.
        _ = try await redis.redisCLI("HSET", "conduit:node:three", "state", "draining", "clients", "0")
        _ = try await redis.redisCLI("ZADD", "conduit:nodes", "99999999999999", "three")
        try await eventually {
            let refused = try await Program.run("rebalance", "--admin", admin)
            return refused.status == 69 && refused.output.contains("three is draining")
        }
        for node in [one, two] { await node.node.shutdown() }
    }

    @Test func aDrainTakesThePlaceOfARebalance() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .auto)
        let two = try await start("two", redis, .off)
        let wanderers = try await wanderers(one, two)
        try await eventually("some are under way", within: .seconds(60)) {
            await one.hub.statistics().shed["rebalance", default: 0] > 0
        }
        await one.node.shutdown()
        try await eventually("all are elsewhere") { await two.hub.clientCount() == 30 }
        let reasons = wanderers.flatMap { $0.reasons.withLockedValue { $0 } }
        #expect(reasons.count == 30 && Set(reasons) == ["rebalance", "drain"], "each is told once: \(reasons)")
        await two.node.shutdown()
    }
}
