import ConduitCluster
import ConduitCore
import ConduitTesting
import Testing

@Suite(.timeLimit(.minutes(5))) struct PresenceGraceClusterTests {
    @Test func aBrokenConnectionKeepsItsPlaceForAWhile() async throws {
        let redis = try await RedisServer.start()
        let configuration = try PresenceModesTests.configuration(redis)
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        try await a.connected()
        try await b.connected()
        let lobby = try room("grace:1")
        try a.join(lobby, "x", user: "u")
        try a.join(lobby, "anonymous")
        try b.join(lobby, "y")
        try await b.waitForRoster(lobby, ["a.x", "a.anonymous", "b.y"])
        let broke = ContinuousClock.now
        try a.leave(lobby, "x", .disconnected)
        try a.leave(lobby, "anonymous", .disconnected)
        #expect(try await a.roster(lobby).contains("a.x"))
        try await b.waitForRoster(lobby, ["b.y"])
        #expect(ContinuousClock.now - broke >= .milliseconds(1_400))
        try await a.waitForRoster(lobby, ["b.y"])
        try await eventually { try await redis.redisCLI("HKEYS", "conduit:members:{grace:1}") == "b/b.y" }
        try await eventually {
            b.sink.observed(lobby, "presence_diff").joined().contains("\"users_left\":[\"u\"]")
        }
        // Nobody of a is in the room any more: its subscription goes too.
        try await eventually { try await redis.subscribers(b, lobby) == 1 }
    }

    @Test(arguments: [true, false])
    func whoComesBackWasNeverAway(sameNode: Bool) async throws {
        let redis = try await RedisServer.start()
        // Its end isn't waited for: who is slow isn't late.
        let configuration = try PresenceModesTests.configuration(redis, graceMilliseconds: 60_000)
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        let c = try TestNode("c", configuration)
        for node in [a, b, c] { try await node.connected() }
        let lobby = try room("grace:1")
        try b.join(lobby, "y", user: "v")
        try c.join(lobby, "z", user: "w")
        for node in [b, c] { try await node.waitForRoster(lobby, ["b.y", "c.z"]) }
        try a.join(lobby, "x", user: "u", shard: 1)
        for node in [a, b, c] { try await node.waitForRoster(lobby, ["a.x", "b.y", "c.z"]) }
        // Who comes and goes between two diffs is in neither: its coming has to be told first.
        for node in [b, c] {
            try await eventually { node.sink.observed(lobby, "presence_diff").joined().contains("a.x") }
        }
        try a.leave(lobby, "x", .disconnected, shard: 1)
        let again = sameNode ? a : b
        try again.join(lobby, "again", user: "u")
        let there: Set = [sameNode ? "a.again" : "b.again", "b.y", "c.z"]
        for node in [a, b, c] { try await node.waitForRoster(lobby, there) }
        // Where nobody is left there is nobody to tell.
        for node in sameNode ? [a, b, c] : [b, c] {
            try await eventually { node.sink.observed(lobby, "presence_diff").joined().contains("disconnected") }
            let diffs = node.sink.observed(lobby, "presence_diff")
            #expect(!diffs.joined().contains("users_left"), "\(node.id): \(diffs)")
            #expect(diffs.joined().components(of: "\"users_joined\":[\"u\"]") <= 2, "one a shard")
        }
        // Where it comes from is the same turn: one diff has both.
        let own = (sameNode ? a : again).sink.observed(lobby, "presence_diff")
        if sameNode { #expect(own.contains { $0.contains("a.again") && $0.contains("disconnected") }) }
    }

    @Test func leavingIsLeaving() async throws {
        let a = try TestNode("a", PresenceModesTests.configuration(nil))
        let lobby = try room("grace:1")
        try a.join(lobby, "x", user: "u")
        try a.join(lobby, "y", user: "u")
        try a.leave(lobby, "x")
        #expect(try await a.roster(lobby).contains("\"count\":1,\"users\":1"))
        // Another node isn't needed for a grace period.
        try a.leave(lobby, "y", .disconnected)
        #expect(try await a.roster(lobby).contains("\"count\":1,\"users\":1"))
        try await a.waitForRoster(lobby, [])
    }

    /// A shard whose only member's place is kept has no member: its next join must be answered.
    @Test func aJoinDuringTheGraceIsAnswered() async throws {
        let redis = try await RedisServer.start()
        let a = try TestNode("a", PresenceModesTests.configuration(redis, graceMilliseconds: 60_000))
        try await a.connected()
        let lobby = try room("grace:1")
        try a.join(lobby, "x", user: "u", shard: 1)
        try await eventually { a.sink.received.contains { $0.kind == .live(lobby) && $0.shard == 1 } }
        try a.leave(lobby, "x", .disconnected, shard: 1)
        try a.join(lobby, "again", user: "u", shard: 1)
        try await eventually { a.sink.received.count { $0.kind == .live(lobby) && $0.shard == 1 } == 2 }
    }
}
