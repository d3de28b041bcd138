import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTesting
import ConduitWire
import Testing

@Suite(.timeLimit(.minutes(5))) struct PresenceModesTests {
    /// Rooms of `live:` count, of `dark:` know nothing, of `small:` count above 20, of `grace:` wait.
    static func configuration(_ redis: RedisServer?, graceMilliseconds: Int64 = 1_500) throws -> ClusterConfiguration {
        var configuration = try TestNode.configuration(redis)
        var live = RoomPolicy(), dark = RoomPolicy(), small = RoomPolicy(), grace = RoomPolicy()
        live.presence = .count
        dark.presence = .off
        small.presenceMembers = 20
        grace.presenceGraceMilliseconds = graceMilliseconds
        configuration.rooms.namespaces = ["live": live, "dark": dark, "small": small, "grace": grace]
        return configuration
    }

    @Test func countsAreToldWithoutNames() async throws {
        let redis = try await RedisServer.start()
        let a = try TestNode("a", Self.configuration(redis)), b = try TestNode("b", Self.configuration(redis))
        try await a.connected()
        try await b.connected()
        let live = try room("live:1")
        try a.join(live, "x", user: "u", info: #"{"secret":1}"#)
        try b.join(live, "y", user: "u")
        try await eventually { try await a.roster(live).contains("\"count\":2,\"users\":1") }
        let answer = try await a.roster(live)
        #expect(answer.contains("\"members\":[],\"mode\":\"count\""))
        try await eventually {
            b.sink.observed(live, "presence_diff").contains { $0.contains("\"count\":2,\"users\":1") }
        }
        try a.leave(live, "x")
        try await eventually {
            b.sink.observed(live, "presence_diff").last?.contains("\"count\":1,\"users\":1") == true
        }
        let diffs = a.sink.observed(live, "presence_diff") + b.sink.observed(live, "presence_diff")
        #expect(diffs.allSatisfy { $0.contains("\"mode\":\"count\"") && !$0.contains("client_id") })
        #expect(!diffs.joined().contains("users_"))
        // What nobody is told isn't kept either.
        #expect(try await !redis.redisCLI("HVALS", "conduit:members:{live:1}").contains("secret"))
        // The same for a node that isn't in the room.
        let c = try TestNode("c", Self.configuration(redis))
        try await c.connected()
        try await eventually { try await c.roster(live).contains("\"count\":1,\"users\":1,\"members\":[],\"mode\"") }
    }

    @Test(arguments: [true, false])
    func offMeansThatNothingIsKept(alone: Bool) async throws {
        let redis = alone ? nil : try await RedisServer.start()
        let a = try TestNode("a", Self.configuration(redis))
        if !alone { try await a.connected() }
        let dark = try room("dark:1"), lobby = try room("lobby")
        try a.join(dark, "x")
        try a.join(lobby, "x")
        #expect(try await a.roster(dark).contains("\"code\":\"bad_request\",\"message\":\"this room has no presence\""))
        #expect(try await a.roster(lobby).contains("\"count\":1"))
        try a.leave(dark, "x", .disconnected)
        try a.join(dark, "z")
        if let redis {
            try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "1" }
            #expect(try await redis.redisCLI("EXISTS", "conduit:members:{dark:1}") == "0")
            #expect(try await redis.redisCLI("SMEMBERS", "conduit:node:a:rooms") == "lobby")
            try await eventually { try await redis.subscribers(a, dark) == 1 }
        }
        try await eventually { !a.sink.observed(lobby, "presence_diff").isEmpty }
        #expect(a.sink.observed(dark, "presence_diff").isEmpty)
        #expect(await a.bridge.statistics().presenceMembers == 1)
    }

    @Test func aRoomThatGrowsLargeCountsUntilItIsClearlySmaller() async throws {
        let a = try TestNode("a", Self.configuration(nil))
        let small = try room("small:1")
        for number in 0..<20 { try a.join(small, "c\(number)") }
        #expect(try await !a.roster(small).contains("\"mode\""))
        try a.join(small, "c20")
        #expect(try await a.roster(small).contains("\"count\":21,\"users\":0,\"members\":[],\"mode\":\"count\""))
        try a.leave(small, "c20")
        try a.leave(small, "c19")
        #expect(try await a.roster(small).contains("\"count\":19,\"users\":0,\"members\":[],\"mode\":\"count\""))
        try a.leave(small, "c18")
        try await eventually {
            a.sink.observed(small, "presence_diff").last?.contains("\"count\":18,\"users\":0},") == true
        }
        #expect(try await !a.roster(small).contains("\"mode\""))
        try a.join(small, "late")
        try await eventually {
            a.sink.observed(small, "presence_diff").last?.contains("a.late") == true
        }
    }

    @Test func usersAreToldByTheirFirstAndLastConnection() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby")
        try b.join(lobby, "watch")
        // What happens before b listens to the room is no news to it.
        try await b.waitForRoster(lobby, ["b.watch"])
        func users(_ key: String) -> [String] {
            b.sink.observed(lobby, "presence_diff").filter { $0.contains("\"\(key)\":[\"u\"]") }
        }
        try a.join(lobby, "tab1", user: "u")
        try await eventually { users("users_joined").count == 1 }
        try b.join(lobby, "tab2", user: "u")
        try await eventually { b.sink.observed(lobby, "presence_diff").joined().contains("b.tab2") }
        try a.leave(lobby, "tab1")
        try await eventually { b.sink.observed(lobby, "presence_diff").last?.contains("a.tab1") == true }
        #expect(users("users_joined").count == 1 && users("users_left").isEmpty)
        try b.leave(lobby, "tab2")
        try await eventually { users("users_left").count == 1 }
    }

    @Test func aRosterThatWasThereIsNoNews() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let c = try await TestNode.start("c", redis)
        let lobby = try room("lobby")
        try c.join(lobby, "witness")
        try await c.waitForRoster(lobby, ["c.witness"])
        for number in 0..<200 { try a.join(lobby, "c\(number)", user: "u\(number)") }
        // What c has heard of is said: nothing of it is still on its way.
        try await c.waitForCount(lobby, 201)
        try b.join(lobby, "y", user: "u7")
        try await eventually {
            b.sink.observed(lobby, "presence_diff").last?.contains("\"count\":202,\"users\":200") == true
        }
        let diffs = b.sink.observed(lobby, "presence_diff").joined()
        #expect(diffs.contains("b.y") && !diffs.contains("a.c"), "a joiner asks for those who are there")
        #expect(try await b.roster(lobby, limit: 1_000).contains("a.c199"))
        try a.join(lobby, "late")
        try await eventually { b.sink.observed(lobby, "presence_diff").joined().contains("a.late") }
    }

    @Test func whoJoinedAMomentAgoHearsOfManyInFewDiffs() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.presenceDiffMilliseconds = 100
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        try await a.connected()
        try await b.connected()
        let lobby = try room("lobby")
        let began = ContinuousClock.now
        for number in 0..<2_000 {
            try (number % 2 == 0 ? a : b).join(lobby, "c\(number)")
            if number % 50 == 0 { try await Task.sleep(for: .milliseconds(1)) }
        }
        try await a.waitForCount(lobby, 2_000)
        try await b.waitForCount(lobby, 2_000)
        try await eventually { a.sink.observed(lobby, "presence_diff").last?.contains("\"count\":2000,") == true }
        let seconds = Double((ContinuousClock.now - began).components.seconds) + 1
        // Two shards hear the same.
        let diffs = a.sink.received(.observers(lobby)).count
        #expect(Double(diffs) <= seconds * 5 * 2, "\(diffs) in \(seconds) s")
    }
}
