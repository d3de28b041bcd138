/// Lets so many units through a second, and a burst of them at once. A value: the caller brings the time.
///
/// Counts in millionths of a unit, so that any rate works with a clock of milliseconds and nothing is lost to rounding.
public struct TokenBucket: Hashable, Sendable {
    private static let scale: Int64 = 1_000_000
    private static let mostUnits = 1_000_000_000_000

    private let perMillisecond: Int64
    private let capacity: Int64
    private var tokens: Int64
    private var updated: Int64

    /// A full bucket.
    ///
    /// - Parameters:
    ///   - perSecond: units that come back each second, at least 1.
    ///   - burst: most units that may go at once, at least 1.
    ///   - now: monotonic milliseconds.
    public init(perSecond: Int, burst: Int, now: Int64) {
        self.perMillisecond = Int64(min(max(perSecond, 1), Self.mostUnits)) * (Self.scale / 1_000)
        self.capacity = Int64(min(max(burst, 1), Self.mostUnits)) * Self.scale
        self.tokens = capacity
        self.updated = now
    }

    /// Takes units if they are there; nothing is taken otherwise.
    ///
    /// More units than the bucket holds are taken from a full bucket, which owes the rest: a single message that is
    /// larger than the burst is late, not impossible.
    public mutating func take(_ units: Int = 1, now: Int64) -> Bool {
        refill(now)
        let wanted = Int64(min(max(units, 0), Self.mostUnits)) * Self.scale
        guard tokens >= min(wanted, capacity) else { return false }
        tokens -= wanted
        return true
    }

    /// How long until ``take(_:now:)`` of so many units can succeed, in milliseconds; 0 for now.
    public func wait(for units: Int = 1, now: Int64) -> Int64 {
        var copy = self
        copy.refill(now)
        let wanted = min(Int64(min(max(units, 0), Self.mostUnits)) * Self.scale, capacity)
        guard copy.tokens < wanted else { return 0 }
        let missing = wanted - copy.tokens
        return missing / perMillisecond + (missing % perMillisecond == 0 ? 0 : 1)
    }

    /// Whether nothing has been taken that did not come back by now.
    public func isFull(now: Int64) -> Bool {
        var copy = self
        copy.refill(now)
        return copy.tokens == capacity
    }

    private mutating func refill(_ now: Int64) {
        // Whatever is too much for a number is more than any bucket holds or owes.
        let (passed, isLong) = now.subtractingReportingOverflow(updated)
        guard isLong ? now > updated : passed > 0 else { return }
        updated = now
        let (added, overflow) = passed.multipliedReportingOverflow(by: perMillisecond)
        let (sum, overflowed) = tokens.addingReportingOverflow(added)
        tokens = isLong || overflow || overflowed ? capacity : min(sum, capacity)
    }
}
