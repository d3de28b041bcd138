import ConduitCore

/// What a node that sends clients to others does in each step: what the balance asks for, as far as clients arrive.
///
/// A value: counts and times are arguments.
struct RebalanceSteps {
    private(set) var balance: ClientBalance
    private(set) var watch = ArrivalWatch()
    private var away = ClientsUnderWay()

    init(share: Int, tolerance: Int) { balance = ClientBalance(share: share, tolerance: tolerance) }

    /// The cluster can't be seen, or nodes come and go.
    mutating func pause() { balance.pause() }

    /// How many to send away in this step, and what was found out about those who were sent before.
    ///
    /// - Parameters:
    ///   - isPushed: an operator wants it now, whatever was found out.
    ///   - seconds: how long the step takes.
    ///   - most: what the pace has room for in that time.
    mutating func step(
        own: Int, others: [NodeID: Int], isPushed: Bool, seconds: Double, most: Int, now: ContinuousClock.Instant = .now
    ) -> (count: Int, edge: ArrivalWatch.Edge?) {
        let counts = Array(others.values)
        away.look(total: own + counts.reduce(0, +), nodes: others.count, now: now)
        if isPushed { watch.tryNow() }
        let edge = watch.look(others: others, mean: ClientBalance.mean(own: own + away.count, others: counts))
        var count = 0
        if watch.allowance > 0 || !watch.isHalted {
            count = balance.step(own: own, others: counts, inFlight: away.count, seconds: seconds)
            count = min(count, watch.allowance, most)
            if !balance.isShedding { watch.settle() }
        } else {
            balance.pause()
            // Clients come and go by themselves: when nobody has to be sent any more, nothing is halted. As long as some are
            // under way the node may only seem to have fewer.
            if away.count == 0, !balance.hasSurplus(own: own, others: counts) { watch.settle() }
        }
        watch.sent(count)
        away.sent(count, now: now)
        return (count, edge)
    }
}
