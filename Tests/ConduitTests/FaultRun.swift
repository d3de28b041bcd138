import ConduitTesting
import Foundation

/// One fault on a cluster of its own, under traffic, and what came of it.
struct FaultRun {
    let fault: Fault
    var hold = Duration.seconds(8)
    var plan = FaultTraffic.Plan()
    /// Traffic before and after the fault.
    var calm = Duration.seconds(2)

    struct Result: Sendable {
        let fault: Fault
        var fast = DeliveryVerdict()
        var ordered = DeliveryVerdict()
        /// Node to node before the fault.
        var calmFast = DeliveryVerdict()
        var calmOrdered = DeliveryVerdict()
        var unacknowledged = 0
        var counters: [String: Int] = [:]
        /// From the end of the fault until everything worked; `nil`: it did not.
        var worksAgain: Double?
        var presenceIsTrue: Double?
        var lateness = LatencySample()
        var notes: [String: Int] = [:]
        /// What went wrong beside the figures.
        var failures: [String] = []
        /// What was the last to be mended.
        var remarks: [String] = []
        var logs: [String] = []
    }

    func run() async throws -> Result {
        var plan = self.plan
        // Enough bytes to fill what lies between Redis and a node that reads slowly.
        if fault == .slowSubscriber { plan.padding = 2_000 }
        let cluster = try await FaultCluster.start(plan, persistence: fault.needsPersistence)
        defer { cluster.stop() }
        let traffic = cluster.traffic
        let clock = ContinuousClock()
        var result = Result(fault: fault)
        let (isConnected, trouble) = await Self.firstTrue(within: .seconds(30)) { await cluster.trouble() }
        guard isConnected != nil else {
            throw NodeProcess.Failure(
                description: "not everybody is connected: \(trouble.joined(separator: ", ")); "
                    + "\(try await traffic.query { $0.notes })")
        }
        try await traffic.query { $0.setPublishing(true) }
        try await eventually("everybody hears every node", within: .seconds(30)) {
            try await traffic.query { $0.isEverybodyReached }
        }
        let (isTrue, wrong) = await Self.firstTrue(within: .seconds(20)) { try await traffic.comparePresence() }
        guard isTrue != nil else {
            throw NodeProcess.Failure(
                description: "presence is wrong to begin with: \(wrong.joined(separator: "; ")); "
                    + "\(try await traffic.query { $0.notes })")
        }
        let calmFrom = try await traffic.query {
            $0.judge.everybodyIsOwed(from: FaultTraffic.now)
            return FaultTraffic.now
        }
        try await clock.sleep(for: calm)

        let began = FaultTraffic.now
        do {
            try await fault.inflict(on: cluster, for: hold)
        } catch {
            result.failures.append("\(error)")
        }
        let over = clock.now
        async let works = Self.firstTrue(within: .seconds(40)) { await cluster.trouble() }
        async let presence = Self.firstTrue(within: .seconds(40)) { try await traffic.comparePresence() }
        let (worksAgain, lastTrouble) = await works
        let window = began..<FaultTraffic.now
        let (presenceIsTrue, difference) = await presence
        if let worksAgain {
            result.worksAgain = (worksAgain - over) / .seconds(1)
            if !lastTrouble.isEmpty { result.remarks.append("last trouble: \(lastTrouble.joined(separator: ", "))") }
        } else {
            result.failures.append("does not work again: \(lastTrouble.joined(separator: ", "))")
        }
        if let presenceIsTrue {
            result.presenceIsTrue = max((presenceIsTrue - over) / .seconds(1), cluster.presence.max() ?? 0)
            if !difference.isEmpty { result.remarks.append("last difference: \(difference.joined(separator: "; "))") }
        } else {
            result.failures.append("presence is wrong: \(difference.joined(separator: "; "))")
        }
        try await traffic.query { $0.judge.everybodyIsOwed(from: FaultTraffic.now) }
        try await clock.sleep(for: calm)
        try await traffic.query { $0.setPublishing(false) }
        // What is still on its way may come; what doesn't is the verdict.
        _ = await Self.firstTrue(within: .seconds(15)) {
            try await traffic.query {
                $0.judge.outstanding() + $0.judge.unacknowledged(.ordered) == 0 ? [] : ["messages are missing"]
            }
        }
        let (isTrueAtLast, last) = await Self.firstTrue(within: .seconds(3)) { try await traffic.comparePresence() }
        if isTrueAtLast == nil {
            result.failures.append("presence is wrong in the end: \(last.joined(separator: "; "))")
        }
        // The nodes write their figures once a second.
        try await clock.sleep(for: .milliseconds(1_200))
        result.counters = try await cluster.counters()

        let judge = try await traffic.query { $0.judge }
        let stopped = cluster.stoppedNodes
        result.fast = judge.verdict(.fast, window: window, excluding: stopped)
        result.ordered = judge.verdict(.ordered, window: window, excluding: stopped)
        result.calmFast = judge.verdict(.fast, window: calmFrom..<began)
        result.calmOrdered = judge.verdict(.ordered, window: calmFrom..<began)
        result.unacknowledged = judge.unacknowledged(.ordered)
        result.lateness = try await traffic.query {
            $0.lateness.sort()
            return $0.lateness
        }
        result.notes = try await traffic.query { $0.notes }
        result.logs = cluster.runningNodes.map(\.log)
        return result
    }

    /// The first moment at which there is no trouble, and the last trouble.
    private static func firstTrue(
        within limit: Duration, _ trouble: () async throws -> [String]
    ) async -> (at: ContinuousClock.Instant?, trouble: [String]) {
        let clock = ContinuousClock()
        let deadline = clock.now + limit
        var last: [String] = []
        while true {
            let now = clock.now
            let found: [String]
            do { found = try await trouble() } catch { found = ["\(error)"] }
            if found.isEmpty { return (now, last) }
            last = found
            guard clock.now < deadline else { return (nil, found) }
            try? await clock.sleep(for: .milliseconds(100))
        }
    }
}

extension FaultRun.Result {
    /// What breaks a promise, in words; times are judged apart.
    var broken: [String] {
        var broken = failures
        func check(_ isBroken: Bool, _ what: String) { if isBroken { broken.append(what) } }
        check(fast.lost > 0, "fast rooms: \(fast.lost) lost")
        check(!fast.isConsistent, "fast rooms: \(fast.duplicated) duplicated, \(fast.reordered) reordered")
        check(ordered.lost > 0, "ordered rooms: \(ordered.lost) lost")
        check(
            !ordered.isConsistent,
            "ordered rooms: \(ordered.duplicated) duplicated, \(ordered.reordered) reordered, \(ordered.holes) holes, "
                + "\(ordered.contradictions) contradictions")
        check(unacknowledged > 0, "ordered rooms: \(unacknowledged) never acknowledged")
        check(
            !fault.losesLogs && ordered.lostAndTold + ordered.duplicatedOverEpochs > 0,
            "ordered rooms: \(ordered.lostAndTold) lost and told, \(ordered.duplicatedOverEpochs) doubled over epochs")
        // A run that moved nothing proves nothing.
        check(fast.published > 0 && fast.received < fast.acknowledged, "fast rooms: hardly anything was received")
        check(ordered.published > 0 && ordered.received < ordered.acknowledged, "ordered rooms: hardly anything came")
        return broken
    }

    /// Promises about times that were broken; empty where this process itself was too late to tell.
    var late: [String] {
        var late: [String] = []
        if let p99 = fast.local.percentile(0.99), p99 >= 10, isMachineQuiet {
            late.append("local delivery p99 \(p99) ms")
        }
        if let presenceIsTrue, presenceIsTrue > 10 { late.append("presence was wrong for \(presenceIsTrue) s") }
        return late
    }

    var isMachineQuiet: Bool { lateness.percentile(0.99) ?? 0 < 5 }

    var row: String {
        func seconds(_ value: Double?) -> String { value.map { "\(($0 * 10).rounded() / 10) s" } ?? "never" }
        let fastText =
            "\(fast.owed): \(fast.lost), \(fast.duplicated), \(fast.reordered)"
            + (fast.lostWithNode > 0 ? " (\(fast.lostWithNode) went with the node)" : "")
        let told = ordered.lostAndTold + ordered.duplicatedOverEpochs
        let orderedText =
            "\(ordered.owed): \(ordered.lost), \(ordered.duplicated), \(ordered.reordered + ordered.holes)"
            + (told > 0 ? " (told: \(ordered.lostAndTold) lost, \(ordered.duplicatedOverEpochs) doubled)" : "")
        return "| \(fault.title) | \(fastText) | \(orderedText) | \(ordered.repeated) | \(fast.local)"
            + "\(isMachineQuiet ? "" : " (machine busy)") | \(seconds(worksAgain)) | \(seconds(presenceIsTrue)) "
            + "| \(counters["healed"] ?? 0) |"
    }

    /// Everything, for whoever looks for the reason.
    var details: String {
        var lines = [
            "=== \(fault.rawValue): \(broken.isEmpty && late.isEmpty ? "kept" : "BROKEN")",
            row,
            "    fast: local \(fast.local), node to node \(fast.cross) (calm \(calmFast.cross)), acks \(fast.acks)",
            "    ordered: same node \(ordered.local), other nodes \(ordered.cross) (calm \(calmOrdered.cross)), "
                + "acks \(ordered.acks) (calm \(calmOrdered.acks))",
            "    p50 / p99 / max in ms; this process was late by \(lateness)",
            "    nodes say: \(counters.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))",
            "    notes: \(notes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))",
        ]
        lines += remarks.map { "    \($0)" }
        lines += broken.map { "    broken: \($0)" } + late.map { "    too late: \($0)" }
        lines += (fast.examples + ordered.examples).map { "      \($0)" }
        return lines.joined(separator: "\n")
    }
}
