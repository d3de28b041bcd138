/// How many clients may be told to go by now: so many a second, never many at once, and more where a deadline needs it.
///
/// A value: the time is an argument. In no second more are let go than its rate says, plus one, however late it is asked.
/// What several of them let go together is bounded by a ``ShedLimiter``.
struct ShedPace {
    /// The steady rate, and the one that is taken so as not to come too close to the deadline, both of the rate that is
    /// promised. What is left is for late timers and for the grain of the delays: those who come back are to stay below
    /// it as well.
    private static let steady = 0.9
    private static let hurried = 0.97
    /// What is made up for where a timer was late, of a second's; twice as much, but two clients at most, where it is slow.
    private static let grain = 0.1

    private let perSecond: Double
    private let deadline: Int64?
    private var last: Int64
    private var credit: Double
    /// By how much the rate must be exceeded for the deadline's sake: 1 where it need not.
    private(set) var raise = 1.0

    /// Times are monotonic milliseconds; `phase` is the part of the first one that may go at once.
    init(perSecond: Double, deadline: Int64?, now: Int64, phase: Double = 0) {
        self.credit = min(max(phase, 0), 1)
        self.perSecond = max(perSecond, 0.001)
        self.deadline = deadline
        self.last = now
    }

    /// How many of those who are left may go now.
    mutating func take(of left: Int, now: Int64) -> Int {
        let elapsed = Double(max(0, now - last)) / 1_000
        last = now
        var steady = perSecond * Self.steady
        if let deadline {
            guard now < deadline else { return left }
            let needed = Double(left) * 1_000 / Double(deadline - now)
            // A second early, where the rate allows that: what is left at the deadline goes at once.
            let early = Double(left) * 1_000 / Double(max(1, deadline - now - 1_000))
            steady = max(steady, min(perSecond * Self.hurried, early), needed)
            raise = max(1, needed / perSecond)
        }
        credit = min(credit + steady * elapsed, max(1, min(2, perSecond * 2 * Self.grain), steady * Self.grain))
        let count = min(left, Int(credit))
        credit -= Double(count)
        return count
    }

    /// So many of those who might go didn't: they may the next time.
    mutating func giveBack(_ count: Int) { credit += Double(count) }

    /// Whether nothing holds them back any more.
    func isOver(now: Int64) -> Bool { deadline.map { now >= $0 } ?? false }
}
