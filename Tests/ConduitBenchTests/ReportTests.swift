import Foundation
import Testing

@testable import ConduitBench

/// What programs and people read at the end.
@Suite struct ReportTests {
    static func report(_ mode: BenchPlan.Mode, _ change: (inout LoadFigures) -> Void = { _ in }) throws -> BenchReport {
        var figures = LoadFigures()
        figures.opened = 3
        figures.ready = 3
        figures.firstOpenedAt = 1_000_000_000
        figures.lastReadyAt = 1_500_000_000
        figures.measuredSent = 20
        figures.measuredReceived = 40
        for value in UInt64(1)...100 {
            figures.latency.record(nanoseconds: value * 1_000_000)
            figures.crossNodeLatency.record(nanoseconds: value * 2_000_000)
            figures.handshake.record(nanoseconds: 5000)
            figures.readiness.record(nanoseconds: 9000)
            figures.lateness.record(nanoseconds: 1000)
            figures.churn.handshake.record(nanoseconds: 1000)
            figures.churn.readiness.record(nanoseconds: 1000)
        }
        change(&figures)
        var report = BenchReport(plan: try Plans.plan(mode, ["ws://h:1/ws"], clients: 2), figures: figures)
        report.measuredSeconds = 2
        report.nodes = [.init(name: "n-1", connections: 2), .init(name: "n-2", connections: 1)]
        report.server = ServerFigures(
            metrics: "# x\nprocess_cpu_seconds_total 1.5\nconduit_deliveries_total{node=\"a\"} 100\n"
                + "conduit_deliveries_total{node=\"b\"} 50\nconduit_deliveries_totals 7\n")
        return report
    }

    /// Every key with its path; objects with free keys only by name.
    private static func paths(_ value: Any, _ path: String = "") -> [String] {
        guard let object = value as? [String: Any] else { return [path] }
        if path == "errors" || path == "connections.failures" { return [path] }
        return object.flatMap { paths($1, path.isEmpty ? $0 : path + "." + $0) }
    }

    private static func object(_ report: BenchReport) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(report.json.utf8)) as? [String: Any])
    }

    private static func latency(_ name: String) -> [String] {
        ["count", "mean", "p50", "p90", "p99", "p99_9", "max"].map { "\(name).\($0)" }
    }

    @Test func keysAreThose() throws {
        let load = [
            "clients", "publishers", "rooms", "rate", "window", "payload_bytes", "warmup_s", "measured_s", "threads",
        ]
        let messages = [
            "sent", "sent_per_second", "expected", "received", "lost", "duplicated", "reordered", "invalid", "held",
            "timeouts", "deliveries_per_second", "bytes_per_second",
        ]
        let connections = [
            "opened", "ready", "failed", "closed_by_server", "still_open", "seconds", "per_second", "failures",
        ]
        let parts: [[String]] = [
            [
                "conduit_bench", "mode", "urls", "ok", "interrupted", "nodes", "errors", "warnings", "presence", "acks",
            ],
            load.map { "load." + $0 }, messages.map { "messages." + $0 }, connections.map { "connections." + $0 },
            Self.latency("connections.handshake_us"), Self.latency("connections.ready_us"),
            Self.latency("latency_us"), Self.latency("cross_node_latency_us"),
            ["rate", "started", "completed", "failed", "skipped", "received"].map { "churn." + $0 },
            Self.latency("churn.handshake_us"), Self.latency("churn.ready_us"),
            ["cpu_percent", "busiest_thread_percent", "is_bottleneck"].map { "generator." + $0 },
            Self.latency("generator.lateness_us"),
            ["cpu_seconds", "deliveries", "cpu_us_per_delivery"].map { "server." + $0 },
        ]
        let object = try Self.object(try Self.report(.churn))
        #expect(Self.paths(object).sorted() == parts.flatMap { $0 }.sorted())
    }

    @Test(arguments: BenchPlan.Mode.allCases) func everyModeHasTheSameKeysAtTheTop(_ mode: BenchPlan.Mode) throws {
        let object = try Self.object(BenchReport(plan: Plans.plan(mode, ["ws://h:1/ws"], clients: 2), figures: .init()))
        #expect(
            object.keys.sorted() == [
                "acks", "churn", "conduit_bench", "connections", "cross_node_latency_us", "errors", "generator",
                "interrupted",
                "latency_us", "load", "messages", "mode", "nodes", "ok", "presence", "server", "urls", "warnings",
            ])
        #expect(object["mode"] as? String == mode.rawValue)
        #expect(object["latency_us"] is NSNull)
        #expect((object["messages"] is NSNull) == (mode == .connect || mode == .presence))
    }

    @Test func valuesAreThose() throws {
        let object = try Self.object(
            try Self.report(.fanout) {
                $0.errors.add("rate_limited: \"slow\"\u{1}", count: 3)
                $0.failures.add("refused", count: 2)
            })
        #expect(object["urls"] as? [String] == ["ws://h:1/ws"])
        #expect(object["errors"] as? [String: Int] == ["rate_limited: \"slow\"\u{1}": 3])
        let messages = try #require(object["messages"] as? [String: Any])
        #expect(messages["deliveries_per_second"] as? Double == 20)
        let connections = try #require(object["connections"] as? [String: Any])
        #expect(connections["per_second"] as? Double == 6)
        #expect(connections["failures"] as? [String: Int] == ["refused": 2])
        let server = try #require(object["server"] as? [String: Any])
        #expect(server["deliveries"] as? Double == 150)
        #expect(server["cpu_us_per_delivery"] as? Double == 10_000)
        let latency = try #require(object["latency_us"] as? [String: Any])
        #expect(latency["count"] as? Int == 100)
    }

    @Test func anythingThatFailedMakesTheReportUnclean() throws {
        #expect(try Self.report(.fanout).isClean)
        let faults: [(inout LoadFigures) -> Void] = [
            { $0.duplicated = 1 }, { $0.reordered = 1 }, { $0.invalid = 1 }, { $0.failed = 1 }, { $0.lost = 1 },
            { $0.churn.failed = 1 },
        ]
        for fault in faults { #expect(try !Self.report(.fanout, fault).isClean) }
        #expect(try !Self.report(.presence).isClean)
        #expect(
            try Self.report(.presence) {
                $0.crowd.joined = 3
                $0.crowd.settled = 3
            }.isClean)
        var report = try Self.report(.fanout)
        report.lost = 1
        #expect(!report.isClean)
    }

    @Test func tableNamesEverything() throws {
        var report = try Self.report(.cross) { $0.failures.add("no answer", count: 7) }
        report.busiestThreadPercent = 97
        let table = report.table
        for text in [
            "cross", "3 of 3 in 0.50 s (6/s)", "n-1 2   n-2 1", "latency, same node", "latency, cross node",
            "p99.9", "lost", "duplicated 0", "7 x no answer", "the generator was the bottleneck",
            "10,000.00 us a delivery",
        ] {
            #expect(table.contains(text), "\(text) in \(table)")
        }
        #expect(report.isGeneratorTheBottleneck)
    }

    @Test func progressIsOneLine() {
        let progress = BenchProgress(
            phase: .measuring, elapsed: 3.04, ready: 1000, wanted: 1001, failed: 1, sentPerSecond: 50,
            deliveriesPerSecond: 50_000, latency: nil)
        #expect(
            progress.line
                == "3 s  measuring  1,000 of 1,001 connections  1 failed  50 messages/s  50,000 deliveries/s")
    }

    @Test func plansThatMakeNoSenseAreRefused() async throws {
        let faults: [(String, (inout BenchPlan) -> Void)] = [
            ("--url", { $0.targets = [] }), ("--clients", { $0.clients = 0 }), ("--rooms", { $0.rooms = 11 }),
            ("--payload", { $0.payloadBytes = 39 }), ("--rate", { $0.load = .rate(0) }),
            ("--rate", { $0.load = .rate(.nan) }), ("--window", { $0.load = .window(0) }),
            ("--duration", { $0.duration = .infinity }), ("--threads", { $0.threads = 65 }),
            ("--concurrency", { $0.concurrency = 0 }), ("--churn-rate", { $0.churnRate = -1 }),
            ("--connect-rate", { $0.connectRate = 0 }), ("--publishers", { $0.publishers = 0 }),
        ]
        let good = try Plans.plan(.rooms, ["ws://h/ws"], clients: 10)
        #expect(good.problem == nil)
        for (name, fault) in faults {
            var plan = good
            fault(&plan)
            #expect(plan.problem?.contains(name) == true, "\(name): \(plan.problem ?? "accepted")")
            await #expect(throws: BenchError.self) { try await BenchRun(plan: plan).run() }
        }
    }
}
