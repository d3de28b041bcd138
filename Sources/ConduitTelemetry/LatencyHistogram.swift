import Histogram

/// A distribution of durations in microseconds, for percentiles. A value: each loop owns one, scrapes merge copies.
public struct LatencyHistogram: Sendable {
    private static let highest: UInt64 = 60_000_000
    private var histogram: Histogram<UInt64>

    /// An empty distribution; values over a minute count as a minute.
    public init() {
        self.histogram = Histogram(
            lowestDiscernibleValue: 1, highestTrackableValue: Self.highest, numberOfSignificantValueDigits: .two)
    }

    /// How many durations were recorded.
    public var count: UInt64 { histogram.totalCount }

    /// Adds one duration.
    public mutating func record(microseconds: Int64, count: UInt64 = 1) {
        let value = min(UInt64(clamping: microseconds), Self.highest)
        _ = histogram.record(value, count: count)
    }

    /// The duration that `percent` (0–100) of all recorded ones don't exceed, in microseconds; 0 when empty.
    public func percentile(_ percent: Double) -> UInt64 {
        histogram.totalCount == 0 ? 0 : histogram.valueAtPercentile(percent)
    }

    /// The mean in microseconds; 0 when empty.
    public var mean: Double { histogram.totalCount == 0 ? 0 : histogram.mean }

    /// Adds all that `other` has recorded.
    public mutating func merge(_ other: LatencyHistogram) {
        for step in other.histogram.recordedValues() { _ = histogram.record(step.value, count: step.count) }
    }

    /// How many durations are at most each bound (ascending, microseconds): what a Prometheus histogram shows.
    public func cumulativeCounts(upTo bounds: [UInt64]) -> [UInt64] {
        var counts = [UInt64](repeating: 0, count: bounds.count)
        for step in histogram.recordedValues() {
            if let first = bounds.firstIndex(where: { step.value <= $0 }) { counts[first] += step.count }
        }
        var sum: UInt64 = 0
        return counts.map {
            sum += $0; return sum
        }
    }
}
