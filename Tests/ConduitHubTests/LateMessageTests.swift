import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// What comes behind the close frame of a client that was told to go elsewhere.
@Suite struct LateMessageTests {
    private static func harness(_ change: (inout HubConfiguration) -> Void = { _ in }) throws -> ShardHarness {
        var log = RoomPolicy()
        log.mode = .ordered
        var closed = RoomPolicy()
        closed.publish = .members
        var configuration = HubConfiguration()
        configuration.rooms = RoomPolicies(namespaces: ["log": log, "closed": closed])
        change(&configuration)
        return try ShardHarness(configuration: configuration)
    }

    /// Sends the client away that came first.
    private static func sendAway(_ harness: ShardHarness, _ client: TestClient) throws {
        let shard = harness.shards[0]
        let own = try #require(shard.clients.clients.compactMap(\.self).first)
        shard.close(own, .shutdown, isSentAway: true)
        harness.turn()
        #expect(try client.closeCode == 3001)
    }

    private static func dropped(_ harness: ShardHarness) -> UInt64? {
        harness.shards[0].statistics.dropped["after_close"]
    }

    private static func ordered(_ harness: ShardHarness) -> [OrderedPublish] {
        harness.relay.all.compactMap { if case .publishOrdered(let publish) = $0 { publish } else { nil } }
    }

    @Test func itIsPublishedUntilTheCloseIsAnswered() throws {
        let harness = try Self.harness()
        let client = try harness.connect(user: "ann")
        let other = try harness.connect(user: "bob")
        for one in [client, other] { try one.send(#"{"type":"join_room","data":{"room":"closed:x"}}"#) }
        try client.send(#"{"type":"join_room","data":{"room":"closed:own"}}"#)
        for one in [client, other] { _ = try one.frames() }
        try Self.sendAway(harness, client)
        try client.send(#"{"type":"broadcast","id":1,"data":{"room":"closed:x","type":"t","payload":1}}"#)
        try client.send(#"{"type":"broadcast","id":2,"data":{"room":"log:a","type":"t","payload":2,"key":"k"}}"#)
        try client.send(#"{"type":"send","id":3,"data":{"user":"bob","type":"t","payload":3}}"#)
        // Its last member here was the client itself; others may be elsewhere.
        try client.send(#"{"type":"broadcast","id":4,"data":{"room":"closed:own","type":"t","payload":4}}"#)
        #expect(
            try other.events().map(\.text) == [
                #"{"type":"t","data":1,"room":"closed:x"}"#, #"{"type":"t","data":3}"#,
            ])
        let published = Self.ordered(harness)
        #expect(published.map(\.key) == ["k"] && published.first?.replyTo?.request == nil, "nobody can be answered")
        #expect(harness.roomEvents.contains("broadcast closed:own"))
        #expect(Self.dropped(harness) == 0)
        // Not where it wasn't a member, and nothing that would only be answered.
        try client.send(#"{"type":"broadcast","id":5,"data":{"room":"closed:y","type":"t"}}"#)
        try client.send(#"{"type":"join_room","id":6,"data":{"room":"closed:y"}}"#)
        try client.send("nonsense")
        #expect(Self.dropped(harness) == 3)
        // Behind its own close frame nothing is anything.
        try client.queue(#"{"type":"broadcast","data":{"room":"closed:x","type":"t","payload":7}}"#)
        try client.channel.writeInbound(TestClient.frame(0x88, [3, 232]))
        try client.queue(#"{"type":"broadcast","data":{"room":"closed:x","type":"t","payload":8}}"#)
        harness.turn()
        #expect(try other.events().map(\.text) == [#"{"type":"t","data":7,"room":"closed:x"}"#])
        #expect(try client.frames().isEmpty, "nothing follows a close frame")
        #expect(!client.channel.isActive)
    }

    @Test func limitsHold() throws {
        let harness = try Self.harness {
            $0.messagesPerSecond = 2
            $0.messagesBurst = 2
        }
        let client = try harness.connect()
        try Self.sendAway(harness, client)
        for number in 0..<5 {
            try client.send(#"{"type":"broadcast","data":{"room":"log:a","type":"t","payload":\#(number)}}"#)
        }
        #expect(Self.ordered(harness).count == 2 && Self.dropped(harness) == 3)
        // Who doesn't answer the close frame is cut.
        for loop in harness.loops { loop.advanceTime(by: .seconds(4)) }
        harness.turn()
        #expect(!client.channel.isActive)
    }

    @Test func whoIsClosedForAnotherReasonSaysNothingMore() throws {
        let harness = try Self.harness()
        let client = try harness.connect(user: "ann")
        let own = try #require(harness.shards[0].clients.clients.compactMap(\.self).first)
        try Self.sendAway(harness, client)
        harness.shards[0].disconnect(own.id, .forceDisconnect)
        try client.send(#"{"type":"broadcast","data":{"room":"log:a","type":"t"}}"#)
        #expect(Self.ordered(harness).isEmpty && Self.dropped(harness) == 1)
        let revoked = try Self.harness()
        let ann = try revoked.connect(user: "ann")
        try Self.sendAway(revoked, ann)
        _ = revoked.shards[0].revocations.add([
            Revocation(.user(try #require(UserID("ann"))), now: WallClock.milliseconds, lastExpiry: nil, age: 60_000)
        ])
        try ann.send(#"{"type":"broadcast","data":{"room":"log:a","type":"t"}}"#)
        #expect(Self.ordered(revoked).isEmpty && Self.dropped(revoked) == 1)
    }

    /// Operators name a user or a client; neither is in a room or among the user's connections any more.
    @Test(arguments: ["answer user", "answer client", "command user", "command client", "another"])
    func anOperatorsDisconnectEndsIt(way: String) throws {
        let harness = try Self.harness()
        let shard = harness.shards[0]
        let client = try harness.connect(user: "ann")
        let own = try #require(shard.clients.clients.compactMap(\.self).first)
        let ann = try #require(UserID("ann"))
        try Self.sendAway(harness, client)
        #expect(shard.lateClients.count == 1)
        switch way {
        case "answer user": #expect(shard.disconnectAll(.user(ann)) == 0, "it was on its way out")
        case "answer client": #expect(shard.disconnectAll(.client(own.id)) == 0)
        case "command user": shard.perform([.disconnect(.user(ann), .forceDisconnect)])
        case "command client": shard.perform([.disconnect(.client(own.id), .forceDisconnect)])
        default: shard.perform([.disconnect(.user(try #require(UserID("bob"))), .forceDisconnect)])
        }
        harness.turn()
        try client.send(#"{"type":"broadcast","data":{"room":"log:a","type":"t"}}"#)
        let isHeard = way == "another"
        #expect(Self.ordered(harness).count == (isHeard ? 1 : 0) && Self.dropped(harness) == (isHeard ? 0 : 1))
        #expect(shard.lateClients.isEmpty != isHeard)
        try client.sendFrame(0x88, [3, 233])
        #expect(shard.lateClients.isEmpty && !client.channel.isActive)
    }

    @Test(arguments: ["user", "client", "handle"])
    func aKickTakesTheRoom(way: String) throws {
        let harness = try Self.harness()
        let shard = harness.shards[0]
        let client = try harness.connect(user: "ann")
        let other = try harness.connect(user: "bob")
        for room in ["closed:x", "closed:y"] {
            for one in [client, other] { try one.send(#"{"type":"join_room","data":{"room":"\#(room)"}}"#) }
        }
        for one in [client, other] { _ = try one.frames() }
        let own = try #require(shard.clients.clients.compactMap(\.self).first)
        try Self.sendAway(harness, client)
        _ = try other.frames()
        let room = try #require(RoomName("closed:x"))
        switch way {
        case "user": #expect(shard.kick(.user(try #require(UserID("ann"))), from: room) == 0)
        case "client": #expect(shard.kick(.client(own.id), from: room) == 0)
        default: #expect(!shard.leaveRoom(room, client: own.id))
        }
        for room in ["closed:x", "closed:y"] {
            try client.send(#"{"type":"broadcast","data":{"room":"\#(room)","type":"t"}}"#)
        }
        #expect(try other.events().map(\.text) == [#"{"type":"t","data":null,"room":"closed:y"}"#])
        #expect(Self.dropped(harness) == 1)
    }

    /// The sweep that cuts the connection comes later.
    @Test func itIsNotPublishedWhenTheTimeIsOver() throws {
        let harness = try Self.harness()
        func pass(_ time: TimeAmount) {
            for loop in harness.loops { loop.advanceTime(by: time) }
            harness.turn()
        }
        let client = try harness.connect()
        pass(.milliseconds(50))
        try Self.sendAway(harness, client)
        pass(.milliseconds(1_990))
        try client.send(#"{"type":"broadcast","data":{"room":"log:a","type":"t"}}"#)
        #expect(Self.ordered(harness).count == 1)
        pass(.milliseconds(20))
        #expect(client.channel.isActive)
        try client.send(#"{"type":"broadcast","data":{"room":"log:a","type":"t"}}"#)
        #expect(Self.ordered(harness).count == 1 && Self.dropped(harness) == 1)
    }

    /// A client may obey at once, before the close frame that waits for its answers.
    @Test func whoGoesWhenToldIsExpectedElsewhere() throws {
        let harness = try Self.harness()
        let client = try harness.connect(user: "ann", subprotocol: "conduit.v1.json")
        try client.send(#"{"type":"join_room","data":{"room":"hall"}}"#)
        try client.send(#"{"type":"broadcast","id":1,"data":{"room":"log:a","type":"t"}}"#)
        _ = harness.shards[0].shed(
            ShedOrder(perSecond: 1_000_000, reason: .drain, delay: .zero, deadline: .uptimeNanoseconds(0)))
        harness.turn()
        let events = try client.events()
        #expect(events.last?.text.contains("reconnect") == true && client.channel.isActive)
        try client.sendFrame(0x88, [3, 233])
        let gone = harness.relay.all.compactMap { event -> Bool? in
            switch event {
            case .sentAway: true
            case .left: false
            default: nil
            }
        }
        #expect(gone == [true])
    }
}
