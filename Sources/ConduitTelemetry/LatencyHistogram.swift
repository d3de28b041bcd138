/// A distribution of durations in microseconds, for percentiles. A value: each loop owns one, scrapes merge copies.
///
/// Values are kept within 1 %, from 1 µs to one minute, in 20 KB that are taken with the first of them. The buckets are as
/// wide as the 128th part of their power of two, and one wide below 256.
public struct LatencyHistogram: Sendable {
    private static let highest: UInt64 = 60_000_000
    /// Buckets up to 256, one wide each.
    private static let fine = 256
    /// Buckets of each power of two above.
    private static let perPower = 128
    private static let bucketCount = bucket(of: highest) + 1

    /// Empty until something is recorded.
    private var counts: [UInt64] = []
    /// How many durations were recorded.
    public private(set) var count: UInt64 = 0
    /// All recorded durations together, in microseconds; exact, unlike the buckets.
    public private(set) var sum: UInt64 = 0

    /// An empty distribution; values over a minute count as a minute, negative ones as 0.
    public init() {}

    /// Adds one duration, or several of a length.
    public mutating func record(microseconds: Int64, count: UInt64 = 1) {
        let value = min(UInt64(clamping: microseconds), Self.highest)
        if counts.isEmpty { counts = Array(repeating: 0, count: Self.bucketCount) }
        counts[Self.bucket(of: value)] &+= count
        self.count &+= count
        sum &+= value &* count
    }

    /// The duration that `percent` (0–100) of all recorded ones don't exceed, in microseconds; 0 when empty.
    public func percentile(_ percent: Double) -> UInt64 {
        guard count > 0, !percent.isNaN else { return 0 }
        let rank = max(1, (min(max(percent, 0), 100) / 100 * Double(count)).rounded(.up))
        var passed: UInt64 = 0
        for (bucket, count) in counts.enumerated() where count > 0 {
            passed &+= count
            if Double(passed) >= rank { return min(Self.last(of: bucket), Self.highest) }
        }
        return Self.highest
    }

    /// The mean in microseconds; 0 when empty.
    public var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// Adds all that `other` has recorded: a sum of two arrays, since both have the same buckets.
    public mutating func merge(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        guard count > 0 else {
            self = other
            return
        }
        for bucket in counts.indices { counts[bucket] &+= other.counts[bucket] }
        count &+= other.count
        sum &+= other.sum
    }

    /// How many durations are at most each bound (in microseconds, rising): what a Prometheus histogram shows.
    ///
    /// A bound stands for its whole bucket, so a duration within 1 % above it counts as well.
    public func cumulativeCounts(upTo bounds: [UInt64]) -> [UInt64] {
        var sums: [UInt64] = []
        var next = 0
        var passed: UInt64 = 0
        for bound in bounds {
            let end = counts.isEmpty ? 0 : Self.bucket(of: min(bound, Self.highest)) + 1
            while next < end {
                passed &+= counts[next]
                next += 1
            }
            sums.append(passed)
        }
        return sums
    }

    // MARK: Differences

    /// How often a bucket was met.
    struct Part: Sendable {
        let bucket: UInt16
        let count: UInt64
    }

    /// What was recorded since `earlier`, which is an older copy of the same distribution.
    func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
        guard earlier.count > 0, count > 0 else { return self }
        var rest = self
        rest.count = 0
        for bucket in counts.indices {
            let (more, overflow) = counts[bucket].subtractingReportingOverflow(earlier.counts[bucket])
            rest.counts[bucket] = overflow ? 0 : more
            rest.count &+= rest.counts[bucket]
        }
        rest.sum = sum < earlier.sum ? 0 : sum - earlier.sum
        return rest
    }

    /// The buckets that were met: few, compared with all that there are.
    var parts: [Part] {
        counts.enumerated().compactMap { $1 > 0 ? Part(bucket: UInt16(truncatingIfNeeded: $0), count: $1) : nil }
    }

    /// Adds what was recorded elsewhere, as far as percentiles are concerned.
    mutating func add(_ parts: [Part]) {
        guard !parts.isEmpty else { return }
        if counts.isEmpty { counts = Array(repeating: 0, count: Self.bucketCount) }
        for part in parts {
            counts[Int(part.bucket)] &+= part.count
            count &+= part.count
        }
    }

    // MARK: Buckets

    private static func bucket(of value: UInt64) -> Int {
        guard value >= UInt64(fine) else { return Int(value) }
        let power = 63 - value.leadingZeroBitCount
        return fine + (power - 8) * perPower + Int(value >> UInt64(power - 7)) - perPower
    }

    /// The largest value of a bucket.
    private static func last(of bucket: Int) -> UInt64 {
        guard bucket >= fine else { return UInt64(bucket) }
        let (power, place) = (bucket - fine).quotientAndRemainder(dividingBy: perPower)
        return (UInt64(perPower + place + 1) << UInt64(power + 1)) - 1
    }
}
