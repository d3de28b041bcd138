import Histogram

/// A distribution of durations in nanoseconds: HdrHistogram with three significant digits, up to an hour.
package struct LatencyRecorder: Sendable {
    private static let highest: UInt64 = 3_600_000_000_000
    private var histogram = Histogram<UInt64>(
        lowestDiscernibleValue: 64, highestTrackableValue: highest, numberOfSignificantValueDigits: .three)
    private var sum: UInt64 = 0

    package init() {}

    package var count: UInt64 { histogram.totalCount }

    package mutating func record(nanoseconds: UInt64) {
        let value = min(nanoseconds, Self.highest)
        histogram.record(value)
        sum &+= value
    }

    package mutating func merge(_ other: LatencyRecorder) {
        guard other.count > 0 else { return }
        histogram.add(other.histogram)
        sum &+= other.sum
    }

    /// `nil` when nothing was recorded.
    package var summary: LatencySummary? {
        guard count > 0 else { return nil }
        func microseconds(_ percent: Double) -> Double {
            Double(min(histogram.valueAtPercentile(percent), histogram.maxRecorded)) / 1000
        }
        return LatencySummary(
            count: count, mean: Double(sum) / Double(count) / 1000, p50: microseconds(50), p90: microseconds(90),
            p99: microseconds(99), p999: microseconds(99.9), max: Double(histogram.maxRecorded) / 1000)
    }
}

/// The percentiles of a distribution, in microseconds.
package struct LatencySummary: Sendable, Hashable {
    package var count: UInt64
    package var mean: Double
    package var p50: Double
    package var p90: Double
    package var p99: Double
    package var p999: Double
    package var max: Double
}
