import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

/// The scripts of ordered rooms against a real Redis.
@Suite(.serialized) struct OrderedScriptTests {
    private let keys = ClusterKeys(prefix: "t")
    private let lobby = RoomName(literal: "chat:{lobby}")

    private func message(
        _ text: String, key: String? = nil, version: UInt64? = nil, line: String? = nil, excluded: ClientID? = nil
    ) -> OrderedPublish {
        OrderedPublish(
            room: lobby, json: ByteBuffer(string: "{\"d\":\"\(text)\"}"), key: key, version: version,
            versionEpoch: line, excluded: excluded)
    }

    private func withRedis(_ body: (RedisClient) async throws -> Void) async throws {
        let server = try await RedisServer.start()
        try await RedisClient.withConnection(try RedisConfiguration(url: server.url)) { try await body($0) }
    }

    private func evaluate(_ script: ClusterScript, _ call: ScriptCall, _ redis: RedisClient) async throws -> RedisValue
    {
        try await redis.send(
            ["EVAL", .string(script.text), .integer(Int64(call.keys.count))] + call.keys.map { .string($0) }
                + call.arguments)
    }

    @discardableResult
    private func publish(
        _ redis: RedisClient, _ messages: OrderedPublish..., epoch: String = "e1", known: [RecoveryPoint] = [],
        policy: RoomPolicy = RoomPolicy(), header: String = ""
    ) async throws -> (position: RecoveryPoint, verdicts: [OrderedPublishCall.Verdict]) {
        let call = OrderedPublishCall(
            room: lobby, messages: messages, policy: policy, word: "PUBLISH", header: ByteBuffer(string: header),
            epoch: epoch, known: known)
        return try #require(call.answer(try await evaluate(.orderedPublish, call.call(keys), redis)))
    }

    private func read(
        _ redis: RedisClient, epoch: String? = "r1", known: [RecoveryPoint] = [], after: RecoveryPoint? = nil,
        through: UInt64? = nil, isNewest: Bool = false, most: Int = 100, bytes: Int = 1 << 20
    ) async throws -> OrderedRoom.Page {
        let call = OrderedReadCall(
            room: lobby, epoch: epoch, known: known, after: after, through: through, isNewest: isNewest, most: most,
            bytes: bytes)
        return try #require(call.answer(try await evaluate(.orderedRead, call.call(keys), redis)))
    }

    private func length(_ redis: RedisClient) async throws -> Int64? {
        try await redis.send("XLEN", .string(keys.log(of: lobby))).integer
    }

    @Test func offsetsRiseByOneAndTheLogHoldsWhatWasAccepted() async throws {
        try await withRedis { redis in
            let first = try await publish(redis, message("a"), message("b"))
            #expect(first.position == RecoveryPoint(epoch: "e1", offset: 2))
            #expect(first.verdicts == [.accepted(1), .accepted(2)])
            let second = try await publish(redis, message("c"), epoch: "other")
            #expect(second.position == RecoveryPoint(epoch: "e1", offset: 3))
            let page = try await read(redis, after: first.position)
            #expect(page.messages.map { String(buffer: $0.json) } == ["{\"d\":\"c\"}"])
            #expect(page.messages.map(\.offset) == [3] && page.isWhole && page.top == 3 && page.epoch == "e1")
            let meta = try await redis.send("PTTL", .string(keys.meta(of: lobby))).integer ?? 0
            #expect(meta > OrderedPublishCall.metaMilliseconds - 60_000)
            #expect(keys.log(of: lobby) == "t:log:{chat:%7Blobby%7D}")
        }
    }

    @Test func aKeyMakesARepeatedMessageOne() async throws {
        try await withRedis { redis in
            let result = try await publish(redis, message("a", key: "k"), message("again", key: "k"), message("b"))
            let first = RecoveryPoint(epoch: "e1", offset: 1)
            #expect(result.verdicts == [.accepted(1), .duplicate(first), .accepted(2)])
            #expect(try await publish(redis, message("a", key: "k")).verdicts == [.duplicate(first)])
            #expect(try await length(redis) == 2)
            let left = try await redis.send("PTTL", .string(keys.key("k", of: lobby))).integer ?? 0
            #expect((1...OrderedPublishCall.keyMilliseconds).contains(left))
        }
    }

    @Test func anOlderVersionIsSuppressed() async throws {
        try await withRedis { redis in
            let big: UInt64 = 9_007_199_254_740_993
            let result = try await publish(
                redis, message("a", version: 9), message("b", version: 10), message("c", version: 10),
                message("d", version: 2), message("e", version: 2, line: "new"),
                message("f", version: big, line: "new"),
                message("g", version: big - 1, line: "new"), message("h"))
            #expect(
                result.verdicts == [
                    .accepted(1), .accepted(2), .suppressed(2), .suppressed(2), .accepted(3), .accepted(4),
                    .suppressed(4), .accepted(5),
                ])
            #expect(try await publish(redis, message("i", version: big, line: "new")).verdicts == [.suppressed(5)])
            #expect(try await publish(redis, message("j", version: big + 1, line: "new")).verdicts == [.accepted(6)])
        }
    }

    @Test func theLogIsTrimmedByNumber() async throws {
        try await withRedis { redis in
            var policy = RoomPolicy()
            policy.historySize = 5
            for index in 0..<8 { try await publish(redis, message("\(index)"), message("x"), policy: policy) }
            #expect(try await length(redis) == 5)
            #expect(try await read(redis, after: RecoveryPoint(epoch: "e1", offset: 0)).messages.first?.offset == 12)
        }
    }

    @Test func theLogIsTrimmedByAgeAndVanishesWithTheLast() async throws {
        try await withRedis { redis in
            // Forty messages that are an hour old, as an earlier node wrote them, and one that is new.
            try await publish(redis, message("first"))
            let old = try await redis.send("TIME").array?.first?.integer.map { ($0 - 3_600) * 1_000 } ?? 0
            try await redis.send("DEL", .string(keys.log(of: lobby)))
            for offset in 1...40 as ClosedRange<Int64> {
                try await redis.send(
                    "XADD", .string(keys.log(of: lobby)), .string("\(offset)-0"), "t", .integer(old + offset), "d", "{}"
                )
            }
            try await redis.send("HSET", .string(keys.meta(of: lobby)), "o", "40", "c", "0")
            var policy = RoomPolicy()
            policy.historyMilliseconds = 60_000
            try await publish(redis, message("new"), message("newer"), policy: policy)
            #expect(try await length(redis) == 2)
            let left = try await redis.send("PTTL", .string(keys.log(of: lobby))).integer ?? 0
            #expect((1...60_000).contains(left))
            // The next look at the ages is some time away; a log that is gone meanwhile goes on with its offsets.
            try await redis.send("DEL", .string(keys.log(of: lobby)))
            #expect(try await publish(redis, message("later")).verdicts == [.accepted(43)])
        }
    }

    @Test func aRoomWithoutMetaGetsANewEpochAndAnEmptyLog() async throws {
        try await withRedis { redis in
            try await publish(redis, message("a"), message("b"))
            try await redis.send("DEL", .string(keys.meta(of: lobby)))
            let result = try await publish(redis, message("c"), epoch: "e2")
            #expect(result.position == RecoveryPoint(epoch: "e2", offset: 1))
            #expect(try await length(redis) == 1)
            // The same when somebody only reads.
            try await redis.send("DEL", .string(keys.meta(of: lobby)))
            let page = try await read(redis, epoch: "e3", after: result.position)
            #expect(page.epoch == "e3" && page.top == 0 && page.messages.isEmpty && page.isWhole)
            #expect(try await length(redis) == 0)
            #expect(try await publish(redis, message("d"), epoch: "e4").position.epoch == "e3")
        }
    }

    @Test func whoKnowsMoreThanRedisMakesItBeginAnew() async throws {
        try await withRedis { redis in
            try await publish(redis, message("a"), message("b"))
            let known = RecoveryPoint(epoch: "e1", offset: 2)
            #expect(try await publish(redis, message("c"), epoch: "e2", known: [known]).position.epoch == "e1")
            // A fail-over to a replica that had one message only.
            try await redis.send("HSET", .string(keys.meta(of: lobby)), "o", "1")
            let result = try await publish(redis, message("d"), epoch: "e2", known: [known])
            #expect(result.position == RecoveryPoint(epoch: "e2", offset: 1))
            #expect(try await length(redis) == 1)
            // And one to an even older state: the former epoch must not live on.
            try await redis.send("HSET", .string(keys.meta(of: lobby)), "e", "e1", "o", "500")
            let former = [result.position, RecoveryPoint(epoch: "e1", offset: OrderedMessage.highestOffset)]
            let page = try await read(redis, epoch: "e3", known: former, after: result.position)
            #expect(page.epoch == "e3" && page.top == 0)
        }
    }

    @Test func aLogThatIsAheadOfItsMetaIsAnothersLog() async throws {
        try await withRedis { redis in
            try await publish(redis, message("a"), message("b"), message("c"))
            try await redis.send("HSET", .string(keys.meta(of: lobby)), "o", "1")
            let result = try await publish(redis, message("d", key: "k"), message("e"), epoch: "e2")
            #expect(result.position == RecoveryPoint(epoch: "e2", offset: 2))
            #expect(result.verdicts == [.accepted(1), .accepted(2)])
            let again = try await publish(redis, message("d", key: "k"))
            #expect(again.verdicts == [.duplicate(RecoveryPoint(epoch: "e2", offset: 1))])
        }
    }

    @Test func aQuestionWithoutAnEpochMakesNothing() async throws {
        try await withRedis { redis in
            let page = try await read(redis, epoch: nil)
            #expect(page.epoch == "" && page.top == 0 && page.messages.isEmpty && page.isWhole)
            #expect(try await redis.send("DBSIZE").integer == 0)
        }
    }

    @Test func readsAreBoundedInBothDirections() async throws {
        try await withRedis { redis in
            for block in 0..<10 {
                for index in 0..<20 { try await publish(redis, message("\(block * 20 + index)")) }
            }
            let start = RecoveryPoint(epoch: "e1", offset: 10)
            let some = try await read(redis, after: start, through: 150, most: 100)
            #expect(some.messages.map(\.offset) == Array(11...110) && !some.isWhole)
            let rest = try await read(redis, after: RecoveryPoint(epoch: "e1", offset: 110), through: 150, most: 40)
            #expect(rest.messages.map(\.offset) == Array(111...150) && rest.isWhole)
            let few = try await read(redis, after: start, bytes: 25)
            #expect(few.messages.map(\.offset) == [11, 12] && !few.isWhole)
            let one = try await read(redis, after: start, bytes: 1)
            #expect(one.messages.map(\.offset) == [11] && !one.isWhole)
            let newest = try await read(redis, after: start, through: 150, isNewest: true, most: 70)
            #expect(newest.messages.map(\.offset) == Array(81...150) && !newest.isWhole)
            let all = try await read(redis, after: start, through: 20, isNewest: true, most: 70)
            #expect(all.messages.map(\.offset) == Array(11...20) && all.isWhole)
            let position = try await read(redis, most: 0)
            #expect(position.top == 200 && position.messages.isEmpty)
            // Another epoch is read from its beginning.
            #expect(try await read(redis, after: RecoveryPoint(epoch: "x", offset: 9)).messages.first?.offset == 1)
        }
    }

    @Test func whatIsAcceptedIsPublishedInOnePayload() async throws {
        let server = try await RedisServer.start()
        let node = try #require(NodeID("n1"))
        let client = try #require(ClientID("n1.abc"))
        let configuration = try RedisConfiguration(url: server.url)
        let channel = keys.channel(.room(lobby))
        let link = try await LinkListener.listen(configuration, to: channel)
        try await RedisClient.withConnection(configuration) { redis in
            var writer = NodeEnvelopeWriter()
            let header = writer.finish(
                kind: .ordered, origin: node, incarnation: 7, sequence: 0, startsRun: false, sentAt: 8)
            let call = OrderedPublishCall(
                room: lobby,
                messages: [message("a", key: "k"), message("a", key: "k"), message("b", excluded: client)],
                policy: RoomPolicy(), word: "PUBLISH", header: header, epoch: "e1", known: [])
            _ = try await evaluate(.orderedPublish, call.call(keys), redis)
            // A duplicate alone is not published.
            try await publish(redis, message("a", key: "k"))
            try await publish(redis, message("c"), header: String(buffer: header))
        }
        try await eventually("two payloads") { link.payloads.count == 2 }
        let envelope = try NodeEnvelope.decode(link.payloads[0])
        #expect(envelope.origin == node && envelope.incarnation == 7 && envelope.sequence == 0)
        let batch = try #require(OrderedBatch(envelope))
        #expect(batch.epoch == "e1" && batch.messages.map(\.offset) == [1, 2])
        #expect(batch.messages.map(\.excluded) == [nil, client])
        #expect(batch.messages.map { String(buffer: $0.json) } == ["{\"d\":\"a\"}", "{\"d\":\"b\"}"])
        #expect(OrderedBatch(try NodeEnvelope.decode(link.payloads[1]))?.messages.map(\.offset) == [3])
        link.close()
    }
}
