import Conduit
import ConduitTesting
import Foundation
import Logging
import NIOCore
import Synchronization
import Testing
import Tracing

/// Keeps the spans of a test.
private final class Spans: Sendable {
    private let ended = Mutex<[TracedSpan]>([])

    var tracer: LogTracer { LogTracer { span in self.ended.withLock { $0.append(span) } } }
    var all: [TracedSpan] { ended.withLock { $0 } }
    func named(_ name: String) -> [TracedSpan] { all.filter { $0.name == name } }
}

extension TracedSpan {
    fileprivate func text(_ key: String) -> String? {
        if case .string(let text)? = attributes.get(key) { text } else { nil }
    }

    fileprivate func number(_ key: String) -> Int64? {
        if case .int64(let number)? = attributes.get(key) { number } else { nil }
    }

    fileprivate var node: String? { text("conduit.node") }
}

/// One trace from a client's publication to the members on every node.
@Suite(.timeLimit(.minutes(5)))
struct TracingTests {
    private static let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let parent = "00-\(traceID)-00f067aa0ba902b7-01"

    private func node(
        _ id: String, _ redis: RedisServer?, _ spans: Spans, isTracing: Bool = true, _ settings: [String: String] = [:]
    ) async throws -> ConduitNode {
        var environment = [
            "CONDUIT_NODE_ID": id, "CONDUIT_HTTP_PORT": "0", "CONDUIT_ADMIN_ENABLED": "false",
            "CONDUIT_NODE_EVENT_LOOPS": "2", "CONDUIT_LOG_LEVEL": "error",
            "CONDUIT_TRACING_ENABLED": "\(isTracing)",
        ]
        if let redis { environment["CONDUIT_REDIS_URL"] = redis.url }
        environment.merge(settings) { $1 }
        let configuration = try NodeConfiguration.load(environment: environment)
        let node = try await ConduitNode.start(configuration: configuration, tracer: spans.tracer) { handshake in
            guard let token = handshake.token else { return .anonymous }
            return UserID(token.value).map { Identity(user: $0, mayPublishWithoutJoining: true) }
        }
        try await eventually("\(id) is ready") { node.readiness == "ready" }
        return node
    }

    private func member(_ node: ConduitNode, of room: String) async throws -> TestWebSocket {
        let socket = try await TestWebSocket.connect(port: node.httpPort)
        #expect(try await socket.request("join_room", "{\"room\":\"\(room)\"}").type == "room_joined")
        return socket
    }

    private func publication(_ room: String, _ traceparent: String? = parent) -> String {
        let trace = traceparent.map { ",\"traceparent\":\"\($0)\"" } ?? ""
        return "{\"room\":\"\(room)\",\"type\":\"note\",\"payload\":{\"n\":1}\(trace)}"
    }

    @Test func oneTraceFromPublishOverRelayToDeliver() async throws {
        let redis = try await RedisServer.start()
        let spans = Spans()
        let first = try await node("first", redis, spans)
        let second = try await node("second", redis, spans)
        let sender = try await member(first, of: "r")
        let near = try await member(first, of: "r")
        let far = try await member(second, of: "r")
        #expect(try await sender.request("broadcast", publication("r")).type == "ack")
        let event = try await far.next(type: "note")
        // Members get what they would get without a trace.
        #expect(event.int("n") == 1 && event.room == "r")
        #expect(try await near.next(type: "note").int("n") == 1)
        try await eventually("all spans have ended") {
            Set(spans.named("conduit deliver").compactMap(\.node)) == ["first", "second"]
                && spans.named("conduit relay").count == 1
        }
        let publish = try #require(spans.named("conduit publish").first)
        let relay = try #require(spans.named("conduit relay").first)
        #expect(spans.named("conduit publish").count == 1)
        #expect(spans.all.allSatisfy { $0.place.traceID == Self.traceID && $0.error == nil })
        #expect(publish.parent?.spanID == "00f067aa0ba902b7")
        #expect(publish.node == "first" && publish.text("conduit.room") == "r")
        #expect(publish.text("conduit.client")?.hasPrefix("first") == true)
        #expect(relay.parent == publish.place && relay.node == "first")
        #expect(relay.number("conduit.receivers") ?? 0 >= 1)
        for deliver in spans.named("conduit deliver") {
            #expect(deliver.parent == (deliver.node == "first" ? publish.place : relay.place))
            #expect(deliver.text("conduit.room") == "r" && deliver.number("conduit.recipients") ?? 0 >= 1)
        }
        // What comes without a trace makes none, and nobody's trace is mistaken for it.
        let before = spans.all.count
        _ = try await sender.request("broadcast", publication("r", nil))
        _ = try await sender.request("broadcast", publication("r", "00-\(Self.traceID)-00f067aa0ba902b7-00"))
        _ = try await sender.request("broadcast", publication("r", "nonsense"))
        _ = try await sender.request("broadcast", #"{"room":"r","type":"note","payload":1,"traceparent":5}"#)
        for _ in 0..<4 { _ = try await far.next(type: "note") }
        #expect(spans.all.count == before)
        #expect(await first.hub.statistics().traced == 1)
        await first.shutdown()
        await second.shutdown()
    }

    @Test func aTraceThatNobodyRecordsIsAsIfItWereNotThere() async throws {
        let spans = Spans()
        let node = try await node("sampling", nil, spans, ["CONDUIT_TRACING_SAMPLE": "1"])
        let sender = try await member(node, of: "r")
        _ = try await sender.request("broadcast", publication("r", "00-\(Self.traceID)-00f067aa0ba902b7-00"))
        try await eventually("a trace of its own") { spans.named("conduit publish").count == 1 }
        #expect(spans.named("conduit publish").first?.place.traceID != Self.traceID)
        await node.shutdown()
    }

    @Test func orderedRoomsCarryTheTraceAndStoreNothingOfIt() async throws {
        let redis = try await RedisServer.start()
        let spans = Spans()
        let ordered = ["CONDUIT_ROOMS_DEFAULT_MODE": "ordered"]
        let first = try await node("first", redis, spans, ordered)
        let second = try await node("second", redis, spans, ordered)
        let sender = try await member(first, of: "o")
        let far = try await member(second, of: "o")
        for _ in 0..<3 { sender.sendWithoutWaiting(#"{"type":"broadcast","data":\#(publication("o", nil))}"#) }
        let ack = try await sender.request("broadcast", publication("o"))
        #expect(ack.int("offset") == 4)
        for socket in [sender, far] { for _ in 0..<4 { _ = try await socket.next(type: "note") } }
        try await eventually("all spans have ended") { spans.named("conduit deliver").count == 2 }
        let publish = try #require(spans.named("conduit publish").first)
        let relay = try #require(spans.named("conduit relay").first)
        #expect(spans.all.count == 4 && spans.all.allSatisfy { $0.place.traceID == Self.traceID })
        #expect(relay.parent == publish.place && relay.number("conduit.offset") == 4)
        #expect(spans.named("conduit deliver").allSatisfy { $0.parent == relay.place })
        #expect(Set(spans.named("conduit deliver").compactMap(\.node)) == ["first", "second"])
        let log = try await redis.redisCLI("XRANGE", "conduit:log:{o}", "-", "+")
        #expect(log.contains("note") && !log.contains("traceparent") && !log.contains(Self.traceID))
        await first.shutdown()
        await second.shutdown()
    }

    @Test func theApplicationsTracesGoOnAndUsersGetThem() async throws {
        let redis = try await RedisServer.start()
        let spans = Spans()
        let first = try await node("first", redis, spans)
        let second = try await node("second", redis, spans)
        let bob = try await TestWebSocket.connect(port: second.httpPort, path: "/ws?token=bob")
        _ = try await bob.request("status")
        try await eventually("the first node can reach bob") {
            try await redis.redisCLI("PUBSUB", "NUMSUB", "conduit:user:{bob}").hasSuffix("\n1")
        }
        let user: UserID = "bob"
        // Not in a trace: nothing.
        try first.hub.send("note", .null, to: user)
        _ = try await bob.next(type: "note")
        #expect(spans.all.isEmpty)
        let root = spans.tracer.startSpan("application", context: .topLevel)
        try ServiceContext.$current.withValue(root.context) { try first.hub.send("note", .null, to: user) }
        root.end()
        _ = try await bob.next(type: "note")
        try await eventually("all spans have ended") { spans.all.count == 4 }
        let application = try #require(spans.named("application").first)
        let publish = try #require(spans.named("conduit publish").first)
        let relay = try #require(spans.named("conduit relay").first)
        let deliver = try #require(spans.named("conduit deliver").first)
        #expect(publish.parent == application.place && relay.parent == publish.place && deliver.parent == relay.place)
        #expect(deliver.node == "second")
        await first.shutdown()
        await second.shutdown()
    }

    @Test func aNodeThatDoesNotTraceDeliversWhatOthersTrace() async throws {
        let redis = try await RedisServer.start()
        let (spans, none) = (Spans(), Spans())
        let first = try await node("first", redis, spans)
        let second = try await node("second", redis, none, isTracing: false)
        let sender = try await member(first, of: "r")
        let far = try await member(second, of: "r")
        let back = try await member(first, of: "r")
        #expect(try await sender.request("broadcast", publication("r")).type == "ack")
        #expect(try await far.next(type: "note").int("n") == 1)
        #expect(try await far.request("broadcast", publication("r")).type == "ack")
        for _ in 0..<2 { #expect(try await back.next(type: "note").int("n") == 1) }
        #expect(none.all.isEmpty)
        #expect(spans.named("conduit publish").count == 1)
        await first.shutdown()
        await second.shutdown()
    }

    @Test func clientsCanMakeOnlySoManyTraces() async throws {
        let spans = Spans()
        let limited = try await node(
            "limited", nil, spans, ["CONDUIT_TRACING_PER_SECOND": "3", "CONDUIT_NODE_EVENT_LOOPS": "1"])
        let member = try await member(limited, of: "r")
        for _ in 0..<200 { member.sendWithoutWaiting(#"{"type":"broadcast","data":\#(publication("r"))}"#) }
        for _ in 0..<200 { _ = try await member.next(type: "note") }
        let statistics = await limited.hub.statistics()
        #expect(statistics.traced >= 3 && statistics.tracesRefused > 0)
        #expect(statistics.traced + statistics.tracesRefused == 200)
        #expect(UInt64(spans.named("conduit publish").count) == statistics.traced)
        await limited.shutdown()
    }

    @Test func aShareOfMessagesBeginsTraces() async throws {
        let spans = Spans()
        let sampling = try await node("sampling", nil, spans, ["CONDUIT_TRACING_SAMPLE": "1"])
        let member = try await member(sampling, of: "r")
        _ = try await member.request("broadcast", publication("r", nil))
        // Its own trace, and the one that it brings.
        _ = try await member.request("broadcast", publication("r"))
        let publish = spans.named("conduit publish")
        #expect(publish.count == 2)
        #expect(publish.first?.parent == nil && publish.first?.place.traceID != Self.traceID)
        #expect(publish.last?.place.traceID == Self.traceID)
        // A refused one says why.
        _ = try await member.request("broadcast", #"{"room":"r","type":"pong","payload":1}"#)
        #expect(spans.named("conduit publish").last?.error == "reserved_type")
        await sampling.shutdown()
    }

    @Test func theCommandWritesSpansIntoItsLogAndTakesTracesOfPOSTs() async throws {
        let node = try await NodeProcess.start(
            "traced", waitsForRedis: false,
            ["CONDUIT_TRACING_ENABLED": "true", "CONDUIT_TRACING_EXPORTER": "log", "CONDUIT_LOG_FORMAT": "json"])
        try await eventually("it takes clients") { try await node.get("/ready").status == 200 }
        let socket = try await TestWebSocket.connect(port: node.port)
        _ = try await socket.request("join_room", #"{"room":"r"}"#)
        let body = #"{"room":"r","type":"note","payload":1}"#
        let admin = try await TestSocket.connect(port: node.adminPort)
        try await admin.send(
            "POST /api/v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                + "traceparent: \(Self.parent)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"
        )
        let answer = try await admin.waitForClose()
        #expect(answer.hasPrefix("HTTP/1.1 200"), "\(answer)")
        _ = try await socket.next(type: "note")
        try await eventually("both spans are in the log") {
            node.log.split(separator: "\n").filter { $0.contains("\"trace_id\":\"\(Self.traceID)\"") }.count == 2
        }
        #expect(node.log.contains("\"span\":\"conduit publish\""))
        #expect(node.log.contains("\"parent_span_id\":\"00f067aa0ba902b7\""))
        #expect(node.log.contains("\"span\":\"conduit deliver\""))
        await socket.drop()
        node.signal(SIGTERM)
        #expect(try await node.exitCode() == 0)
    }
}
