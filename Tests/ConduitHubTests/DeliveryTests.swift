import ConduitCore
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

@Suite struct DeliveryTests {
    private func join(_ client: TestClient, _ room: String, presence: Bool = false) throws {
        try client.send(#"{"type":"join_room","data":{"room":"\#(room)","presence":\#(presence)}}"#)
        _ = try client.events()
    }

    @Test(arguments: [1, 2]) func aRoomBroadcastReachesEveryMemberAndTheSenderOnce(shards: Int) throws {
        let harness = try ShardHarness(shards: shards)
        let clients = try (0..<6).map { try harness.connect(shard: $0 % shards) }
        for client in clients[0..<4] { try join(client, "x") }
        try clients[0].send(#"{"type":"broadcast","data":{"room":"x","type":"m","payload":{"n": 1}}}"#)
        for client in clients[0..<4] {
            #expect(try client.events().map(\.text) == [#"{"type":"m","data":{"n": 1},"room":"x"}"#])
        }
        for client in clients[4...] { #expect(try client.frames().isEmpty) }
    }

    /// A node that doesn't trace passes on what it always did, whatever a client says of traces.
    @Test func nothingIsTracedWhereTracingIsOff() throws {
        let harness = try ShardHarness(shards: 2)
        let member = try harness.connect(shard: 0)
        try member.send(#"{"type":"join_room","data":{"room":"r"}}"#)
        harness.turn()
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        try member.send(
            "{\"type\":\"broadcast\",\"data\":{\"room\":\"r\",\"type\":\"t\",\"payload\":1,\"traceparent\":\"\(trace)\"}}"
        )
        harness.turn()
        let broadcasts = harness.relay.all.filter { if case .broadcast = $0 { true } else { false } }
        let traced = harness.relay.all.filter { if case .traced = $0 { true } else { false } }
        #expect(broadcasts.count == 1 && traced.isEmpty)
        #expect(harness.shards.allSatisfy { $0.publishing == nil && $0.deliverySpans.isEmpty && !$0.isTracing })
        #expect(try member.events().last?.type == "t")
    }

    @Test func excludeSelfAndAck() throws {
        let harness = try ShardHarness()
        let (a, b) = (try harness.connect(), try harness.connect())
        try join(a, "x")
        try join(b, "x")
        try a.send(
            #"{"type":"broadcast","data":{"room":"x","type":"m","payload":1,"exclude_self":true},"id":"7"}"#)
        #expect(try a.events().map(\.text) == [#"{"type":"ack","data":{},"id":"7"}"#])
        #expect(try b.events().map(\.type) == ["m"])
    }

    @Test(arguments: [1, 3]) func aBroadcastWithoutRoomReachesEverybody(shards: Int) throws {
        let harness = try ShardHarness(shards: shards)
        let clients = try (0..<6).map { try harness.connect(shard: $0 % shards) }
        try clients[0].send(#"{"type":"broadcast","data":{"type":"m","payload":null}}"#)
        for client in clients { #expect(try client.events().map(\.text) == [#"{"type":"m","data":null}"#]) }
        #expect(harness.roomEvents == ["broadcast all"])
    }

    @Test func onesMessagesKeepTheirOrderOverRoomsUsersAndEverybody() throws {
        let harness = try ShardHarness(shards: 2)
        let sender = try harness.connect()
        let reader = try harness.connect(shard: 1, user: "ann")
        try join(reader, "x")
        try join(reader, "y")
        var expected: [Int] = []
        for n in 0..<60 {
            let target = ["\"room\":\"x\",", "\"room\":\"y\",", ""][n % 3]
            if n % 4 == 3 {
                try sender.queue(#"{"type":"send","data":{"user":"ann","type":"m","payload":\#(n)}}"#)
            } else {
                try sender.queue(#"{"type":"broadcast","data":{\#(target)"type":"m","payload":\#(n)}}"#)
            }
            expected.append(n)
            if n % 7 == 0 { harness.turn() }
        }
        harness.turn()
        #expect(try reader.events().map { $0.object["data"] as? Int } == expected)
    }

    @Test func aTurnsMessagesAreOneWriteAClient() throws {
        let harness = try ShardHarness()
        let sender = try harness.connect()
        let readers = try (0..<3).map { _ in try harness.connect() }
        for reader in readers { try join(reader, "x") }
        let before = readers.map(\.writes)
        for n in 0..<20 { try sender.queue(#"{"type":"broadcast","data":{"room":"x","type":"m","payload":\#(n)}}"#) }
        harness.turn()
        for (index, reader) in readers.enumerated() {
            #expect(try reader.events().count == 20)
            #expect(reader.writes == before[index] + 1)
        }
        #expect(harness.shards[0].snapshot().statistics.deliveries >= 60)
    }

    @Test func sendCountsConnectionsOfEveryShardForTheBridge() throws {
        let harness = try ShardHarness(shards: 2)
        let sender = try harness.connect()
        let receivers = try [0, 1, 1].map { try harness.connect(shard: $0, user: "ann") }
        try sender.send(#"{"type":"send","data":{"user":"ann","type":"m","payload":1},"id":9}"#)
        for receiver in receivers { #expect(try receiver.events().map(\.type) == ["m"]) }
        var (own, awaited, reported) = (0, 0, 0)
        for event in harness.relay.all {
            if case .send(_, _, let pending?) = event { (own, awaited) = (pending.delivered, pending.awaitedShards) }
            if case .delivered(_, let count) = event { reported += count }
        }
        #expect(own == 1)
        #expect(awaited == 1)
        #expect(reported == 2)
    }

    @Test func observersAreThoseWhoAsked() throws {
        let harness = try ShardHarness()
        let (plain, asked, named) = (
            try harness.connect(), try harness.connect(), try harness.connect(subprotocol: "conduit.v1.json")
        )
        try join(plain, "x")
        try join(asked, "x", presence: true)
        try join(named, "x")
        let room = try #require(RoomName("x"))
        harness.shards[0].perform([.observers(room, .init(json: ByteBuffer(string: #"{"type":"presence_diff"}"#)))])
        harness.turn()
        #expect(try plain.frames().isEmpty)
        #expect(try asked.events().count == 1)
        #expect(try named.events().count == 1)
    }

    @Test func aMessageForAClientThatWentInTheSameTurnIsCountedNotDelivered() throws {
        let harness = try ShardHarness()
        let (sender, goer) = (try harness.connect(), try harness.connect())
        try join(goer, "x")
        try sender.queue(#"{"type":"broadcast","data":{"room":"x","type":"m","payload":1}}"#)
        goer.channel.pipeline.fireChannelInactive()
        let late = try harness.connect()
        harness.turn()
        #expect(try late.frames().isEmpty)
        #expect(harness.shards[0].snapshot().statistics.dropped["client_gone"] == 1)
    }
}
