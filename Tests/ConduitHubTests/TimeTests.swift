import ConduitCore
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// Heartbeats and deadlines, by the embedded loops' own time.
@Suite struct TimeTests {
    private func advance(_ harness: ShardHarness, milliseconds: Int64) {
        // In steps, as time passes: each timer schedules the next one.
        for _ in 0..<(milliseconds / 100) {
            for loop in harness.loops { loop.advanceTime(by: .milliseconds(100)) }
        }
        harness.turn()
    }

    @Test func everyClientIsPingedWithinTheInterval() throws {
        let harness = try ShardHarness()
        let clients = try (0..<25).map { _ in try harness.connect() }
        advance(harness, milliseconds: 31_500)
        for client in clients {
            #expect(try client.frames().contains { $0.pingPayload != nil })
        }
    }

    @Test func aSilentClientIsClosedAfterTheTimeoutAndItsRoomsToo() throws {
        let harness = try ShardHarness()
        let (silent, alive) = (try harness.connect(), try harness.connect())
        try silent.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        for _ in 0..<6 {
            advance(harness, milliseconds: 10_500)
            try alive.sendFrame(0x8A)
        }
        #expect(try silent.closeCode == 3012)
        #expect(harness.roomEvents.last == "left x disconnected")
        advance(harness, milliseconds: 3_500)
        #expect(!silent.channel.isActive)
        #expect(alive.channel.isActive)
        #expect(harness.shards[0].snapshot().statistics.closed[3012] == 1)
    }

    @Test func anyMessageIsASignOfLife() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        for _ in 0..<10 {
            advance(harness, milliseconds: 10_000)
            try client.send(#"{"type":"pong"}"#)
        }
        #expect(client.channel.isActive)
        #expect(try client.closeCode == nil)
    }

    @Test func anUnfinishedMessageHasADeadline() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        var frame = TestClient.frame(0x81, Array(#"{"type":"ping"}"#.utf8))
        let start = frame.readSlice(length: 10) ?? ByteBuffer()
        try client.channel.writeInbound(start)
        advance(harness, milliseconds: 25_000)
        #expect(try client.closeCode == nil)
        advance(harness, milliseconds: 7_000)
        #expect(try client.closeCode == 3501)
    }

    @Test func fragmentsThatTrickleInHaveTheDeadlineOfTheirMessage() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        try client.sendFrame(0x01, Array(#"{"type":"echo","data":""#.utf8))
        for _ in 0..<5 {
            advance(harness, milliseconds: 5_000)
            try client.sendFrame(0x00, [UInt8(ascii: "x")])
            try client.sendFrame(0x89)
        }
        #expect(try client.closeCode == nil)
        advance(harness, milliseconds: 7_000)
        #expect(try client.closeCode == 3501)
    }

    @Test func aSocketThatTakesNothingHasADeadline() throws {
        let harness = try ShardHarness()
        let (stuck, other) = (try harness.connect(), try harness.connect())
        stuck.channel.isWritable = false
        stuck.channel.pipeline.fireChannelWritabilityChanged()
        advance(harness, milliseconds: 9_000)
        #expect(stuck.channel.isActive)
        advance(harness, milliseconds: 5_000)
        #expect(try stuck.closeCode == 3008)
        #expect(other.channel.isActive)
        #expect(try other.closeCode == nil)
        advance(harness, milliseconds: 3_500)
        #expect(!stuck.channel.isActive)
        #expect(harness.shards[0].snapshot().statistics.closed[3008] == 1)
    }

    @Test func aSocketThatTakesSomethingAgainHasNoDeadline() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        for _ in 0..<4 {
            client.channel.isWritable = false
            advance(harness, milliseconds: 6_000)
            client.channel.isWritable = true
            client.channel.pipeline.fireChannelWritabilityChanged()
            try client.sendFrame(0x8A)
        }
        #expect(client.channel.isActive)
        #expect(harness.shards[0].snapshot().statistics.closed.isEmpty)
    }

    @Test func aPeerThatNeverAnswersTheCloseIsCutOff() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        try client.sendFrame(0x82, [1])
        #expect(client.channel.isActive)
        advance(harness, milliseconds: 4_000)
        #expect(!client.channel.isActive)
        #expect(harness.shards[0].snapshot().statistics.clients == 0)
    }
}
