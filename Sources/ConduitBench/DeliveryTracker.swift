/// What one recipient has had of one publisher: exact, whatever is lost, doubled or out of order.
///
/// Numbers count from 1. While all is in order it is two words; what is missing is kept as ranges.
package struct DeliveryTracker: Sendable {
    package enum Verdict: Sendable, Hashable {
        /// Not had before, and none after it.
        case new
        /// Not had before, but later ones were.
        case reordered
        case duplicate
    }

    /// Most ranges that are remembered. When there are more, the oldest is settled: it counts as lost, and what should
    /// still come of it as duplicate.
    package static let maximumGaps = 1024

    /// The highest number had.
    package private(set) var highest: UInt32 = 0
    /// Numbers below ``highest`` that have not come, ascending.
    private var gaps: [ClosedRange<UInt32>] = []
    private var settledAsLost: UInt32 = 0

    package init() {}

    /// Messages had, each once.
    package var received: UInt64 { UInt64(highest) - missing }

    private var missing: UInt64 {
        gaps.reduce(UInt64(settledAsLost)) { $0 + UInt64($1.count) }
    }

    /// What is missing of the `sent` messages.
    package func lost(of sent: UInt32) -> UInt64 {
        UInt64(sent) > received ? UInt64(sent) - received : 0
    }

    /// Takes note of a number, which must not be 0.
    package mutating func receive(_ number: UInt32) -> Verdict {
        if number == highest &+ 1 {
            highest = number
            return .new
        }
        if number > highest {
            gaps.append(highest + 1...number - 1)
            highest = number
            if gaps.count > Self.maximumGaps { settledAsLost &+= UInt32(gaps.removeFirst().count) }
            return .new
        }
        guard let index = gaps.firstIndex(where: { $0.contains(number) }) else { return .duplicate }
        let gap = gaps[index]
        var rest: [ClosedRange<UInt32>] = []
        if gap.lowerBound < number { rest.append(gap.lowerBound...number - 1) }
        if number < gap.upperBound { rest.append(number + 1...gap.upperBound) }
        gaps.replaceSubrange(index...index, with: rest)
        return .reordered
    }
}
