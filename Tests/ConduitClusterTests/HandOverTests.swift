import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTesting
import NIOCore
import Synchronization
import Testing

/// Members of a node that sends its clients away: their users stay in the rosters until they are back elsewhere.
@Suite(.timeLimit(.minutes(5))) struct HandOverTests {
    private func sendAway(_ node: TestNode, _ room: RoomName, _ name: String, shard: Int = 0) throws {
        node.bridge.relay([.sentAway(room: room, client: try node.client(name))], fromShard: shard)
    }

    @Test func whoComesBackElsewhereWasNeverAway() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.handOverMilliseconds = 30_000
        let (a, b, c) = (
            try TestNode("a", configuration), try TestNode("b", configuration), try TestNode("c", configuration)
        )
        for node in [a, b, c] { try await node.connected() }
        let hall = try room("hall")
        try c.join(hall, "z", user: "w")
        try await c.waitForRoster(hall, ["c.z"])
        try a.join(hall, "x", user: "u")
        try a.join(hall, "x2", user: "u", shard: 1)
        for node in [a, c] { try await node.waitForRoster(hall, ["a.x", "a.x2", "c.z"]) }
        try await eventually { c.sink.observed(hall, "presence_diff").joined().contains("a.x2") }
        try sendAway(a, hall, "x")
        try sendAway(a, hall, "x2", shard: 1)
        let waiting = Task { await a.bridge.waitForHandOvers(until: .now() + .seconds(30)) }
        try b.join(hall, "again", user: "u")
        for node in [a, b, c] { try await node.waitForRoster(hall, ["b.again", "c.z"]) }
        await waiting.value
        try await eventually { c.sink.observed(hall, "presence_diff").joined().contains("disconnected") }
        let diffs = c.sink.observed(hall, "presence_diff")
        #expect(!diffs.joined().contains("users_left"), "\(diffs)")
        await a.bridge.drain(within: .seconds(60))
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{hall}") == "2" }
        #expect(!c.sink.observed(hall, "presence_diff").joined().contains("users_left"))
    }

    @Test func whoDoesNotComeBackLeavesOnce() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.handOverMilliseconds = 700
        let (a, c) = (try TestNode("a", configuration), try TestNode("c", configuration))
        for node in [a, c] { try await node.connected() }
        let hall = try room("hall")
        try c.join(hall, "z", user: "w")
        try await c.waitForRoster(hall, ["c.z"])
        try a.join(hall, "x", user: "u")
        try a.join(hall, "nobody")
        for node in [a, c] { try await node.waitForRoster(hall, ["a.x", "a.nobody", "c.z"]) }
        try await eventually { c.sink.observed(hall, "presence_diff").joined().contains("a.x") }
        // Nobody in particular can't be known again.
        try sendAway(a, hall, "nobody")
        try await c.waitForRoster(hall, ["a.x", "c.z"])
        let began = ContinuousClock.now
        try sendAway(a, hall, "x")
        await a.bridge.waitForHandOvers(until: .now() + .seconds(30))
        #expect(ContinuousClock.now - began >= .milliseconds(650))
        try await c.waitForRoster(hall, ["c.z"])
        try await eventually {
            c.sink.observed(hall, "presence_diff").joined().contains("\"users_left\":[\"u\"]")
        }
        await a.bridge.drain(within: .seconds(60))
        let left = c.sink.observed(hall, "presence_diff").joined()
        #expect(left.components(of: "\"users_left\"") == 1)
        #expect(left.components(of: "\"reason\":\"disconnected\"") == 2)
    }

    /// Redis has a roster wrong all the time while places are kept in it and end.
    @Test func placesEndWhileTheRosterIsRepaired() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.handOverMilliseconds = 1_500
        let (a, c) = (try TestNode("a", configuration), try TestNode("c", configuration))
        for node in [a, c] { try await node.connected() }
        let hall = try room("hall")
        try c.join(hall, "z", user: "w")
        try await c.waitForRoster(hall, ["c.z"])
        let hash = "conduit:members:{hall}"
        for name in ["x", "y"] { try a.join(hall, name, user: "u\(name)") }
        for node in [a, c] { try await node.waitForRoster(hall, ["a.x", "a.y", "c.z"]) }
        try await eventually { try await redis.redisCLI("HLEN", hash) == "3" }
        let (gone, stale) = ("a/a.x", "a/a.y")
        let value = try await redis.redisCLI("HGET", hash, stale)
        for name in ["x", "y"] { try sendAway(a, hall, name) }
        // The one is gone from Redis again and again, of the other one it says something else as long as there is anything.
        let forge = """
            redis.call('HDEL', KEYS[1], ARGV[1])
            if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) end
            """
        let until = ContinuousClock.now + .seconds(3)
        while ContinuousClock.now < until {
            try await redis.redisCLI("EVAL", forge, "1", hash, gone, stale, value + " ")
        }
        for node in [a, c] { try await node.waitForRoster(hall, ["c.z"]) }
        try await eventually { try await redis.redisCLI("HKEYS", hash) == "c/c.z" }
        for node in [a, c] { await node.bridge.drain(within: .seconds(5)) }
    }

    /// The end of a node doesn't wait for whom it can't see, and its last members leave with it.
    @Test func theEndOfTheNodeIsTheEndOfTheWait() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.handOverMilliseconds = 60_000
        let (a, c) = (try TestNode("a", configuration), try TestNode("c", configuration))
        for node in [a, c] { try await node.connected() }
        let hall = try room("hall")
        try c.join(hall, "z", user: "w")
        try await c.waitForRoster(hall, ["c.z"])
        try a.join(hall, "x", user: "u")
        for node in [a, c] { try await node.waitForRoster(hall, ["a.x", "c.z"]) }
        try await eventually { c.sink.observed(hall, "presence_diff").joined().contains("a.x") }
        try sendAway(a, hall, "x")
        await a.bridge.waitForHandOvers(until: .now() + .milliseconds(100))
        await a.bridge.drain(within: .seconds(60))
        try await c.waitForRoster(hall, ["c.z"])
        let alone = try TestNode("alone", TestNode.configuration(nil))
        try alone.join(hall, "x", user: "u")
        try sendAway(alone, hall, "x")
        try await alone.waitForRoster(hall, [])
        await alone.bridge.waitForHandOvers(until: .now() + .seconds(600))
        #expect(await alone.bridge.loads() == [])
    }

    @Test func ordersReachWhomTheyAreFor() async throws {
        let redis = try await RedisServer.start()
        let nodes = try ["a", "b", "c"].map { try TestNode($0, TestNode.configuration(redis)) }
        let orders = Mutex<[String]>([])
        for node in nodes {
            try await node.connected()
            node.bridge.onOrder { order in orders.withLock { $0.append("\(node.id) \(order)") } }
        }
        for node in nodes { try await node.knows(3) }
        nodes[0].bridge.tell(.drain(milliseconds: 5), to: nodes[1].id)
        nodes[0].bridge.tell(.rebalance)
        try await eventually { orders.withLock { $0.count } == 3 }
        #expect(orders.withLock { Set($0) } == ["b drain(milliseconds: 5)", "b rebalance", "c rebalance"])
        // A drain for everybody is nobody's.
        let dropped = await nodes[2].bridge.statistics().relayDropped.values.reduce(0, +)
        nodes[0].bridge.tell(.drain(milliseconds: 0))
        try await eventually {
            await nodes[2].bridge.statistics().relayDropped.values.reduce(0, +) == dropped + 1
        }
        #expect(orders.withLock { $0.count } == 3)
    }

    @Test func loadsAreWhatTheNodesSay() async throws {
        let redis = try await RedisServer.start()
        let (a, b) = (
            try TestNode("a", TestNode.configuration(redis)), try TestNode("b", TestNode.configuration(redis))
        )
        var figures = HubStatistics()
        figures.clients = 7
        b.sink.setStatistics(figures)
        for node in [a, b] {
            try await node.connected()
            node.bridge.setState(.ready)
        }
        for node in [a, b] { try await node.knows(2) }
        try await eventually {
            await Set(a.bridge.loads() ?? []) == [
                NodeLoad(node: a.id, clients: 0, state: "ready"), NodeLoad(node: b.id, clients: 7, state: "ready"),
            ]
        }
        // Anybody may write anything there, and it is added up.
        _ = try await redis.redisCLI("HSET", "conduit:node:x", "state", "ready", "clients", "\(Int.max)")
        _ = try await redis.redisCLI("HSET", "conduit:node:y", "state", "ready", "clients", "\(Int.min)")
        for name in ["x", "y"] { _ = try await redis.redisCLI("ZADD", "conduit:nodes", "99999999999999", name) }
        try await eventually {
            await Dictionary((a.bridge.loads() ?? []).map { ($0.node.rawValue, $0.clients) }) { first, _ in first }
                == ["a": 0, "b": 7, "x": NodeLoad.mostClients, "y": 0]
        }
        b.bridge.setState(.draining)
        b.bridge.onAccepts { false }
        try await eventually { await a.bridge.loads()?.contains { !$0.accepts } == true }
        try await eventually { await a.bridge.loads()?.contains { $0.state == "draining" } == true }
        try await redis.stop()
        try await eventually { await a.bridge.loads() == nil }
    }
}
