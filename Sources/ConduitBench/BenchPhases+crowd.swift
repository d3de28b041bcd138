import ConduitTelemetry
import NIOCore

extension BenchPhases {
    /// Everybody into one room, and until each has been told of all.
    mutating func fillRoom() async throws -> BenchReport {
        let before = ProcessFigures.now()
        let start = NIODeadline.now() + .milliseconds(20)
        for worker in workers { try await worker.query { $0.beginCrowd(at: start.uptimeNanoseconds) } }
        let rush = plan.joinRate.map { Double(plan.clients) / $0 } ?? 0
        let deadline = start + .nanoseconds(Int64((rush + plan.settle) * 1e9))
        var crowd = CrowdFigures()
        while NIODeadline.now() < deadline, !run.stop.isStopped {
            try await step(.joining, .milliseconds(50))
            crowd = try await self.crowd()
            if crowd.joined >= crowd.members, crowd.settled == crowd.members { break }
        }
        // What is said when nothing changes any more counts too: two quiet seconds.
        let quiet = min(deadline, NIODeadline.now() + .seconds(2))
        try await wait(until: quiet, .joining)
        let end = NIODeadline.now()
        crowd = try await self.crowd()
        var all = try await figures()
        all.crowd = crowd
        var report = BenchReport(plan: plan, figures: all)
        report.isInterrupted = run.stop.isStopped
        report.measuredSeconds = Double((end - start).nanoseconds) / 1e9
        report.generatorCPUPercent = ProcessFigures.now().cpuPercent(since: before)
        return report
    }

    private func crowd() async throws -> CrowdFigures {
        var members = 0
        for worker in workers { members += try await worker.query { $0.stillReady } }
        let total = members
        var crowd = CrowdFigures()
        var isSettled = true
        for worker in workers {
            let part = try await worker.query { $0.crowd(of: total) }
            isSettled = isSettled && part.settled == part.members
            crowd.merge(part)
        }
        if !isSettled { crowd.settleSeconds = nil }
        return crowd
    }
}
