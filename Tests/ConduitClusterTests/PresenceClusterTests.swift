import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct PresenceClusterTests {
    @Test func rostersAreTheSameOnAllNodes() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let c = try await TestNode.start("c", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x", user: "u")
        // A diff names whoever comes from then on, not those who were there.
        try await a.waitForRoster(lobby, ["a.x"])
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        try b.join(lobby, "y", user: "u", shard: 1)
        try await a.waitForRoster(lobby, ["a.x", "b.y"])
        try await b.waitForRoster(lobby, ["a.x", "b.y"])
        // This node isn't in the room: it reads the roster when asked.
        try await c.waitForRoster(lobby, ["a.x", "b.y"])
        #expect(try await c.roster(lobby).contains("\"count\":2,\"users\":1"))
        #expect(try await c.roster(lobby, limit: 1).contains("\"cursor\":\"a.x\""))
        try await eventually { a.sink.observed(lobby, "presence_diff").contains { $0.contains("b.y") } }
        try b.leave(lobby, "y", .disconnected, shard: 1)
        try await a.waitForRoster(lobby, ["a.x"])
        try await eventually {
            a.sink.observed(lobby, "presence_diff").contains { $0.contains("\"reason\":\"disconnected\"") }
        }
        #expect(try await redis.redisCLI("HKEYS", "conduit:members:{lobby}") == "a/a.x")
        #expect(try await redis.redisCLI("SMEMBERS", "conduit:node:b:rooms") == "")
        try a.leave(lobby, "x")
        try await eventually { try await redis.redisCLI("EXISTS", "conduit:members:{lobby}") == "0" }
        try await eventually {
            let events = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+")
            return events.contains("room_occupied") && events.contains("room_vacated")
        }
    }

    @Test func aLateNodeReadsWhoIsThere() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        for number in 0..<300 { try a.join(lobby, "c\(number)") }
        let b = try await TestNode.start("b", redis)
        try b.join(lobby, "y")
        try await eventually { try await b.roster(lobby).contains("\"count\":301") }
        #expect(await b.bridge.statistics().presenceMembers == 301)
    }

    @Test func aKilledNodeIsCleanedUpByExactlyOneSurvivor() async throws {
        let redis = try await RedisServer.start()
        let lease = TestNode.shortLease
        let a = try await TestNode.start("a", redis, leaseMilliseconds: lease)
        let b = try await TestNode.start("b", redis, leaseMilliseconds: lease)
        let c = try await TestNode.start("c", redis, leaseMilliseconds: lease)
        let rooms = try (0..<30).map { try room("room \($0) *?[a]{}") }
        for room in rooms {
            try a.join(room, "x")
            try b.join(room, "y")
            try c.join(room, "z")
            try c.join(room, "zz")
        }
        for room in rooms { try await a.waitForRoster(room, ["a.x", "b.y", "c.z", "c.zz"]) }
        await c.bridge.abandon()
        for room in rooms {
            try await a.waitForRoster(room, ["a.x", "b.y"])
            try await b.waitForRoster(room, ["a.x", "b.y"])
        }
        try await eventually {
            a.sink.observed(rooms[0], "presence_diff").contains { $0.contains("\"reason\":\"node_lost\"") }
                && b.sink.observed(rooms[0], "presence_diff").contains { $0.contains("\"reason\":\"node_lost\"") }
        }
        for room in rooms {
            #expect(try await redis.redisCLI("HLEN", ClusterKeys(prefix: "conduit").members(of: room)) == "2")
        }
        try await eventually { try await redis.redisCLI("ZCARD", "conduit:nodes") == "2" }
        #expect(try await redis.redisCLI("EXISTS", "conduit:node:c:rooms", "conduit:claim:{conduit:nodes}:c") == "0")
        let events = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+")
        #expect(events.components(of: "node_down") == 1, "exactly one claims it")
    }

    @Test func aClaimerThatDiesIsReplaced() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        let ghost = try #require(NodeID("ghost"))
        let member = Member(client: try #require(ClientID("ghost.g")), user: nil, node: ghost, joinedAt: 1)
        let json = String(buffer: MemberCodec.encode(member))
        try await redis.redisCLI("SET", "conduit:claim:{conduit:nodes}:ghost", "dead", "PX", "1500")
        try await redis.redisCLI("HSET", "conduit:members:{lobby}", "ghost/ghost.g", json)
        try await redis.redisCLI("SADD", "conduit:node:ghost:rooms", "lobby")
        try await redis.redisCLI("ZADD", "conduit:nodes", "1000", "ghost")
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "1" }
        try await eventually { try await redis.redisCLI("ZSCORE", "conduit:nodes", "ghost") == "" }
    }

    @Test func lostDataIsAssertedAgain() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try b.join(lobby, "y")
        try await a.waitForRoster(lobby, ["a.x", "b.y"])
        try await redis.redisCLI("FLUSHALL")
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "2" }
        try await eventually { try await redis.redisCLI("ZCARD", "conduit:nodes") == "2" }
        try await a.waitForRoster(lobby, ["a.x", "b.y"])
        #expect(try await redis.redisCLI("SMEMBERS", "conduit:node:a:rooms") == "lobby")
        try await eventually("both say that they are up") {
            let words = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+").split(separator: "\n")
            return words.count { $0 == "node_up" } == 2
        }
        #expect(
            !a.sink.observed(lobby, "presence_diff").contains { $0.contains("\"reason\"") }, "nobody seemed to leave")
    }

    @Test func whatHappenedWhileRedisWasAwayIsSetRight() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby"), hall = try room("hall")
        try a.join(lobby, "stays")
        try a.join(lobby, "goes")
        try a.join(hall, "goes")
        try b.join(lobby, "y")
        try await b.waitForRoster(lobby, ["a.stays", "a.goes", "b.y"])
        try await a.knows(2)
        try await b.knows(2)
        try await redis.kill()
        try await eventually { a.bridge.status != .connected && b.bridge.status != .connected }
        try a.leave(lobby, "goes")
        try a.leave(hall, "goes")
        try a.join(lobby, "comes")
        try a.join(lobby, "flits")
        try a.leave(lobby, "flits")
        try await redis.restart()
        try await a.connected()
        try await b.connected()
        try await b.waitForRoster(lobby, ["a.stays", "a.comes", "b.y"])
        try await a.waitForRoster(lobby, ["a.stays", "a.comes", "b.y"])
        #expect(try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "3")
        let diffs = b.sink.observed(lobby, "presence_diff").joined()
        #expect(!diffs.contains("a.flits"))
        #expect(
            !a.sink.observed(lobby, "presence_diff").contains {
                $0.contains("\"reason\"") && $0.contains("b.y\",\"user")
            },
            "a node that is back does not seem to have left")
    }

    @Test func leavesThatRedisMissedAreRemovedWhenItKeptItsData() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.redis?.commandTimeout = .seconds(2)
        configuration.leaseMilliseconds = 30_000
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        try await a.connected()
        try await b.connected()
        let lobby = try room("lobby")
        try a.join(lobby, "goes")
        try b.join(lobby, "y")
        try await b.waitForRoster(lobby, ["a.goes", "b.y"])
        redis.pause()
        try await eventually { a.bridge.status != .connected && b.bridge.status != .connected }
        try a.leave(lobby, "goes", .disconnected)
        redis.resume()
        try await a.connected()
        try await b.connected()
        try await b.waitForRoster(lobby, ["b.y"])
        #expect(try await redis.redisCLI("HKEYS", "conduit:members:{lobby}") == "b/b.y")
        #expect(try await redis.redisCLI("SMEMBERS", "conduit:node:a:rooms") == "")
    }

    @Test func aNodeThatStartsAgainUnderItsIdLeavesNoGhosts() async throws {
        let redis = try await RedisServer.start()
        let b = try await TestNode.start("b", redis, leaseMilliseconds: TestNode.shortLease)
        let lobby = try room("lobby")
        try b.join(lobby, "y")
        let first = try await TestNode.start("a", redis, leaseMilliseconds: TestNode.shortLease)
        try first.join(lobby, "old")
        try await b.waitForRoster(lobby, ["a.old", "b.y"])
        await first.bridge.abandon()
        let second = try await TestNode.start("a", redis, leaseMilliseconds: TestNode.shortLease)
        try second.join(lobby, "new")
        try await b.waitForRoster(lobby, ["a.new", "b.y"])
        try await second.waitForRoster(lobby, ["a.new", "b.y"])
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "2" }
    }

    @Test func aNodeThatDrainsLeavesNoTrace() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try b.join(lobby, "y")
        try await b.waitForRoster(lobby, ["a.x", "b.y"])
        a.bridge.setState(.draining)
        a.broadcast(lobby, "{\"last\":1}")
        await a.bridge.drain(within: .seconds(60))
        try await b.waitForRoster(lobby, ["b.y"])
        #expect(b.sink.received(.room(lobby)) == ["{\"last\":1}"])
        #expect(try await redis.redisCLI("ZRANGE", "conduit:nodes", "0", "-1") == "b")
        #expect(try await redis.redisCLI("EXISTS", "conduit:node:a", "conduit:node:a:rooms") == "0")
        let events = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+")
        #expect(events.contains("node_draining") && events.contains("shutdown"))
    }
}

extension String {
    /// How often `part` occurs.
    func components(of part: String) -> Int { split(separator: part, omittingEmptySubsequences: false).count - 1 }
}
