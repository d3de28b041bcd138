import ConduitCluster
import ConduitCore
import ConduitRedis
import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import NIOPosix
import Testing

/// Mistakes are planted in Redis and in the nodes' memory; rosters are right again soon, everywhere.
@Suite(.timeLimit(.minutes(5))) struct PresenceRepairTests {
    private let hash = "conduit:members:{lobby}"

    /// Two nodes with two members each in `lobby`, and the roster that is right.
    private func cluster(
        leaseMilliseconds: Int64? = nil
    ) async throws -> (redis: RedisServer, a: TestNode, b: TestNode, lobby: RoomName) {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis, leaseMilliseconds: leaseMilliseconds)
        let b = try await TestNode.start("b", redis, leaseMilliseconds: leaseMilliseconds)
        let lobby = try room("lobby")
        for node in [a, b] {
            try node.join(lobby, "x", user: "u", info: #"{"n":1}"#)
            try node.join(lobby, "y", shard: 1)
        }
        try await a.knows(2)
        try await b.knows(2)
        try await isRight(redis, [a, b], lobby)
        return (redis, a, b, lobby)
    }

    private let truth: Set = ["a.x", "a.y", "b.x", "b.y"]

    /// Waits until memory and Redis say the same as the truth.
    private func isRight(_ redis: RedisServer, _ nodes: [TestNode], _ lobby: RoomName) async throws {
        for node in nodes { try await node.waitForRoster(lobby, truth) }
        try await eventually("Redis has \(truth)") {
            let fields = try await redis.redisCLI("HKEYS", hash).split(separator: "\n")
            return Set(fields.map { String($0.split(separator: "/").last ?? "") }) == truth
        }
    }

    @Test func fieldsThatAreGoneAreWrittenAgain() async throws {
        let (redis, a, b, lobby) = try await cluster()
        try await redis.redisCLI("HDEL", hash, "a/a.x", "b/b.y")
        try await isRight(redis, [a, b], lobby)
        try await redis.redisCLI("DEL", hash)
        try await isRight(redis, [a, b], lobby)
        // Rooms without members of another node have only this one to look after them.
        let hall = try room("hall")
        try a.join(hall, "z")
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{hall}") == "1" }
        try await redis.redisCLI("DEL", "conduit:members:{hall}", "conduit:node:a:rooms")
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{hall}") == "1" }
        try await eventually { try await redis.redisCLI("SMEMBERS", "conduit:node:a:rooms").contains("hall") }
        let diffs = (a.sink.observed(lobby, "presence_diff") + b.sink.observed(lobby, "presence_diff")).joined()
        #expect(!diffs.contains("\"reason\""), "nobody seemed to leave")
        #expect(await a.bridge.statistics().presenceRepaired >= 2)
    }

    @Test func fieldsThatAreTooManyAreRemoved() async throws {
        let (redis, a, b, lobby) = try await cluster()
        let phantom = Member(client: try a.client("phantom"), user: nil, node: a.id, joinedAt: 1)
        try await redis.redisCLI("HSET", hash, "a/a.phantom", String(buffer: MemberCodec.encode(phantom)))
        try await redis.redisCLI("HSET", hash, "b/nonsense", "{}")
        try await isRight(redis, [a, b], lobby)
        // Somebody who comes just now reads it, and is put right too.
        let c = try await TestNode.start("c", redis)
        try await redis.redisCLI("HSET", hash, "a/a.phantom", String(buffer: MemberCodec.encode(phantom)))
        try c.join(lobby, "z")
        for node in [a, b, c] { try await node.waitForRoster(lobby, truth.union(["c.z"])) }
        try await eventually { try await redis.redisCLI("HLEN", hash) == "5" }
    }

    @Test func fieldsThatSaySomethingElseAreWrittenAgain() async throws {
        let (redis, a, b, lobby) = try await cluster()
        let before = try await redis.redisCLI("HGET", hash, "a/a.x")
        let forged = before.replacingOccurrences(of: #"{"n":1}"#, with: #"{"n":2}"#)
        #expect(forged != before)
        try await redis.redisCLI("HSET", hash, "a/a.x", forged)
        // Who reads it tells its node that it differs.
        let c = try await TestNode.start("c", redis)
        try c.join(lobby, "z")
        try await eventually { try await redis.redisCLI("HGET", hash, "a/a.x") == before }
        for node in [a, b, c] {
            try await eventually {
                let roster = try await node.roster(lobby)
                return roster.contains(#""info":{"n":1}"#) && !roster.contains(#"{"n":2}"#)
            }
        }
    }

    @Test func newsThatWereLostAreMadeUpFor() async throws {
        let (redis, a, b, lobby) = try await cluster()
        let channel = "conduit:room:{lobby}"
        // b believes that a.x has left: as if the news of its coming had been lost.
        let x = try a.client("x")
        try await redis.publish(channel, .presence, origin: "a") { PresenceNews.left(x, .left).write(to: &$0) }
        try await eventually { b.sink.observed(lobby, "presence_diff").joined().contains("\"reason\":\"left\"") }
        try await isRight(redis, [a, b], lobby)
        // b believes that somebody is there who isn't: as if the news of its leaving had been lost.
        let gone = Member(client: try a.client("gone"), user: nil, node: a.id, joinedAt: 1)
        try await redis.publish(channel, .presence, origin: "a") { PresenceNews.joined(gone).write(to: &$0) }
        try await eventually { b.sink.observed(lobby, "presence_diff").joined().contains("a.gone") }
        try await isRight(redis, [a, b], lobby)
        // The same for a room that a's last member has left.
        let hall = try room("hall")
        try b.join(hall, "z")
        try a.join(hall, "last")
        try await b.waitForRoster(hall, ["b.z", "a.last"])
        try a.leave(hall, "last")
        try await b.waitForRoster(hall, ["b.z"])
        let last = Member(client: try a.client("last"), user: nil, node: a.id, joinedAt: 1)
        try await redis.publish("conduit:room:{hall}", .presence, origin: "a") {
            PresenceNews.joined(last).write(to: &$0)
        }
        try await b.waitForRoster(hall, ["b.z"])
    }

    @Test func membersOfANodeThatNobodyKnowsAreRemoved() async throws {
        let (redis, a, b, lobby) = try await cluster()
        let node = try #require(NodeID("ghost"))
        let ghost = Member(client: try #require(ClientID("ghost.g")), user: nil, node: node, joinedAt: 1)
        let json = String(buffer: MemberCodec.encode(ghost))
        try await redis.redisCLI("HSET", hash, "ghost/ghost.g", json)
        // One that reads it with the roster, and so counts as many as Redis.
        let c = try await TestNode.start("c", redis)
        try c.join(lobby, "z")
        for node in [a, b, c] { try await node.waitForRoster(lobby, truth.union(["c.z"])) }
        try await eventually { try await redis.redisCLI("HEXISTS", hash, "ghost/ghost.g") == "0" }
        for node in [a, b, c] { try await node.waitForRoster(lobby, truth.union(["c.z"])) }
    }

    @Test func afterAFlushEverybodyIsThere() async throws {
        let (redis, a, b, lobby) = try await cluster()
        for _ in 0..<3 {
            try await redis.redisCLI("FLUSHALL")
            try await isRight(redis, [a, b], lobby)
        }
        try await redis.redisCLI("SCRIPT", "FLUSH")
        try a.join(lobby, "late")
        try await b.waitForRoster(lobby, truth.union(["a.late"]))
        let diffs = (a.sink.observed(lobby, "presence_diff") + b.sink.observed(lobby, "presence_diff")).joined()
        #expect(!diffs.contains("\"reason\""), "nobody seemed to leave")
    }

    /// SIGSTOP for longer than the lease, for one node: its loop stands still while the others clean up after it.
    @Test func aNodeThatWasPausedIsThereAgain() async throws {
        let (redis, a, b, lobby) = try await cluster(leaseMilliseconds: TestNode.shortLease)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var configuration = try TestNode.configuration(redis)
        configuration.leaseMilliseconds = TestNode.shortLease
        let c = try TestNode("c", configuration, on: group.any())
        try await c.connected()
        try c.join(lobby, "z")
        try await a.knows(3)
        for node in [a, b, c] { try await node.waitForRoster(lobby, truth.union(["c.z"])) }
        let goOn = DispatchSemaphore(value: 0)
        group.any().execute { goOn.wait() }
        // What happens in the room meanwhile is news to it.
        for node in [a, b] { try await node.waitForRoster(lobby, truth) }
        // Observers are told a little later.
        try await eventually { a.sink.observed(lobby, "presence_diff").joined().contains("\"reason\":\"node_lost\"") }
        try a.join(lobby, "meanwhile")
        try b.leave(lobby, "y", shard: 1)
        try await a.waitForRoster(lobby, ["a.x", "a.y", "a.meanwhile", "b.x"])
        goOn.signal()
        for node in [a, b, c] {
            try await node.waitForRoster(lobby, ["a.x", "a.y", "a.meanwhile", "b.x", "c.z"])
        }
        try await eventually { try await redis.redisCLI("HLEN", hash) == "5" }
        await c.bridge.abandon()
    }

    /// One node can't reach Redis for longer than its lease: its user is switched off.
    @Test func aNodeThatWasCutOffIsThereAgain() async throws {
        let (redis, a, b, lobby) = try await cluster(leaseMilliseconds: TestNode.shortLease)
        try await redis.redisCLI("ACL", "SETUSER", "cut", "on", ">pw", "~*", "&*", "+@all")
        var configuration = try TestNode.configuration(redis)
        configuration.leaseMilliseconds = TestNode.shortLease
        configuration.redis?.username = "cut"
        configuration.redis?.password = "pw"
        let c = try TestNode("c", configuration)
        try await c.connected()
        try c.join(lobby, "z")
        try c.join(lobby, "goes")
        for node in [a, b, c] { try await node.waitForRoster(lobby, truth.union(["c.z", "c.goes"])) }
        try await redis.redisCLI("ACL", "SETUSER", "cut", "off")
        try await redis.redisCLI("CLIENT", "KILL", "USER", "cut")
        try await eventually { c.bridge.status != .connected }
        try c.leave(lobby, "goes")
        try c.join(lobby, "comes")
        for node in [a, b] { try await node.waitForRoster(lobby, truth) }
        try a.join(lobby, "meanwhile")
        try await redis.redisCLI("ACL", "SETUSER", "cut", "on")
        try await c.connected()
        for node in [a, b, c] { try await node.waitForRoster(lobby, truth.union(["c.z", "c.comes", "a.meanwhile"])) }
        try await eventually { try await redis.redisCLI("HLEN", hash) == "7" }
    }
}
