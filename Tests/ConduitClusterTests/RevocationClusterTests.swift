import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitTesting
import NIOCore
import Testing

@testable import ConduitCluster

/// Revocations in Redis: how they are read, kept and forgotten.
@Suite(.timeLimit(.minutes(5))) struct RevocationClusterTests {
    private let key = "conduit:revoked"

    private func revocation(_ user: String, for milliseconds: Int64 = 3_600_000) throws -> Revocation {
        let now = WallClock.milliseconds
        let user = try #require(UserID(user))
        return Revocation(.user(user), revokedAt: now, expiresAt: now + milliseconds)
    }

    @Test func manyAreReadAndWhatIsNoneIsCounted() async throws {
        let redis = try await RedisServer.start()
        let end = WallClock.milliseconds + 3_600_000
        let fill = "for i=1,3000 do redis.call('ZADD',KEYS[1],ARGV[1]+i,'u:1700000000000:user:'..i) end"
        _ = try await redis.redisCLI("EVAL", fill, "1", key, "\(end)")
        let bad = ["", "u", "u:", "u:x:ann", "t:", "x:1:ann", "u:1:a\u{1}b", "t:" + String(repeating: "x", count: 256)]
        for name in bad { _ = try await redis.redisCLI("ZADD", key, "\(end)", name) }
        _ = try await redis.redisCLI("ZADD", key, "+inf", "t:forever")
        _ = try await redis.redisCLI("ZADD", key, "1000", "t:over")
        let node = try await TestNode.start("node", redis)
        try await eventually("all are read") { node.sink.revocations.figures.count == 3_000 }
        try await eventually("bad ones are counted") {
            await node.bridge.statistics().relayDropped["bad_entry"] == UInt64(bad.count + 1)
        }
        let identity = Identity(user: UserID("user:2999"))
        #expect(node.sink.revocations.isRevoked(identity))
        // The shards are told to look at their clients.
        // After each page: what comes next may fail, and the next reading finds nothing new.
        #expect(node.sink.received.filter { $0.kind == .revoked(nil) && $0.shard == 0 }.count > 1)
    }

    /// Neither is published, nor is written: nobody can tell, so it is said again.
    @Test func whatIsSaidWhileTheLinkBreaksIsSaidAgain() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        var configuration = try TestNode.configuration(redis)
        configuration.redis = try RedisConfiguration(url: "redis://127.0.0.1:\(proxy.port)")
        configuration.redis?.reconnectMax = .milliseconds(200)
        let cut = try TestNode("cut", configuration), other = try await TestNode.start("other", redis)
        try await cut.connected()
        let ann = try revocation("ann")
        try await proxy.set(.blackHole)
        async let isKept = cut.bridge.revoke(ann)
        try await eventually("it holds here") { cut.sink.revocations.all == [ann] }
        try await proxy.reset()
        #expect(await !isKept)
        #expect(other.sink.revocations.all.isEmpty)
        try await proxy.set(.pass)
        try await eventually("the other node is told") {
            other.sink.received.contains { $0.kind == .revoked(ann) }
        }
        #expect(other.sink.revocations.all == [ann])
        try await eventually("Redis has it") { try await redis.redisCLI("ZCARD", key).contains("1") }
    }

    @Test func whatRedisHasLostIsWrittenAndTold() async throws {
        let redis = try await RedisServer.start()
        let node = try await TestNode.start("node", redis), other = try await TestNode.start("other", redis)
        let known = try (0..<2_500).map { try revocation("user:\($0)") }
        node.sink.revocations.add(known)
        _ = try await redis.redisCLI("FLUSHALL")
        try await eventually("Redis has all") { try await redis.redisCLI("ZCARD", key).contains("2500") }
        // Told, not read: each by itself.
        try await eventually("the other node has all") { Set(other.sink.revocations.all) == Set(known) }
    }

    @Test func whatIsLengthenedHereIsKnownEverywhere() async throws {
        let redis = try await RedisServer.start()
        let node = try await TestNode.start("node", redis), other = try await TestNode.start("other", redis)
        let ann = try revocation("ann", for: 60_000)
        #expect(await node.bridge.revoke(ann))
        var identity = Identity(user: UserID("ann"))
        identity.issuedAt = ann.revokedAt
        identity.expiresAt = ann.expiresAt + 3_600_000
        #expect(node.sink.revocations.isRevoked(identity))
        let end = ann.expiresAt + 3_600_000 + Revocation.margin
        try await eventually("the other node knows the end") { other.sink.revocations.all.first?.expiresAt == end }
        try await eventually("Redis knows the end") {
            try await redis.redisCLI("ZRANGE", key, "0", "-1", "WITHSCORES").contains("\(end)")
        }
    }

    @Test func redisForgetsWhatHasRunOutAndKeepsTheLongest() async throws {
        let redis = try await RedisServer.start()
        _ = try await redis.redisCLI("ZADD", key, "1000", "t:over")
        let node = try await TestNode.start("node", redis)
        #expect(await node.bridge.revoke(try revocation("ann")))
        #expect(try await redis.redisCLI("ZCARD", key).contains("1"))
        let longer = try revocation("ann", for: 7_200_000)
        #expect(await node.bridge.revoke(longer))
        // The same user once for each time; the later one counts.
        let other = try await TestNode.start("other", redis)
        try await eventually("both are read") {
            other.sink.revocations.all.first?.expiresAt == longer.expiresAt
        }
        let left = Int64(try await redis.redisCLI("PTTL", key).filter(\.isNumber)) ?? 0
        #expect((3_600_001...7_200_000).contains(left), "\(left)")
    }

    @Test func theScriptForgetsThoseFirstThatRunOutFirst() async throws {
        let redis = try await RedisServer.start()
        let end = WallClock.milliseconds + 3_600_000
        var words = ["EVAL", ClusterScript.revoke.text, "1", key, "3"]
        for number in [5, 1, 4, 2, 3] { words += ["t:\(number)", "\(end + Int64(number))"] }
        #expect(try await redis.redisCLI(words).contains("2"))
        let kept = try await redis.redisCLI("ZRANGE", key, "0", "-1")
        #expect(kept.split(whereSeparator: \.isNewline).suffix(3) == ["t:3", "t:4", "t:5"], "\(kept)")
    }

    @Test func anotherNodeIsToldAtOnceAndAnOldPayloadIsHarmless() async throws {
        let redis = try await RedisServer.start()
        let first = try await TestNode.start("first", redis), second = try await TestNode.start("second", redis)
        let ann = try revocation("ann")
        #expect(await first.bridge.revoke(ann))
        for node in [first, second] {
            // Twice where it is also found in Redis, which a node reads when it comes.
            try await eventually("\(node.id) tells its shards") {
                node.sink.received.filter { $0.kind == .revoked(ann) }.count >= 2
            }
            #expect(node.sink.revocations.all == [ann])
        }
    }
}
