import Histogram

/// A distribution of durations in microseconds, for percentiles. A value: each loop owns one, scrapes merge copies.
///
/// Values are kept to two significant digits (1 %), from 1 µs to one minute, in about 20 KB.
public struct LatencyHistogram: Sendable {
    private static let highest: UInt64 = 60_000_000
    private var histogram: Histogram<UInt64>
    /// All recorded durations together, in microseconds; exact, unlike the buckets.
    public private(set) var sum: UInt64 = 0

    /// An empty distribution; values over a minute count as a minute, negative ones as 0.
    public init() {
        self.histogram = Histogram(
            lowestDiscernibleValue: 1, highestTrackableValue: Self.highest, numberOfSignificantValueDigits: .two)
    }

    /// How many durations were recorded.
    public var count: UInt64 { histogram.totalCount }

    /// Adds one duration.
    public mutating func record(microseconds: Int64, count: UInt64 = 1) {
        let value = min(UInt64(clamping: microseconds), Self.highest)
        guard histogram.record(value, count: count) else { return }
        sum &+= value &* count
    }

    /// The duration that `percent` (0–100) of all recorded ones don't exceed, in microseconds; 0 when empty.
    public func percentile(_ percent: Double) -> UInt64 {
        guard count > 0, !percent.isNaN else { return 0 }
        return histogram.valueAtPercentile(min(max(percent, 0), 100))
    }

    /// The mean in microseconds; 0 when empty.
    public var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// Adds all that `other` has recorded: a sum of two arrays, since both have the same buckets.
    public mutating func merge(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        histogram.add(other.histogram)
        sum &+= other.sum
    }

    /// How many durations are at most each bound (in microseconds): what a Prometheus histogram shows.
    ///
    /// A bound stands for its whole bucket, so a duration within 1 % above it counts as well.
    public func cumulativeCounts(upTo bounds: [UInt64]) -> [UInt64] {
        bounds.map { histogram.count(within: 0...min($0, Self.highest)) }
    }
}
