import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// What is counted for those who look at a node.
@Suite struct FigureTests {
    private func configuration() -> HubConfiguration {
        var configuration = HubConfiguration()
        var ordered = RoomPolicy()
        ordered.mode = .ordered
        configuration.rooms = RoomPolicies(namespaces: ["chat": RoomPolicy(), "log": ordered])
        return configuration
    }

    private func join(_ client: TestClient, _ room: String) throws {
        try client.send(#"{"type":"join_room","data":{"room":"\#(room)"}}"#)
    }

    private func say(_ client: TestClient, _ room: String, excludeSelf: Bool = false) throws {
        try client.send(
            #"{"type":"broadcast","data":{"room":"\#(room)","type":"t","payload":1,"exclude_self":\#(excludeSelf)}}"#)
    }

    private func advance(_ harness: ShardHarness, milliseconds: Int64) {
        for _ in 0..<(milliseconds / 100) {
            for loop in harness.loops { loop.advanceTime(by: .milliseconds(100)) }
        }
        harness.turn()
    }

    @Test func messagesAreCountedByNamespaceOnceAndByMember() throws {
        let harness = try ShardHarness(shards: 2, configuration: configuration())
        let (ann, bob) = (try harness.connect(), try harness.connect())
        let far = try harness.connect(shard: 1)
        for client in [ann, bob, far] { try join(client, "chat:1") }
        try join(ann, "lobby")
        try say(ann, "chat:1")
        try say(ann, "chat:1", excludeSelf: true)
        try say(far, "chat:1")
        try say(ann, "lobby")
        // A room that nobody is in, and one whose order the log makes.
        try say(ann, "nowhere:1")
        try say(ann, "log:1")
        var sum = HubStatistics()
        for shard in harness.shards { sum.merge(shard.snapshot().statistics) }
        #expect(sum.namespaces.keys.sorted() == ["_other", "chat", "log", "none"])
        let chat = try #require(sum.namespaces["chat"])
        #expect(chat.published == 3 && chat.deliveries == 8, "\(chat)")
        #expect(chat.members == 3)
        #expect(sum.namespaces["none"]?.published == 1 && sum.namespaces["none"]?.deliveries == 1)
        #expect(sum.namespaces["_other"]?.published == 1 && sum.namespaces["_other"]?.deliveries == 0)
        #expect(sum.namespaces["log"]?.published == 1 && sum.namespaces["log"]?.deliveries == 0)
        // What another node has published is delivered here, and not published.
        harness.shards[0].perform([
            .room(try #require(RoomName("chat:1")), ServerMessage(json: ByteBuffer(string: "{}")))
        ])
        harness.turn()
        let first = harness.shards[0].snapshot().statistics
        #expect(first.namespaces["chat"]?.published == 2 && first.namespaces["chat"]?.deliveries == 7)
    }

    @Test func whoIsNoMemberIsNotTakenOffTheDeliveries() throws {
        let harness = try ShardHarness(configuration: configuration())
        let (member, other) = (try harness.connect(), try harness.connect())
        try join(member, "chat:1")
        try say(other, "chat:1", excludeSelf: true)
        try say(member, "chat:1", excludeSelf: true)
        #expect(harness.shards[0].snapshot().statistics.namespaces["chat"]?.deliveries == 1)
    }

    @Test func theBusiestRoomsAreThoseOfTheLastSeconds() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        try join(client, "calm")
        try join(client, "loud")
        for _ in 0..<50 { try say(client, "loud") }
        try say(client, "calm")
        #expect(harness.shards[0].snapshot().statistics.busiest.isEmpty)
        advance(harness, milliseconds: 5_200)
        let busiest = harness.shards[0].snapshot().statistics.busiest
        #expect(busiest.map(\.room.rawValue) == ["loud", "calm"])
        #expect((9...10.1).contains(busiest[0].perSecond), "\(busiest)")
        advance(harness, milliseconds: 5_200)
        #expect(harness.shards[0].snapshot().statistics.busiest.isEmpty)
    }

    @Test func aPingIsMeasuredToItsOwnPong() throws {
        let harness = try ShardHarness()
        let (quick, late) = (try harness.connect(), try harness.connect())
        // Nobody asked for this one.
        try quick.sendFrame(0x8A)
        #expect(harness.shards[0].snapshot().statistics.pingRoundTrip.count == 0)
        var answered = false
        for _ in 0..<700 where !answered {
            for loop in harness.loops { loop.advanceTime(by: .milliseconds(100)) }
            if let number = try quick.frames().compactMap(\.pingPayload).first {
                #expect(number.count == 4)
                harness.loops[0].advanceTime(by: .milliseconds(3))
                // What doesn't carry the ping's number isn't its answer.
                try quick.sendFrame(0x8A)
                try quick.sendFrame(0x8A, [1, 2, 3, 4])
                #expect(harness.shards[0].snapshot().statistics.pingRoundTrip.count == 0)
                try quick.sendFrame(0x8A, number)
                // The second answers nothing.
                try quick.sendFrame(0x8A, number)
                answered = true
            }
        }
        #expect(answered)
        let figures = harness.shards[0].snapshot().statistics.pingRoundTrip
        #expect(figures.count == 1)
        #expect((3_000...3_030).contains(figures.percentile(100)), "\(figures.percentile(100))")
        _ = late
    }

    @Test func aSilentClientsSecondPingDoesNotShortenTheFirst() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        for _ in 0..<8 {
            advance(harness, milliseconds: 10_000)
            // Alive, but no pong.
            try client.send(#"{"type":"ping"}"#)
        }
        let numbers = try client.frames().compactMap(\.pingPayload)
        #expect(numbers.count > 1 && Set(numbers).count == 1)
        try client.sendFrame(0x8A, try #require(numbers.last))
        let figures = harness.shards[0].snapshot().statistics.pingRoundTrip
        #expect(figures.count == 1)
        #expect(figures.percentile(100) > 40_000_000, "\(figures.percentile(100))")
    }
}

extension WebSocketFrameParser.Event {
    /// What a ping carries, where this is one.
    var pingPayload: [UInt8]? { if case .ping(let payload) = self { Array(payload.readableBytesView) } else { nil } }
}
