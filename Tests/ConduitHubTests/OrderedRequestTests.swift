import ConduitCore
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// The shard's side of ordered rooms: what it tells the bridge and what it does with the answers.
@Suite struct OrderedRequestTests {
    private static func harness() throws -> ShardHarness {
        var log = RoomPolicy()
        log.mode = .ordered
        var inbox = log
        inbox.isInbox = true
        var quiet = RoomPolicy()
        quiet.publish = .nobody
        var closed = RoomPolicy()
        closed.publish = .members
        var configuration = HubConfiguration()
        configuration.roomsPerClient = 2
        configuration.rooms = RoomPolicies(
            namespaces: ["log": log, "inbox": inbox, "quiet": quiet, "closed": closed])
        configuration.compression = CompressionConfiguration()
        return try ShardHarness(configuration: configuration)
    }

    private static func admission(_ room: RoomName, _ offset: UInt64, _ replay: [UInt64] = []) -> OrderedAdmission {
        OrderedAdmission(
            room: room, epoch: "e", offset: offset, recovered: !replay.isEmpty,
            replay: replay.map {
                ServerMessage(json: ByteBuffer(string: #"{"type":"t","data":0,"room":"log:a"}"#), offset: $0)
            })
    }

    private static func joins(_ harness: ShardHarness) -> [OrderedJoin] {
        harness.relay.all.compactMap { if case .joinOrdered(let join) = $0 { join } else { nil } }
    }

    private static func words(_ harness: ShardHarness) -> [String] {
        harness.relay.all.compactMap { event in
            switch event {
            case .admitted(let room, _): "admitted \(room)"
            case .joinAbandoned(let room): "abandoned \(room)"
            case .left(let room, _, _): "left \(room)"
            default: nil
            }
        }
    }

    @Test func aJoinWaitsForItsPlaceInTheLog() throws {
        let harness = try Self.harness()
        let client = try harness.connect()
        try client.queue(#"{"type":"join_room","id":1,"data":{"room":"log:a","recover":{"epoch":"e","offset":3}}}"#)
        try client.send(#"{"type":"ping","id":2,"data":7}"#)
        #expect(try client.events().isEmpty, "what follows the join waits for its answer")
        let join = try #require(Self.joins(harness).first)
        #expect(join.room.rawValue == "log:a" && join.recover == RecoveryPoint(epoch: "e", offset: 3))
        // What comes before the admission is none of the client's.
        harness.shards[0].perform([
            .room(join.room, ServerMessage(json: ByteBuffer(string: #"{"type":"early"}"#), offset: 4)),
            .admit(join.replyTo.client, Self.admission(join.room, 5, [4, 5]), join.replyTo.request),
            .room(join.room, ServerMessage(json: ByteBuffer(string: #"{"type":"live"}"#), offset: 6)),
        ])
        harness.turn()
        #expect(
            try client.events().map(\.text) == [
                #"{"type":"room_joined","data":{"room":"log:a","epoch":"e","offset":5,"recovered":true},"id":1}"#,
                #"{"type":"t","data":0,"room":"log:a","offset":4}"#,
                #"{"type":"t","data":0,"room":"log:a","offset":5}"#, #"{"type":"live","offset":6}"#,
                #"{"type":"pong","data":{"timestamp":7},"id":2}"#,
            ])
        #expect(Self.words(harness) == ["admitted log:a"])
        try client.send(#"{"type":"leave_room","data":{"room":"log:a"}}"#)
        #expect(Self.words(harness) == ["admitted log:a", "left log:a"])
    }

    @Test func whoIsGoneOrOverALimitGivesTheRoomBack() throws {
        let harness = try Self.harness()
        let gone = try harness.connect()
        try gone.send(#"{"type":"join_room","data":{"room":"log:a"}}"#)
        let join = try #require(Self.joins(harness).first)
        _ = try? gone.channel.finish()
        harness.turn()
        harness.shards[0].perform([.admit(join.replyTo.client, Self.admission(join.room, 1), nil)])
        harness.turn()
        #expect(Self.words(harness) == ["abandoned log:a"])
        #expect(harness.shards[0].pendingJoins.isEmpty && !harness.shards[0].rooms.exists(join.room))

        let full = try harness.connect()
        try full.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        try full.send(#"{"type":"join_room","data":{"room":"y"}}"#)
        try full.send(#"{"type":"join_room","id":9,"data":{"room":"log:a"}}"#)
        let second = try #require(Self.joins(harness).last)
        harness.shards[0].perform([
            .admit(second.replyTo.client, Self.admission(second.room, 1), second.replyTo.request)
        ])
        harness.turn()
        #expect(try full.events().last?.text.contains("limit_exceeded") == true)
        #expect(Self.words(harness).last == "abandoned log:a")
    }

    @Test func aRefusedJoinIsAnsweredAndTheClientGoesOn() throws {
        let harness = try Self.harness()
        let client = try harness.connect()
        try client.queue(#"{"type":"join_room","id":1,"data":{"room":"log:a"}}"#)
        try client.send(#"{"type":"ping","data":1}"#)
        let join = try #require(Self.joins(harness).first)
        harness.shards[0].perform([
            .refuseJoin(join.replyTo.client, join.room, RequestError(.unavailable, "no log"), join.replyTo.request)
        ])
        harness.turn()
        let events = try client.events().map(\.text)
        #expect(events.count == 2 && events[0].contains("unavailable") && events[1].contains("pong"))
        #expect(Self.words(harness) == ["abandoned log:a"])
    }

    @Test func anOrderedBroadcastIsDeliveredByTheBusAndAnsweredByTheBridge() throws {
        let harness = try Self.harness()
        let client = try harness.connect()
        try client.send(
            #"{"type":"broadcast","id":"b","data":{"room":"log:a","type":"t","payload":[1],"key":"k","version":4,"#
                + #""version_epoch":"v","exclude_self":true}}"#)
        try client.send(#"{"type":"send","id":"s","data":{"user":"ann","type":"t","payload":2}}"#)
        #expect(try client.events().isEmpty)
        let published = harness.relay.all.compactMap {
            if case .publishOrdered(let publish) = $0 { publish } else { nil }
        }
        try #require(published.count == 2)
        #expect(String(buffer: published[0].json) == #"{"type":"t","data":[1],"room":"log:a"}"#)
        #expect(published[0].key == "k" && published[0].version == 4 && published[0].versionEpoch == "v")
        #expect(published[0].excluded == published[0].replyTo?.client && published[0].replyTo?.request != nil)
        #expect(published[1].room.rawValue == "inbox:ann" && published[1].isInbox)
        #expect(String(buffer: published[1].json) == #"{"type":"t","data":2,"room":"inbox:ann"}"#)
    }

    @Test func whoIsSentAwayIsClosedBehindTheAnswers() throws {
        let harness = try Self.harness()
        let clients = try (0..<2).map { _ in try harness.connect() }
        for client in clients {
            try client.send(#"{"type":"broadcast","id":"b","data":{"room":"log:a","type":"t","payload":1}}"#)
        }
        let addresses = harness.relay.all.compactMap {
            if case .publishOrdered(let publish) = $0 { publish.replyTo } else { nil }
        }
        try #require(addresses.count == 2)
        _ = harness.shards[0].shed(
            ShedOrder(perSecond: 1_000_000, reason: .drain, delay: .zero, deadline: .uptimeNanoseconds(0)))
        harness.turn()
        for client in clients { #expect(try client.closeCode == nil) }
        let answer = EventEncoder.ack(offset: 1, epoch: "e", id: try #require(addresses[0].request))
        harness.shards[0].perform([.reply(addresses[0].client, answer)])
        harness.turn()
        let frames = try clients[0].frames()
        guard frames.count == 2, case .text(let text) = frames[0], case .close(3001, _) = frames[1] else {
            Issue.record("\(frames)")
            return
        }
        #expect(String(buffer: text).contains("ack"))
        // The other one's answer doesn't come.
        #expect(try clients[1].closeCode == nil)
        for loop in harness.loops { loop.advanceTime(by: .seconds(1)) }
        harness.turn()
        #expect(try clients[1].closeCode == 3001)
        harness.shards[0].perform([.reply(addresses[1].client, answer)])
        #expect(harness.shards[0].statistics.dropped["client_gone"] == 1)
        try clients[1].send(#"{"type":"ping"}"#)
        #expect(harness.shards[0].statistics.dropped["after_close"] == 1)
    }

    @Test func policiesSayWhoPublishesAndWhoReads() throws {
        let harness = try Self.harness()
        let client = try harness.connect(user: "bob")
        try client.send(#"{"type":"broadcast","id":1,"data":{"room":"quiet:x","type":"t"}}"#)
        try client.send(#"{"type":"broadcast","id":2,"data":{"room":"closed:x","type":"t"}}"#)
        try client.send(#"{"type":"join_room","id":3,"data":{"room":"closed:x"}}"#)
        try client.send(#"{"type":"broadcast","id":4,"data":{"room":"closed:x","type":"t"}}"#)
        try client.send(#"{"type":"join_room","id":5,"data":{"room":"inbox:ann"}}"#)
        try client.send(#"{"type":"history","id":6,"data":{"room":"inbox:ann"}}"#)
        try client.send(#"{"type":"history","id":7,"data":{"room":"closed:x"}}"#)
        try client.send(#"{"type":"history","id":8,"data":{"room":"log:x","since":{"epoch":"e"}}}"#)
        let events = try client.events().map(\.text)
        let expected = [
            "permission_denied", "not_in_room", "room_joined", #""type":"t""#, "ack", "permission_denied",
            "permission_denied", "bad_request", "bad_request",
        ]
        #expect(events.count == expected.count)
        for (event, word) in zip(events, expected) { #expect(event.contains(word)) }
    }

    /// What a client is answered when it asks for another one's inbox in each of the ways there are.
    private static func codes(_ client: TestClient, _ room: String) throws -> [String] {
        try client.send(#"{"type":"history","data":{"room":"\#(room)"}}"#)
        try client.send(#"{"type":"presence","data":{"room":"\#(room)"}}"#)
        try client.send(#"{"type":"join_room","data":{"room":"\#(room)","recover":{"epoch":"e","offset":0}}}"#)
        return try client.events().map(\.code)
    }

    private static let denied = Array(repeating: "permission_denied", count: 3)

    /// Users are bytes: who only looks like the owner is another user.
    @Test(arguments: [
        ("Kate", "\u{212A}ate"), ("\u{212A}ate", "Kate"), ("caf\u{E9}", "cafe\u{301}"), ("cafe\u{301}", "caf\u{E9}"),
        ("\u{301}ann", "ann"), ("ann", "\u{301}ann"), ("ann", "bob"),
    ])
    func anInboxIsReadByItsOwnerAlone(_ owner: String, _ other: String) throws {
        let harness = try Self.harness()
        let client = try harness.connect(user: other)
        #expect(try Self.codes(client, "inbox:\(owner)") == Self.denied)
        #expect(harness.relay.all.allSatisfy { if case .connected = $0 { true } else { false } })
        // One's own may be asked for in all ways.
        let own = try harness.connect(user: owner)
        try own.send(#"{"type":"presence","data":{"room":"inbox:\#(owner)"}}"#)
        try own.send(#"{"type":"history","data":{"room":"inbox:\#(owner)"}}"#)
        try own.send(#"{"type":"join_room","data":{"room":"inbox:\#(owner)"}}"#)
        // An identity that nobody was asked for may publish anywhere, so it need not be in a room to read its history.
        #expect(try own.events().isEmpty)
        #expect(Self.joins(harness).map(\.room.rawValue) == ["inbox:\(owner)"])
    }

    @Test func publishingAnywhereReadsNobodysInbox() throws {
        let harness = try Self.harness()
        let service = try harness.connect(identity: Identity(user: nil, mayPublishWithoutJoining: true))
        #expect(try Self.codes(service, "inbox:ann") == Self.denied)
        // Where nobody is asked for a name, nobody has an inbox to himself.
        let anybody = try harness.connect()
        #expect(try Self.codes(anybody, "inbox:ann").isEmpty)
        #expect(Self.joins(harness).count == 1)
    }

    @Test func sendingNeedsItsGrantAndAnInboxThatClientsMayWriteTo() throws {
        let sends = [
            #"{"type":"send","id":1,"data":{"user":"ann","type":"t","payload":1}}"#,
            #"{"type":"send","id":2,"data":{"client":"test.aaaaaaaaaaaaaaaaaaaa","type":"t","payload":1}}"#,
        ]
        let harness = try Self.harness()
        let silent = try harness.connect(identity: Identity(user: UserID("bob"), maySend: false))
        for send in sends { try silent.send(send) }
        #expect(try silent.events().map(\.code) == ["permission_denied", "permission_denied"])
        func stored(_ harness: ShardHarness) -> Int {
            harness.relay.all.count { if case .publishOrdered = $0 { true } else { false } }
        }
        func sent(_ harness: ShardHarness) -> Int {
            harness.relay.all.count { if case .send = $0 { true } else { false } }
        }
        #expect(stored(harness) == 0 && sent(harness) == 0)
        let other = try harness.connect(identity: Identity(user: UserID("bob")))
        for send in sends { try other.send(send) }
        #expect(try other.events().isEmpty)
        #expect(stored(harness) == 1 && sent(harness) == 1)
        // The namespace takes nothing of clients; names have their bound there as everywhere.
        var inbox = RoomPolicy()
        inbox.mode = .ordered
        inbox.isInbox = true
        inbox.publish = .nobody
        var configuration = HubConfiguration()
        configuration.rooms = RoomPolicies(namespaces: ["inbox": inbox])
        let quiet = try ShardHarness(configuration: configuration)
        let client = try quiet.connect(user: "bob")
        for send in sends { try client.send(send) }
        #expect(try client.events().map(\.code) == ["permission_denied"])
        #expect(stored(quiet) == 0 && sent(quiet) == 1)
        inbox.publish = .anyone
        configuration.rooms = RoomPolicies(namespaces: ["inbox": inbox])
        configuration.roomNameBytes = 8
        let short = try ShardHarness(configuration: configuration)
        let sender = try short.connect(user: "bob")
        try sender.send(sends[0])
        #expect(try sender.events().map(\.code) == ["limit_exceeded"])
        #expect(stored(short) == 0)
    }

    @Test func aReplayThatSeveralGetIsCompressedOnce() throws {
        let harness = try Self.harness()
        let shard = harness.shards[0]
        let room = RoomName(literal: "log:a")
        let text = String(repeating: "abc ", count: 1_000)
        let replay = (3...5).map {
            ServerMessage(json: ByteBuffer(string: #"{"type":"t","data":"\#(text)"}"#), offset: $0).compressible
        }
        for _ in 0..<3 {
            let client = try harness.connect(deflate: DeflateParameters(serverWindowBits: 15))
            try client.send(#"{"type":"join_room","data":{"room":"log:a","recover":{"epoch":"e","offset":2}}}"#)
        }
        for join in Self.joins(harness) {
            let admission = OrderedAdmission(room: room, epoch: "e", offset: 5, recovered: true, replay: replay)
            shard.perform([.admit(join.replyTo.client, admission, nil)])
        }
        harness.turn()
        #expect(Self.words(harness).count == 3)
        #expect(shard.compressor?.statistics.deflated == 3)
    }

    @Test func oneHistoryRequestAtATime() throws {
        let harness = try Self.harness()
        let client = try harness.connect()
        try client.send(
            #"{"type":"history","id":1,"data":{"room":"log:x","since":{"epoch":"e","offset":2},"limit":5}}"#)
        try client.send(#"{"type":"history","id":2,"data":{"room":"log:x"}}"#)
        #expect(try client.events().map(\.text).first?.contains("rate_limited") == true)
        let queries = harness.relay.all.compactMap { if case .historyQuery(let query) = $0 { query } else { nil } }
        let query = try #require(queries.first)
        #expect(queries.count == 1 && query.limit == 5 && query.since == RecoveryPoint(epoch: "e", offset: 2))
        let answer = EventEncoder.history(
            query.room, epoch: "e", offset: 4, messages: [ByteBuffer(string: "{}"), ByteBuffer(string: "{}")],
            id: query.replyTo.request)
        harness.shards[0].perform([.historyReply(query.replyTo.client, answer)])
        harness.turn()
        #expect(
            try client.events().map(\.text) == [
                #"{"type":"history","data":{"room":"log:x","epoch":"e","offset":4,"messages":[{},{}]},"id":1}"#
            ])
        try client.send(#"{"type":"history","id":3,"data":{"room":"log:x"}}"#)
        #expect(try client.events().isEmpty, "the next one may be asked")
    }
}
