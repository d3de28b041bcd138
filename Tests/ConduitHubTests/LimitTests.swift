import ConduitCore
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// What one client may say, by the embedded loops' own time.
@Suite struct LimitTests {
    private func harness(_ change: (inout HubConfiguration) -> Void) throws -> ShardHarness {
        var configuration = HubConfiguration()
        change(&configuration)
        return try ShardHarness(configuration: configuration)
    }

    private func ping(_ id: Int) -> String { #"{"type":"ping","id":\#(id)}"# }

    @Test func withoutLimitsThereIsNoMeter() throws {
        let harness = try harness { _ in }
        _ = try harness.connect()
        #expect(harness.shards[0].clients[Int32(0)]?.meter == nil)
    }

    @Test func aMessageOverTheRateIsRefusedAndALaterOneTaken() throws {
        let harness = try harness {
            $0.messagesPerSecond = 2
            $0.messagesBurst = 3
        }
        let client = try harness.connect()
        for id in 0..<5 { try client.send(ping(id)) }
        let events = try client.events()
        #expect(events.map(\.type) == ["pong", "pong", "pong", "error", "error"])
        for (place, event) in events.enumerated() { #expect(event.object["id"] as? Int == place) }
        #expect(events[3].code == "rate_limited" && events[3].data["request_type"] as? String == "ping")
        #expect(events[3].data["retry_after_ms"] as? Int == 500)
        harness.loops[0].advanceTime(by: .milliseconds(499))
        try client.send(ping(5))
        harness.loops[0].advanceTime(by: .milliseconds(1))
        try client.send(ping(6))
        #expect(try client.events().map(\.type) == ["error", "pong"])
        #expect(harness.shards[0].snapshot().statistics.errors["rate_limited"] == 3)
    }

    @Test func bytesAreLimitedByThemselves() throws {
        let harness = try harness { $0.bytesPerSecond = 1_000 }
        let client = try harness.connect()
        let large = #"{"type":"echo","data":"\#(String(repeating: "x", count: 900))"}"#
        try client.send(large)
        try client.send(large)
        try client.send(ping(1))
        let events = try client.events()
        #expect(events.map(\.type) == ["echo", "error", "pong"])
        let wait = try #require(events[1].data["retry_after_ms"] as? Int)
        harness.loops[0].advanceTime(by: .milliseconds(Int64(wait) + 100))
        try client.send(large)
        #expect(try client.events().map(\.type) == ["echo"])
    }

    @Test func fragmentsAndWhatIsNotJSONCountToo() throws {
        let harness = try harness { $0.messagesPerSecond = 1 }
        let client = try harness.connect()
        try client.send("not JSON")
        try client.sendFrame(0x01, Array(#"{"type":"#.utf8))
        try client.sendFrame(0x80, Array(#""ping"}"#.utf8))
        #expect(try client.events().map(\.code) == ["bad_request", "rate_limited"])
    }

    @Test func whoGoesOnIsClosedWith3013() throws {
        let harness = try harness {
            $0.messagesPerSecond = 1
            $0.rateStrikes = 20
        }
        let client = try harness.connect()
        for id in 0..<30 { try client.queue(ping(id)) }
        harness.turn()
        let frames = try client.frames()
        let texts = frames.filter { if case .text = $0 { true } else { false } }
        // One was taken, twenty were refused, the next refusal was the last.
        #expect(texts.count == 22)
        guard case .close(let code, _)? = frames.last else {
            Issue.record("no close frame")
            return
        }
        #expect(code == 3013)
        #expect(harness.shards[0].snapshot().statistics.errors["rate_limited"] == 21)
    }

    @Test func whoIsNowAndThenTooFastIsForgiven() throws {
        let harness = try harness {
            $0.messagesPerSecond = 10
            $0.rateStrikes = 20
        }
        let client = try harness.connect()
        for _ in 0..<50 {
            for id in 0..<12 { try client.send(ping(id)) }
            harness.loops[0].advanceTime(by: .milliseconds(1_000))
        }
        let frames = try client.frames()
        #expect(!frames.contains { if case .close = $0 { true } else { false } })
        #expect(harness.shards[0].snapshot().statistics.errors["rate_limited"] == 100)
    }

    @Test func controlFramesCount() throws {
        let harness = try harness {
            $0.messagesPerSecond = 5
            $0.rateStrikes = 10
        }
        let client = try harness.connect()
        for _ in 0..<10 { try client.sendFrame(0x89, [1]) }
        let frames = try client.frames()
        #expect(frames.prefix(5).allSatisfy { if case .pong = $0 { true } else { false } })
        #expect(frames.dropFirst(5).count == 5)
        #expect(frames.dropFirst(5).allSatisfy { if case .text = $0 { true } else { false } })
        // What nobody asked for counts too.
        for _ in 0..<6 { try client.sendFrame(0x8A) }
        #expect(try client.closeCode == 3013)
    }

    @Test func theAnswerToAPingOfTheServerIsFree() throws {
        let harness = try harness {
            $0.messagesPerSecond = 1
            $0.rateStrikes = 1
        }
        let client = try harness.connect()
        for _ in 0..<310 { harness.loops[0].advanceTime(by: .milliseconds(100)) }
        harness.turn()
        let pings = try client.frames().compactMap(\.pingPayload)
        #expect(pings.count == 1)
        try client.send(ping(1))
        try client.sendFrame(0x8A, try #require(pings.first))
        #expect(try client.events().map(\.type) == ["pong"])
        try client.sendFrame(0x8A)
        #expect(try client.events().map(\.code) == ["rate_limited"])
    }

    @Test func roomNamesMayBeShorter() throws {
        let harness = try harness { $0.roomNameBytes = 8 }
        let client = try harness.connect()
        for (name, code) in [
            ("12345678", ""), ("123456789", "limit_exceeded"), ("éééé", ""), ("ééééé", "limit_exceeded"),
        ] {
            try client.send(#"{"type":"join_room","data":{"room":"\#(name)"}}"#)
            #expect(try client.events().map(\.code) == [code])
            try client.send(#"{"type":"broadcast","data":{"room":"\#(name)","type":"t","exclude_self":true},"id":1}"#)
            #expect(try client.events().map(\.code) == [code])
            try client.send(#"{"type":"presence","data":{"room":"\#(name)"}}"#)
            #expect(try client.events().map(\.code) == (code.isEmpty ? [] : [code]))
            harness.shards[0].clients[Int32(0)]?.asksPresence = false
        }
    }

    @Test func depthMayBeLess() throws {
        let harness = try harness { $0.jsonDepth = 4 }
        let client = try harness.connect()
        try client.send(#"{"type":"echo","data":[[[]]]}"#)
        try client.send(#"{"type":"echo","data":[[[[]]]]}"#)
        let events = try client.events()
        #expect(events.map(\.type) == ["echo", "error"])
        #expect(events[1].code == "bad_request")
        #expect((events[1].data["message"] as? String)?.hasPrefix("nested too deeply") == true)
    }

    @Test func namesOfUsersAndClientsHaveBounds() throws {
        let harness = try harness { _ in }
        let client = try harness.connect()
        let long = String(repeating: "u", count: 256)
        try client.send(#"{"type":"send","data":{"user":"\#(long)","type":"t"}}"#)
        try client.send(#"{"type":"send","data":{"client":"n.\#(long)","type":"t"}}"#)
        #expect(try client.events().map(\.code) == ["bad_request", "bad_request"])
    }
}
