import Conduit
import ConduitTesting
import NIOCore
import Testing

/// What one client may say, over real sockets.
@Suite(.timeLimit(.minutes(5)))
struct RateLimitTests {
    private func configuration(_ change: (inout HubConfiguration) -> Void) -> NodeConfiguration {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        change(&configuration.hub)
        return configuration
    }

    @Test func refusedThenTakenAgain() async throws {
        let configuration = configuration {
            $0.messagesPerSecond = 1
            $0.messagesBurst = 10
        }
        try await TestNode.with(configuration) { node in
            let client = try await node.connect()
            for id in 0..<60 { client.sendWithoutWaiting(#"{"type":"ping","id":\#(id)}"#) }
            var refused: [TestEvent] = []
            for id in 0..<60 {
                let event = try await client.next(id: "\(id)")
                if event.type == "error" { refused.append(event) }
            }
            let first = try #require(refused.first)
            #expect(first.string("code") == "rate_limited" && first.string("request_type") == "ping")
            #expect(try #require(first.int("retry_after_ms")) > 0)
            #expect(await node.hub.statistics().errors["rate_limited"] == UInt64(refused.count))
            // Time passes and it may speak again.
            try await eventually(poll: .seconds(1)) { try await client.request("ping").type == "pong" }
            try await client.close()
        }
    }

    @Test func whoNeverListensIsClosed() async throws {
        let configuration = configuration {
            $0.bytesPerSecond = 100
            $0.rateStrikes = 30
        }
        try await TestNode.with(configuration) { node in
            let client = try await node.connect()
            for id in 0..<2_000 { client.sendWithoutWaiting(#"{"type":"echo","data":"some bytes","id":\#(id)}"#) }
            #expect(try await client.waitForCloseCode() == 3013)
            try await client.waitUntilGone()
            try await eventually { await node.hub.statistics().closed[3013] == 1 }
        }
    }

    @Test func aFloodOfPingsIsLimited() async throws {
        let configuration = configuration {
            $0.messagesPerSecond = 10
            $0.rateStrikes = 50
        }
        try await TestNode.with(configuration) { node in
            let (flooder, other) = (try await node.connect(), try await node.connect())
            var flood = ByteBuffer()
            // Masked with zeros.
            for _ in 0..<5_000 { flood.writeBytes([0x89, 0x80, 0, 0, 0, 0]) }
            try await flooder.sendBytes(flood)
            #expect(try await flooder.waitForCloseCode() == 3013)
            let pongs = flooder.waitingMessages.filter { if case .pong = $0 { true } else { false } }
            #expect(pongs.count >= 10 && pongs.count < 5_000 - 50)
            #expect(try await other.request("ping").type == "pong")
            try await other.close()
        }
    }

    /// The shard reads from sockets itself while it is flooded: the limit is the same.
    @Test func theLimitHoldsWhileTheShardPolls() async throws {
        let configuration = configuration {
            $0.messagesPerSecond = 1
            $0.messagesBurst = 5
            $0.rateStrikes = 0
        }
        try await TestNode.with(configuration) { node in
            var clients: [TestWebSocket] = []
            for _ in 0..<60 { clients.append(try await node.connect()) }
            var (rounds, refused) = (0, 0)
            // Until it has polled, and for a while behind that.
            var rest = 30
            while rest > 0 {
                try #require(rounds < 10_000, "the shard never polled")
                if await node.hub.statistics().polledReads > 100 { rest -= 1 }
                for client in clients { client.sendWithoutWaiting(#"{"type":"ping","id":\#(rounds)}"#) }
                for client in clients {
                    let answer = try await client.next(id: "\(rounds)")
                    if answer.type == "error" { refused += 1 }
                }
                rounds += 1
            }
            let statistics = await node.hub.statistics()
            #expect(statistics.messagesIn == UInt64(60 * rounds))
            #expect(statistics.errors["rate_limited"] == UInt64(refused))
            #expect(refused > 0)
            for client in clients { await client.drop() }
        }
    }
}
