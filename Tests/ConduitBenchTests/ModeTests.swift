import Conduit
import ConduitTesting
import Foundation
import Logging
import Testing

@testable import ConduitBench

/// Every kind of load against real nodes on real sockets: all comes, once, in order, and is counted.
@Suite(.timeLimit(.minutes(5)))
struct ModeTests {
    private func withNode(
        authenticate: AuthenticationHandler? = nil, _ body: (ConduitNode) async throws -> Void
    ) async throws {
        var configuration = NodeConfiguration()
        configuration.gateway.port = 0
        configuration.admin.isEnabled = false
        configuration.logLevel = .error
        configuration.eventLoops = 2
        try await Self.with(
            try await ConduitNode.start(configuration: configuration, authenticate: authenticate), body)
    }

    private static func with(_ node: ConduitNode, _ body: (ConduitNode) async throws -> Void) async throws {
        do {
            try await body(node)
        } catch {
            await node.shutdown()
            throw error
        }
        await node.shutdown()
    }

    /// What holds for every run with messages that went well.
    private func expectClean(_ report: BenchReport, deliveriesPerMessage: Int, connections: Int) throws {
        #expect(report.isClean, "\(report.table)")
        #expect(report.figures.ready == connections)
        #expect(report.figures.sent > 0)
        #expect(report.figures.received == report.figures.sent * UInt64(deliveriesPerMessage))
        #expect(report.expected == report.figures.received)
        #expect(report.figures.handshake.count == UInt64(connections))
        let latency = try #require(report.figures.latency.summary)
        #expect(latency.p50 <= latency.p99 && latency.p99 <= latency.p999 && latency.p999 <= latency.max)
        #expect(report.measuredSeconds > 0)
    }

    @Test(arguments: [1, 2]) func fanout(threads: Int) async throws {
        try await withNode { node in
            var plan = try Plans.plan(.fanout, [node.url], clients: 10)
            plan.publishers = 3
            plan.threads = threads
            let report = try await Plans.run(plan)
            try expectClean(report, deliveriesPerMessage: 10, connections: 13)
            #expect(report.figures.crossNodeLatency.count == 0)
            #expect(report.nodes == [.init(name: node.configuration.nodeID.rawValue, connections: 13)])
        }
    }

    @Test(arguments: [1, 2]) func fanoutInAClosedLoop(threads: Int) async throws {
        try await withNode { node in
            var plan = try Plans.plan(.fanout, [node.url], clients: 10)
            plan.publishers = 3
            plan.load = .window(4)
            plan.threads = threads
            let report = try await Plans.run(plan) { Plans.measured($0, 200) }
            try expectClean(report, deliveriesPerMessage: 10, connections: 13)
            // More than one window of each: it has moved.
            #expect(report.figures.sent > 12)
            #expect(report.figures.timeouts == 0)
        }
    }

    @Test(arguments: [BenchPlan.Load.window(1), .window(8), .rate(300)])
    func echo(load: BenchPlan.Load) async throws {
        try await withNode { node in
            var plan = try Plans.plan(.echo, [node.url], clients: 6)
            plan.load = load
            plan.threads = 2
            try expectClean(try await Plans.run(plan), deliveriesPerMessage: 1, connections: 6)
        }
    }

    @Test(arguments: [BenchPlan.Load.window(2), .rate(300)])
    func rooms(load: BenchPlan.Load) async throws {
        try await withNode { node in
            var plan = try Plans.plan(.rooms, [node.url], clients: 12)
            plan.rooms = 4
            plan.load = load
            plan.threads = 2
            // Three in each room, the publisher too.
            try expectClean(try await Plans.run(plan), deliveriesPerMessage: 3, connections: 12)
        }
    }

    @Test func churn() async throws {
        try await withNode { node in
            var plan = try Plans.plan(.churn, [node.url], clients: 5)
            plan.churnRate = 50
            plan.churnHold = 0.05
            let report = try await Plans.run(plan) { $0.churned > 0 && Plans.measured($0, 1) }
            try expectClean(report, deliveriesPerMessage: 5, connections: 6)
            #expect(report.figures.churn.started > 0)
            #expect(report.figures.churn.completed > 0)
            #expect(report.figures.churn.readiness.count > 0)
        }
    }

    @Test(arguments: [1, 2]) func crowd(threads: Int) async throws {
        try await withNode { node in
            var plan = try Plans.plan(.presence, [node.url], clients: 40)
            plan.threads = threads
            let report = try await BenchRun(plan: plan).run()
            #expect(report.isClean, "\(report.table)")
            #expect(report.figures.crowd.joined == 40 && report.figures.crowd.settled == 40)
            #expect(report.figures.crowd.joining.count == 40)
            #expect(report.figures.crowd.diffs >= 40 && report.figures.crowd.mostDiffsASecond >= 1)
            let settled = try #require(report.figures.crowd.settleSeconds)
            #expect(settled >= report.figures.crowd.joinSeconds ?? .infinity)
        }
    }

    @Test(arguments: [BenchPlan.Mode.fanout, .rooms]) func acksAreCounted(mode: BenchPlan.Mode) async throws {
        try await withNode { node in
            var plan = try Plans.plan(mode, [node.url], clients: 4)
            plan.acks = true
            plan.roomNamespace = "other"
            let report = try await Plans.run(plan)
            #expect(report.isClean, "\(report.table)")
            #expect(report.figures.acks == report.figures.sent)
            #expect(report.figures.ackLatency.count > 0)
        }
    }

    @Test func connect() async throws {
        try await withNode { node in
            var plan = try Plans.plan(.connect, [node.url], clients: 20)
            plan.sources = try SourceAddresses.parse(["127.0.0.2-127.0.0.4"])
            plan.concurrency = 3
            plan.connectRate = 500
            let report = try await BenchRun(plan: plan).run()
            #expect(report.isClean)
            #expect(report.figures.ready == 20)
            #expect(report.stillOpen == 20)
            #expect(report.figures.handshake.count == 20)
            #expect(report.connectionsPerSecond > 0)
            plan.joins = true
            plan.rooms = 3
            #expect(try await BenchRun(plan: plan).run().stillOpen == 20)
            try await eventually("everybody is gone") { await node.hub.statistics().clients == 0 }
        }
    }

    @Test func crossTellsNodesApart() async throws {
        let redis = try await RedisServer.start()
        func node(_ id: String) async throws -> ConduitNode {
            let configuration = try NodeConfiguration.load(environment: [
                "CONDUIT_NODE_ID": id, "CONDUIT_HTTP_PORT": "0", "CONDUIT_ADMIN_ENABLED": "false",
                "CONDUIT_REDIS_URL": redis.url, "CONDUIT_NODE_EVENT_LOOPS": "1", "CONDUIT_LOG_LEVEL": "error",
            ])
            return try await ConduitNode.start(configuration: configuration)
        }
        try await Self.with(try await node("first")) { first in
            try await Self.with(try await node("second")) { second in
                for node in [first, second] { try await eventually("ready") { node.readiness == "ready" } }
                var plan = try Plans.plan(.cross, [first.url, second.url], clients: 6)
                plan.publishers = 2
                plan.threads = 2
                let report = try await Plans.run(plan)
                try expectClean(report, deliveriesPerMessage: 6, connections: 8)
                #expect(report.nodes == [.init(name: "first", connections: 5), .init(name: "second", connections: 3)])
                #expect(report.figures.crossNodeLatency.count > 0)
                let alone = try Plans.plan(.cross, [first.url], clients: 3)
                let error = await #expect(throws: BenchError.self) { try await BenchRun(plan: alone).run() }
                #expect(error?.description.hasPrefix("all connections are on one node (first)") == true)
            }
        }
    }

    @Test func tokenIsNeededWhereTheServerAsksForOne() async throws {
        try await withNode { handshake in
            handshake.token?.value == "secret" ? Identity(user: nil, mayPublishWithoutJoining: true) : nil
        } _: { node in
            var plan = try Plans.plan(.fanout, [node.url], clients: 3)
            let error = await #expect(throws: BenchError.self) { try await BenchRun(plan: plan).run() }
            #expect(
                error?.description.hasPrefix("none of 4 connections could be opened: 401 ") == true, "\(error as Any)")
            plan.request.token = "secret"
            try expectClean(try await Plans.run(plan), deliveriesPerMessage: 3, connections: 4)
        }
    }

    @Test func whereNobodyListensItSaysSo() async throws {
        let port = try await RedisServer.freePort()
        let plan = try Plans.plan(.connect, ["ws://127.0.0.1:\(port)/ws"], clients: 1000)
        let error = await #expect(throws: BenchError.self) { try await BenchRun(plan: plan).run() }
        // It does not go through all thousand.
        #expect(
            error?.description.hasSuffix("connections could be opened: connection refused") == true, "\(error as Any)")
        try await withNode { node in
            let plan = try Plans.plan(.connect, [node.url + "-elsewhere"], clients: 1)
            let error = await #expect(throws: BenchError.self) { try await BenchRun(plan: plan).run() }
            #expect(error?.description.contains(" 404") == true, "\(error as Any)")
        }
        let nowhere = try Plans.plan(.connect, ["ws://no-such-host.invalid/ws"], clients: 1)
        await #expect(throws: BenchError("no-such-host.invalid is not known")) {
            try await BenchRun(plan: nowhere).run()
        }
    }

    @Test func stopEndsARunEarlyWithWhatItHas() async throws {
        try await withNode { node in
            var plan = try Plans.plan(.fanout, [node.url], clients: 3)
            plan.duration = 3600
            let stop = StopSignal()
            // The first progress comes after a second, when it measures.
            let report = try await BenchRun(plan: plan, stop: stop) { progress in
                if progress.phase == .measuring { stop.stop() }
            }.run()
            #expect(report.isInterrupted)
            #expect(report.isClean)
            #expect(report.figures.received == report.figures.sent * 3)
            #expect(report.measuredSeconds > 0 && report.measuredSeconds < 3600)
        }
    }
}
