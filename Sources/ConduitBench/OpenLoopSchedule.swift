/// When each message of an open loop is due: message `k` of all publishers at `start + k / rate`, whatever the server
/// does. A loop keeps the part of its own publishers.
///
/// A message that goes out late keeps the time at which it was due, so that the wait counts as latency: that is what
/// keeps the percentiles free of coordinated omission.
package struct OpenLoopSchedule: Sendable {
    private let start: UInt64
    private let nanosecondsPerMessage: Double
    private let publishers: Int
    private let own: [Int]
    private var round = 0
    private var place = 0

    /// - Parameters:
    ///   - rate: messages a second of all publishers together.
    ///   - publishers: how many there are on all loops.
    ///   - own: those of this loop, ascending.
    package init(start: UInt64, rate: Double, publishers: Int, own: [Int]) {
        self.start = start
        self.nanosecondsPerMessage = 1e9 / rate
        self.publishers = publishers
        self.own = own
    }

    /// When the next message of this loop is due; `nil` without publishers.
    package var nextDue: UInt64? {
        guard place < own.count else { return nil }
        let offset = Double(round * publishers + own[place]) * nanosecondsPerMessage
        guard offset < 1e18 else { return nil }
        return start + UInt64(offset)
    }

    /// The next message if it is due by now.
    package mutating func next(at now: UInt64) -> (publisher: Int, due: UInt64)? {
        guard let due = nextDue, due <= now else { return nil }
        let publisher = own[place]
        place += 1
        if place == own.count {
            place = 0
            round += 1
        }
        return (publisher, due)
    }
}
