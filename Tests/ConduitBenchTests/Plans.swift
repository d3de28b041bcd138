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
}
