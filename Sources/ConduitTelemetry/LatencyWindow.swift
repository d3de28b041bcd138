/// The last minute of a distribution that only grows: what it holds now, less what it held then.
///
/// A value; whoever looks brings the newest copy and the time. It remembers one copy of ten seconds ago or less, and of the
/// time before only which buckets were met.
package struct LatencyWindow: Sendable {
    /// The window moves in steps of this, and covers between five and six of them.
    private static let stepMilliseconds: Int64 = 10_000
    private static let closedSteps = 5

    private var closedAt: Int64?
    private var closed = LatencyHistogram()
    private var steps: [[LatencyHistogram.Part]] = []

    package init() {}

    /// What was recorded within the window. Its percentiles and its count are good; its sum is not.
    ///
    /// - Parameters:
    ///   - all: the distribution since its beginning.
    ///   - now: monotonic milliseconds.
    package mutating func update(_ all: LatencyHistogram, now: Int64) -> LatencyHistogram {
        let since = closedAt ?? now
        if closedAt == nil { closedAt = now }
        var recent = all.since(closed)
        let passed = (now - since) / Self.stepMilliseconds
        if passed > 0 {
            // Who was not looked at for long has as many steps without anything behind the first.
            steps.append(recent.parts)
            for _ in 1..<max(1, min(passed, Int64(Self.closedSteps) + 1)) { steps.append([]) }
            if steps.count > Self.closedSteps { steps.removeFirst(steps.count - Self.closedSteps) }
            closed = all
            closedAt = since + passed * Self.stepMilliseconds
            recent = LatencyHistogram()
        }
        for step in steps { recent.add(step) }
        return recent
    }
}
