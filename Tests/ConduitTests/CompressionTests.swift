import Conduit
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

/// Whole nodes whose clients take messages compressed, or don't.
@Suite struct CompressionTests {
    /// As Chromium and Firefox offer it.
    static let browser = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
    static let smallWindow = [("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=9")]

    static func configuration(redis url: String? = nil) throws -> NodeConfiguration {
        var configuration = try TestNode.configuration(redis: url)
        configuration.hub.compression = CompressionConfiguration()
        return configuration
    }

    static func connect(_ node: TestNode, _ headers: [(String, String)] = []) async throws -> TestWebSocket {
        try await TestWebSocket.connect(port: node.node.httpPort, headers: headers)
    }

    /// JSON of a few thousand bytes that compresses.
    static func payload(_ number: Int) -> String {
        "[\(number)," + (0..<200).map { "{\"value\":\($0 * number % 977)}" }.joined(separator: ",") + "]"
    }

    static func broadcast(_ number: Int, large: Bool) -> String {
        let payload = large ? payload(number) : "[\(number)]"
        return #"{"type":"broadcast","data":{"room":"r","type":"news","payload":\#(payload)}}"#
    }

    @Test func plainAndCompressedMembersGetTheSameInTheSameOrder() async throws {
        try await TestNode.with(try Self.configuration()) { node in
            var members: [TestWebSocket] = []
            for index in 0..<12 {
                let headers = [[], Self.browser, Self.smallWindow][index % 3]
                let member = try await Self.connect(node, headers)
                #expect((member.extensions == nil) == headers.isEmpty)
                _ = try await member.request("join_room", #"{"room":"r"}"#)
                members.append(member)
            }
            let count = 60
            // In bursts, so that messages share a turn; large and small ones, answers between them.
            for number in 0..<count {
                members[0].sendWithoutWaiting(Self.broadcast(number, large: number % 3 != 0))
                if number % 7 == 0 { members[1].sendWithoutWaiting(#"{"type":"ping","data":\#(number)}"#) }
            }
            var first: [String] = []
            for (index, member) in members.enumerated() {
                var texts: [String] = []
                for _ in 0..<count { texts.append(try await member.next(type: "news").text) }
                if index == 0 { first = texts }
                #expect(texts == first, "member \(index)")
                #expect(member.deflatedMessages == (index % 3 == 0 ? 0 : count - count / 3))
            }
            #expect(first.count == count)
            for member in members { await member.drop() }
        }
    }

    @Test func aBroadcastIsCompressedOnceForAll() async throws {
        var configuration = try Self.configuration()
        configuration.eventLoops = 1
        try await TestNode.with(configuration) { node in
            var members: [TestWebSocket] = []
            for _ in 0..<20 {
                let member = try await Self.connect(node, Self.browser)
                _ = try await member.request("join_room", #"{"room":"r"}"#)
                members.append(member)
            }
            let large = try RawJSON(Self.payload(7))
            try node.hub.broadcast("news", large, to: RoomName("r"))
            for member in members { _ = try await member.next(type: "news") }
            try node.hub.broadcastToAll("all", large)
            for member in members { _ = try await member.next(type: "all") }
            let statistics = await node.hub.statistics()
            #expect(statistics.deflated == 2)
            #expect(statistics.deflatedFrom > 3 * statistics.deflatedTo)
            #expect(members.allSatisfy { $0.deflatedMessages == 2 })
            for member in members { await member.drop() }
        }
    }

    @Test func nobodyPaysWhoDoesNotTakeIt() async throws {
        try await TestNode.with(try Self.configuration()) { node in
            let member = try await Self.connect(node)
            _ = try await member.request("join_room", #"{"room":"r"}"#)
            try await member.send(Self.broadcast(3, large: true))
            _ = try await member.next(type: "news")
            #expect(await node.hub.statistics().deflated == 0)
            await member.drop()
        }
        // And where it is off, nobody takes it.
        try await TestNode.with { node in
            let member = try await Self.connect(node, Self.browser)
            #expect(member.extensions == nil)
            await member.drop()
        }
    }

    @Test func compressedRequestsAreUnderstood() async throws {
        try await TestNode.with(try Self.configuration()) { node in
            let (one, other) = (try await Self.connect(node, Self.browser), try await Self.connect(node))
            for member in [one, other] { _ = try await member.request("join_room", #"{"room":"r"}"#) }
            for number in 0..<5 { try await one.sendDeflated(Self.broadcast(number, large: true)) }
            for number in 0..<5 {
                #expect(try await other.next(type: "news").text.contains("[\(number),{"))
                #expect(try await one.next(type: "news").text.contains("[\(number),{"))
            }
            #expect(one.deflatedMessages == 5)
            let statistics = await node.hub.statistics()
            #expect(statistics.inflated == 5)
            #expect(statistics.inflatedTo > statistics.inflatedFrom)
            for member in [one, other] { await member.drop() }
        }
    }

    @Test func aBombIsRefusedAndOthersDoNotNotice() async throws {
        var configuration = try Self.configuration()
        configuration.hub.messageBytes = 8 << 20
        configuration.hub.pendingBytes = 16 << 20
        configuration.eventLoops = 1
        try await TestNode.with(configuration) { node in
            let neighbour = try await Self.connect(node, Self.browser)
            let bomb = MaskedFrame.deflated(ByteBuffer(repeating: 0x20, count: 8 << 20), level: 9)
            for (payload, code) in [
                (bomb, 1009), (ByteBuffer(bytes: [0x07]), 1007),
                (MaskedFrame.deflated(ByteBuffer(repeating: 0xC0, count: 400)), 1007),
            ] {
                let attacker = try await Self.connect(node, Self.browser)
                try await attacker.sendBytes(MaskedFrame.encode(.text, payload, isDeflated: true))
                #expect(try await attacker.waitForCloseCode() == UInt16(code))
                await attacker.drop()
            }
            #expect(try await neighbour.request("ping", "1").type == "pong")
            let refused = await node.hub.statistics().inflationRefused
            #expect(refused == ["bytes": 0, "ratio": 1, "data": 1, "text": 1])
            await neighbour.drop()
        }
    }

    @Test func compressionWorksAcrossNodes() async throws {
        let redis = try await RedisServer.start()
        let one = try await TestNode.start(try Self.configuration(redis: redis.url))
        let other = try await TestNode.start(try Self.configuration(redis: redis.url))
        var members: [TestWebSocket] = []
        for index in 0..<8 {
            let member = try await Self.connect(index < 4 ? one : other, index % 2 == 0 ? Self.browser : [])
            _ = try await member.request("join_room", #"{"room":"r"}"#)
            members.append(member)
        }
        try await members[0].send(Self.broadcast(5, large: true))
        var texts: Set<String> = []
        for member in members { texts.insert(try await member.next(type: "news").text) }
        #expect(texts.count == 1)
        for (index, member) in members.enumerated() {
            #expect(member.deflatedMessages == (index % 2 == 0 ? 1 : 0))
            await member.drop()
        }
        await one.node.shutdown()
        await other.node.shutdown()
        try await redis.stop()
    }
}
