import Conduit
import ConduitCluster
import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

/// Whoever can publish on a cluster's Redis may send a node anything: it is dropped and counted by its reason, the node
/// lives, and other messages go on.
@Suite(.timeLimit(.minutes(5))) struct ForgedMessageTests {
    /// A payload as a node writes it, with `change` done to its bytes.
    private static func payload(
        _ kind: NodeEnvelope.Kind = .broadcast, origin: String = "ghost", incarnation: UInt64 = 1, sequence: UInt64 = 0,
        entries: [String] = [#"{"type":"forged"}"#], _ change: (inout [UInt8]) -> Void = { _ in }
    ) throws -> [UInt8] {
        var writer = NodeEnvelopeWriter()
        for entry in entries { writer.append(ByteBuffer(string: entry)) }
        let payload = writer.finish(
            kind: kind, origin: try #require(NodeID(origin)), incarnation: incarnation, sequence: sequence,
            startsRun: false, sentAt: 1)
        var bytes = Array(payload.readableBytesView)
        change(&bytes)
        return bytes
    }

    /// Lua makes the bytes, since a command line can't carry them; `filler` more of them behind.
    private static func publish(
        _ bytes: [UInt8], filler: Int = 0, on channel: String, _ redis: RedisServer
    ) async throws {
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let script = """
            local bytes = ARGV[2]:gsub('..', function(c) return string.char(tonumber(c, 16)) end)
            return redis.call('PUBLISH', ARGV[1], bytes .. string.rep('x', tonumber(ARGV[3])))
            """
        let answer = try await redis.redisCLI("EVAL", script, "0", channel, hex, String(filler))
        #expect(answer == "2", "both nodes were reached on \(channel)")
    }

    private static func forgeries() throws -> [(reason: String, bytes: [UInt8], filler: Int, channel: String)] {
        let room = "conduit:room:{lobby}", control = "conduit:ctl"
        let long = NodeEnvelope.maximumBytes
        return [
            ("truncated", [], 0, room), ("truncated", try payload { $0.removeLast() }, 0, room),
            ("truncated", Array(try payload().prefix(9)), 0, control),
            // Claims an entry of 4 GiB.
            (
                "truncated",
                try payload { $0.replaceSubrange($0.count - 21..<$0.count - 17, with: [255, 255, 255, 255]) }, 0, room
            ),
            ("unknown_version", try payload { $0[0] = 2 }, 0, room),
            ("unknown_version", try payload { $0[0] = 0 }, 0, control),
            ("unknown_version", try payload { $0[2] = 4 }, 0, room),
            ("unknown_version", try payload { $0[2] = 0xFF }, 0, room),
            ("unknown_kind", try payload { $0[1] = 0 }, 0, room),
            ("unknown_kind", try payload { $0[1] = 200 }, 0, control),
            ("bad_origin", try payload { $0[4] = UInt8(ascii: "*") }, 0, room),
            ("bad_origin", try payload { $0[4] = 0 }, 0, control),
            ("empty", try payload(entries: []), 0, room),
            ("oversized", try payload(), long, room), ("oversized", [1, 1, 0], long + 1, control),
            // Numbers that no node counts to, which would make every later message a duplicate.
            ("malformed", try payload(sequence: .max), 0, room),
            ("malformed", try payload(sequence: .max - 1), 0, room),
            ("bad_channel", try payload(.control, entries: ["\u{1}"]), 0, room),
            ("bad_channel", try payload(.presence, entries: ["\u{2}\u{1}ghost.g"]), 0, control),
            ("bad_channel", try payload(), 0, control),
            ("bad_entry", try payload(.presence, entries: ["\u{1}{\"client_id\":5}"]), 0, room),
            ("bad_entry", try payload(.control, entries: ["\u{4D}", ""]), 0, control),
            ("bad_entry", try payload(.broadcast, entries: [""]), 0, room),
            ("bad_entry", try payload(.probe, entries: ["12345678"]), 0, room),
            ("bad_entry", try payload(.ordered, entries: ["12345678epoch"]), 0, room),
        ]
    }

    /// Two nodes and a member of one room on each, who hear of each other.
    private static func twoMembers() async throws -> (
        redis: RedisServer, nodes: (NodeProcess, NodeProcess), members: (TestWebSocket, TestWebSocket)
    ) {
        let redis = try await RedisServer.start()
        let a = try await NodeProcess.start("a", redis: redis.url)
        let b = try await NodeProcess.start("b", redis: redis.url)
        let here = try await TestWebSocket.connect(port: a.port), there = try await TestWebSocket.connect(port: b.port)
        for socket in [here, there] { _ = try await socket.request("join_room", #"{"room":"lobby"}"#) }
        try await eventually("both listen") {
            try await redis.redisCLI("PUBSUB", "NUMSUB", "conduit:room:{lobby}").hasSuffix("2")
        }
        return (redis, (a, b), (here, there))
    }

    @Test func theyAreDroppedAndCountedAndHurtNobody() async throws {
        let (redis, (a, b), (here, there)) = try await Self.twoMembers()
        for (reason, bytes, filler, channel) in try Self.forgeries() {
            let before = try await Self.dropped(reason, a)
            try await Self.publish(bytes, filler: filler, on: channel, redis)
            try await eventually("\(reason): \(bytes.prefix(40)) on \(channel) is counted") {
                try await Self.dropped(reason, a) > before
            }
        }
        // More than Redis keeps for a subscriber: it cuts the connection, which is made again.
        try await Self.publish([1, 1, 0], filler: 40 << 20, on: "conduit:ctl", redis)
        try await eventually("both listen again") {
            let all = try await redis.redisCLI("PUBSUB", "NUMSUB", "conduit:room:{lobby}", "conduit:ctl")
            let degraded = [try await a.isDegraded(), try await b.isDegraded()]
            return all.split(whereSeparator: \.isWhitespace).filter { $0 == "2" }.count == 2
                && degraded == [false, false]
        }
        try await here.send(#"{"type":"broadcast","data":{"room":"lobby","type":"real","payload":{"n":1}}}"#)
        #expect(try await there.next(type: "real").int("n") == 1)
        try await there.send(#"{"type":"broadcast","data":{"room":"lobby","type":"real","payload":{"n":2}}}"#)
        #expect(try await here.next(type: "real").int("n") == 1, "its own")
        #expect(try await here.next(type: "real").int("n") == 2)
        #expect(a.isRunning && b.isRunning)
        #expect(try await a.get("/ready").body.contains("degraded") == false)
    }

    /// What goes by this node's own name is not believed either, nor does it silence the node.
    @Test func aForgedSelfIsNotBelieved() async throws {
        let (redis, (a, b), (here, there)) = try await Self.twoMembers()
        for sequence in [0, 1, 5] as [UInt64] {
            try await Self.publish(
                try Self.payload(origin: "a", incarnation: 7, sequence: sequence), on: "conduit:room:{lobby}", redis)
        }
        try await eventually("counted") { try await Self.dropped("foreign_incarnation", a) == 3 }
        try await here.send(#"{"type":"broadcast","data":{"room":"lobby","type":"real","payload":{"n":1}}}"#)
        #expect(try await there.next(type: "real").int("n") == 1)
        #expect(try await here.next(type: "real").int("n") == 1)
        #expect(a.isRunning && b.isRunning)
    }

    private static func dropped(_ reason: String, _ node: NodeProcess) async throws -> Int {
        let name = "conduit_relay_dropped_total{reason=\"\(reason)\"} "
        let line = try await node.administration("/metrics").body.split(separator: "\n").first { $0.hasPrefix(name) }
        return line.flatMap { Int($0.dropFirst(name.count)) } ?? 0
    }
}

extension NodeProcess {
    /// One request to the admin port.
    func administration(_ path: String, headers: [(String, String)] = []) async throws -> TestHTTPResponse {
        let socket = try await TestSocket.connect(port: adminPort)
        let fields = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
        try await socket.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\(fields)\r\n")
        let text = try await socket.waitForClose()
        guard let answer = TestHTTPResponse(text) else {
            throw Failure(description: "no HTTP answer: \(text.prefix(200))")
        }
        return answer
    }
}
