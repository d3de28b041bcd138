import ConduitCore
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// When a client is not read from, and that it loses nothing by it.
@Suite struct ReadingTests {
    private func requests(_ count: Int) -> ByteBuffer {
        var all = ByteBuffer()
        for n in 0..<count {
            all.writeImmutableBuffer(TestClient.frame(0x81, Array(#"{"type":"status","id":\#(n)}"#.utf8)))
        }
        return all
    }

    @Test func aFloodOfRequestsIsAnsweredInBoundedPortionsAndInOrder() throws {
        var configuration = HubConfiguration()
        configuration.pendingBytes = 16 * 1024
        let harness = try ShardHarness(configuration: configuration)
        let client = try harness.connect()
        try client.channel.writeInbound(requests(500))
        var largest = 0
        var ids: [Int] = []
        for _ in 0..<400 {
            harness.loops[0].run()
            while let bytes = try client.channel.readOutbound(as: ByteBuffer.self) {
                largest = max(largest, bytes.readableBytes)
                var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20, role: .client)
                var rest = bytes
                while let event = try parser.next(from: &rest) {
                    guard case .text(let text) = event else { continue }
                    ids.append(try #require(try Envelope(text).object["id"] as? Int))
                }
            }
        }
        #expect(ids == Array(0..<500))
        #expect(largest < 10 * 1024)
    }

    @Test func aClientWhoseSocketIsFullIsNotReadFrom() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        client.channel.isWritable = false
        try client.send(#"{"type":"ping","id":1}"#)
        try client.send(#"{"type":"ping","id":2}"#)
        #expect(try client.events().map { $0.object["id"] as? Int } == [1])
        client.channel.isWritable = true
        client.channel.pipeline.fireChannelWritabilityChanged()
        harness.turn()
        #expect(try client.events().map { $0.object["id"] as? Int } == [2])
    }

    @Test func whoSendsOneMessageAfterTheOtherIsNeverTooSlow() throws {
        var configuration = HubConfiguration()
        configuration.readTimeoutMilliseconds = 1_000
        let harness = try ShardHarness(configuration: configuration)
        let client = try harness.connect()
        let frame = TestClient.frame(0x81, Array(#"{"type":"pong"}"#.utf8))
        var stream = ByteBuffer()
        for _ in 0..<60 { stream.writeImmutableBuffer(frame) }
        // Every read ends inside a frame.
        _ = try client.channel.writeInbound(stream.readSlice(length: 5) ?? ByteBuffer())
        for _ in 0..<50 {
            for _ in 0..<2 { harness.loops[0].advanceTime(by: .milliseconds(100)) }
            let next = stream.readSlice(length: frame.readableBytes) ?? ByteBuffer()
            try client.channel.writeInbound(next)
            harness.turn()
        }
        #expect(try client.frames().isEmpty)
        #expect(client.channel.isActive)
    }

    @Test func onePresenceRequestAtATime() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        let ask = #"{"type":"presence","data":{"room":"x"},"id":1}"#
        try client.send(ask)
        #expect(try client.events().isEmpty)
        try client.send(ask)
        #expect(try client.events().map(\.code) == ["rate_limited"])
        let id = try #require(harness.shards[0].ids.first)
        harness.shards[0].perform([.presenceReply(id, ServerText.message("presence"))])
        harness.turn()
        _ = try client.events()
        try client.send(ask)
        #expect(try client.events().isEmpty)
    }

    // MARK: Joins that wait for the other nodes

    @Test func theFirstJoinIsAnsweredWhenTheRoomIsLiveAndWhatFollowsWaitsBehindIt() throws {
        let harness = try ShardHarness()
        harness.relay.confirmsRooms = true
        let (first, second) = (try harness.connect(), try harness.connect())
        try first.queue(#"{"type":"join_room","data":{"room":"x"},"id":1}"#)
        try first.queue(#"{"type":"ping","id":2}"#)
        harness.turn()
        try second.send(#"{"type":"join_room","data":{"room":"x"},"id":3}"#)
        #expect(try first.events().isEmpty)
        #expect(try second.events().isEmpty)
        harness.shards[0].perform([.roomLive(try #require(RoomName("x")))])
        harness.turn()
        #expect(try first.events().map(\.type) == ["room_joined", "pong"])
        #expect(try second.events().map(\.type) == ["room_joined"])
        let third = try harness.connect()
        try third.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        #expect(try third.events().map(\.type) == ["room_joined"])
        try first.send(#"{"type":"ping"}"#)
        #expect(try first.events().map(\.type) == ["pong"])
    }

    @Test func aConfirmationThatNeverComesIsWaitedForASecond() throws {
        let harness = try ShardHarness()
        harness.relay.confirmsRooms = true
        let client = try harness.connect()
        try client.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        for _ in 0..<9 { harness.loops[0].advanceTime(by: .milliseconds(100)) }
        #expect(try client.events().isEmpty)
        for _ in 0..<3 { harness.loops[0].advanceTime(by: .milliseconds(100)) }
        harness.turn()
        #expect(try client.events().map(\.type) == ["room_joined"])
    }

    @Test func whoIsTakenOutWhileItWaitsIsReadFromAgain() throws {
        let harness = try ShardHarness()
        harness.relay.confirmsRooms = true
        let (first, second) = (try harness.connect(), try harness.connect())
        let room = try #require(RoomName("x"))
        try first.send(#"{"type":"join_room","data":{"room":"x"},"id":1}"#)
        #expect(harness.shards[0].deleteRoom(room))
        try second.send(#"{"type":"join_room","data":{"room":"x"},"id":2}"#)
        harness.shards[0].perform([.roomLive(room)])
        harness.turn()
        _ = try first.events()
        #expect(try second.events().map(\.type) == ["room_joined"])
        try first.send(#"{"type":"ping"}"#)
        #expect(try first.events().map(\.type) == ["pong"])
    }

    @Test func whoLeavesWhileItWaitsIsForgotten() throws {
        let harness = try ShardHarness()
        harness.relay.confirmsRooms = true
        let client = try harness.connect()
        try client.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        _ = try client.channel.finish(acceptAlreadyClosed: true)
        harness.turn()
        harness.shards[0].perform([.roomLive(try #require(RoomName("x")))])
        harness.turn()
        #expect(harness.roomEvents.last == "left x disconnected")
        #expect(harness.shards[0].awaitedRooms.isEmpty)
    }
}
