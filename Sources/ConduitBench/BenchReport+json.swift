import ConduitWire
import NIOCore

/// The report for programs: one object, always the same keys; what does not apply is `null`. Docs/bench.md lists them.
extension BenchReport {
    /// Raised when a key changes its meaning or goes.
    package static let formatVersion = 1

    package var json: String {
        var object = JSONObject()
        object.number("conduit_bench", Self.formatVersion)
        object.text("mode", plan.mode.rawValue)
        object.raw("urls", JSONObject.array(plan.targets.map { JSONObject.quoted($0.description) }))
        object.bool("ok", isClean)
        object.bool("interrupted", isInterrupted)
        object.raw("load", load)
        object.raw("connections", connections)
        object.raw(
            "nodes",
            JSONObject.array(
                nodes.map { node in
                    var object = JSONObject()
                    object.text("id", node.name)
                    object.number("connections", node.connections)
                    return object.text
                }))
        object.raw("messages", plan.mode == .connect || plan.mode == .presence ? "null" : messages)
        object.raw("latency_us", Self.latency(figures.latency))
        object.raw("cross_node_latency_us", Self.latency(figures.crossNodeLatency))
        object.raw("churn", plan.mode == .churn ? churn : "null")
        object.raw("presence", plan.mode == .presence ? crowd : "null")
        object.raw("acks", plan.acks ? acks : "null")
        object.raw("generator", generator)
        object.raw("server", serverObject)
        object.raw("errors", Self.tally(figures.errors))
        object.raw("warnings", JSONObject.array(warnings.map(JSONObject.quoted)))
        return object.text + "\n"
    }

    private var load: String {
        var object = JSONObject()
        object.number("clients", plan.clients)
        object.number("publishers", plan.layout.publishers)
        object.number("rooms", plan.mode == .echo ? 0 : plan.layout.rooms)
        switch plan.load {
        case .rate(let rate):
            object.decimal("rate", plan.mode == .connect || plan.mode == .presence ? nil : rate)
            object.raw("window", "null")
        case .window(let window):
            object.raw("rate", "null")
            object.number("window", window)
        }
        object.number("payload_bytes", plan.payloadBytes)
        object.decimal("warmup_s", plan.warmup)
        object.decimal("measured_s", measuredSeconds)
        object.number("threads", plan.threads)
        return object.text
    }

    private var connections: String {
        var object = JSONObject()
        object.number("opened", figures.opened)
        object.number("ready", figures.ready)
        object.number("failed", figures.failed)
        object.number("closed_by_server", figures.lost)
        object.raw("still_open", stillOpen.map(String.init) ?? "null")
        object.decimal("seconds", connectSeconds)
        object.decimal("per_second", connectionsPerSecond)
        object.raw("handshake_us", Self.latency(figures.handshake))
        object.raw("ready_us", Self.latency(figures.readiness))
        object.raw("failures", Self.tally(figures.failures))
        return object.text
    }

    private var messages: String {
        var object = JSONObject()
        object.number("sent", figures.sent)
        object.decimal("sent_per_second", messagesPerSecond)
        object.number("expected", expected)
        object.number("received", figures.received)
        object.number("lost", lost)
        object.number("duplicated", figures.duplicated)
        object.number("reordered", figures.reordered)
        object.number("invalid", figures.invalid)
        object.number("held", figures.held)
        object.number("timeouts", figures.timeouts)
        object.decimal("deliveries_per_second", deliveriesPerSecond)
        object.decimal("bytes_per_second", bytesPerSecond)
        return object.text
    }

    private var churn: String {
        var object = JSONObject()
        object.decimal("rate", plan.churnRate)
        object.number("started", figures.churn.started)
        object.number("completed", figures.churn.completed)
        object.number("failed", figures.churn.failed)
        object.number("skipped", figures.churn.skipped)
        object.number("received", figures.churn.received)
        object.raw("handshake_us", Self.latency(figures.churn.handshake))
        object.raw("ready_us", Self.latency(figures.churn.readiness))
        return object.text
    }

    private var crowd: String {
        let crowd = figures.crowd
        var object = JSONObject()
        object.decimal("join_rate", plan.joinRate)
        object.number("joined", crowd.joined)
        object.number("settled", crowd.settled)
        object.decimal("joined_s", crowd.joinSeconds)
        object.decimal("settled_s", crowd.settleSeconds)
        object.raw("join_us", Self.latency(crowd.joining))
        object.number("diffs", crowd.diffs)
        object.decimal("diffs_per_member", crowd.diffsPerMember)
        object.number("most_diffs_a_second", crowd.mostDiffsASecond)
        object.number("diff_bytes", crowd.diffBytes)
        return object.text
    }

    private var acks: String {
        var object = JSONObject()
        object.number("received", figures.acks)
        object.number("missing", unacknowledged)
        object.raw("latency_us", Self.latency(figures.ackLatency))
        return object.text
    }

    private var generator: String {
        var object = JSONObject()
        object.decimal("cpu_percent", generatorCPUPercent)
        object.decimal("busiest_thread_percent", busiestThreadPercent)
        object.raw("lateness_us", Self.latency(figures.lateness))
        object.bool("is_bottleneck", isGeneratorTheBottleneck)
        return object.text
    }

    private var serverObject: String {
        guard let server else { return "null" }
        var object = JSONObject()
        object.decimal("cpu_seconds", server.cpuSeconds)
        object.decimal("deliveries", server.deliveries)
        object.decimal("cpu_us_per_delivery", serverMicrosecondsPerDelivery)
        return object.text
    }

    private static func latency(_ recorder: LatencyRecorder) -> String {
        guard let summary = recorder.summary else { return "null" }
        var object = JSONObject()
        object.number("count", summary.count)
        object.decimal("mean", summary.mean)
        object.decimal("p50", summary.p50)
        object.decimal("p90", summary.p90)
        object.decimal("p99", summary.p99)
        object.decimal("p99_9", summary.p999)
        object.decimal("max", summary.max)
        return object.text
    }

    private static func tally(_ tally: Tally) -> String {
        var object = JSONObject()
        for (text, count) in tally.sorted { object.number(text, count) }
        return object.text
    }
}

/// Writes one JSON object, a member at a time.
private struct JSONObject {
    private var buffer = ByteBuffer(string: "{")

    var text: String { String(buffer: buffer) + "}" }

    mutating func raw(_ name: String, _ value: String) {
        if buffer.readableBytes > 1 { buffer.writeStaticString(",") }
        buffer.writeJSONString(name)
        buffer.writeString(":\(value)")
    }

    mutating func number(_ name: String, _ value: some BinaryInteger) { raw(name, String(value)) }

    mutating func bool(_ name: String, _ value: Bool) { raw(name, value ? "true" : "false") }

    mutating func text(_ name: String, _ value: String) { raw(name, Self.quoted(value)) }

    /// Three decimals.
    mutating func decimal(_ name: String, _ value: Double?) {
        guard let value, value.isFinite, abs(value) < 1e15 else { return raw(name, "null") }
        raw(name, "\((value * 1000).rounded() / 1000)")
    }

    static func quoted(_ text: String) -> String {
        var buffer = ByteBuffer()
        buffer.writeJSONString(text)
        return String(buffer: buffer)
    }

    static func array(_ values: [String]) -> String { "[" + values.joined(separator: ",") + "]" }
}
