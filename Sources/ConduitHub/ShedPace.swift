/// How many clients may be told to go by now: so many a second, never many at once, and more where a deadline needs it.
///
/// A value: the time is an argument. In no second more are let go than its rate says, plus one, however late it is asked.
struct ShedPace {
    /// The steady rate, and what is let go in any second at most where a late timer makes up for something, both of the rate
    /// that is promised. What is left is for the grain of the delays: those who come back are to stay below it as well.
    private static let steady = 0.9
    private static let most = 0.975
    /// What is made up for at least, of a second's: more than one turn of the timer.
    private static let grain = 0.03

    private let perSecond: Double
    private let deadline: Int64?
    private var last: Int64
    private var credit: Double

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
            steady = max(steady, Double(left) * 1_000 / Double(deadline - now))
        }
        let most = max(1, steady * Self.grain, perSecond * Self.most - steady)
        credit = min(credit + steady * elapsed, most)
        let count = min(left, Int(credit))
        credit -= Double(count)
        return count
    }
}
