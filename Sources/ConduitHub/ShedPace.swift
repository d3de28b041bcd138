/// How many clients may be told to go by now: so many a second, never many at once, and more where a deadline needs it.
///
/// A value: the time is an argument. In no second more are let go than its rate says, plus one, however late it is asked.
struct ShedPace {
    /// What a late timer may make up for at once, of a second's; the steady rate is less by as much. It leaves room for the
    /// grain of the delays, too: those who come back are to stay below the rate as well.
    private static let burst = 0.1

    private let perSecond: Double
    private let deadline: Int64?
    private var last: Int64
    private var credit = 0.0

    /// Times are monotonic milliseconds.
    init(perSecond: Double, deadline: Int64?, now: Int64) {
        self.perSecond = max(perSecond, 0.001)
        self.deadline = deadline
        self.last = now
    }

    /// How many of those who are left may go now.
    mutating func take(of left: Int, now: Int64) -> Int {
        let elapsed = Double(max(0, now - last)) / 1_000
        last = now
        var steady = perSecond * (1 - Self.burst)
        if let deadline {
            guard now < deadline else { return left }
            steady = max(steady, Double(left) * 1_000 / Double(deadline - now))
        }
        credit = min(credit + steady * elapsed, max(1, max(steady, perSecond) * Self.burst))
        let count = min(left, Int(credit))
        credit -= Double(count)
        return count
    }
}
