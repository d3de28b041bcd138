import Testing

@testable import ConduitBench

/// Short runs with small numbers.
enum Plans {
    static func plan(_ mode: BenchPlan.Mode, _ urls: [String], clients: Int) throws -> BenchPlan {
        var plan = BenchPlan(mode: mode, targets: try urls.map { try #require(BenchTarget($0)) }, clients: clients)
        plan.duration = 0.4
        plan.warmup = 0.1
        plan.drain = 10
        plan.hold = 0.2
        plan.load = .rate(200)
        plan.connectTimeout = 30
        return plan
    }

    /// Runs until enough has happened, however slow the machine is; looked at every second.
    static func run(
        _ plan: BenchPlan, until isEnough: @escaping @Sendable (BenchProgress) -> Bool = { measured($0, 1) }
    ) async throws -> BenchReport {
        var plan = plan
        plan.duration = 50
        let stop = StopSignal()
        return try await BenchRun(plan: plan, stop: stop) { if isEnough($0) { stop.stop() } }.run()
    }

    /// Whether so many deliveries of the measured time were received.
    static func measured(_ progress: BenchProgress, _ count: UInt64) -> Bool {
        (progress.latency?.count ?? 0) >= count
    }
}
