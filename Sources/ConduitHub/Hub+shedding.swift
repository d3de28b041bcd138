package import ConduitWire
package import NIOCore

extension Hub {
    /// Clients of this node, without those that were told to go and whose connections aren't closed yet.
    package func openCount() async -> Int { await openCounts().reduce(0, +) }

    private func openCounts() async -> [Int] {
        var counts: [Int] = []
        for shard in shards { counts.append(await shard.query { $0.openCount } ?? 0) }
        return counts
    }

    /// Sends clients to other nodes, at a pace: each gets a `reconnect` event, if it knows that, and close 3001. Those who
    /// wait for their turn are served as before.
    ///
    /// - Parameters:
    ///   - count: how many; `Int.max` for all, those who come meanwhile too.
    ///   - perSecond: how many a second at most, all loops together, unless the `deadline` of a drain needs more.
    ///   - limit: how many in any second at most, with those of other orders; `perSecond` unless it is given.
    ///   - reason: what they are told. A drain takes the place of a rebalance that is under way.
    ///   - delay: the longest time that they are asked to wait.
    ///   - deadline: when all of them must have been told.
    /// - Returns: how many were told, when that is done.
    @discardableResult
    package func shed(
        count: Int = .max, perSecond: Double, limit: Int? = nil, reason: ReconnectReason,
        delay: TimeAmount = .seconds(1), by deadline: NIODeadline? = nil
    ) async -> Int {
        let order = ShedOrder(
            count: count, perSecond: perSecond, limit: limit, reason: reason, delay: delay, deadline: deadline,
            limiter: shedLimiter)
        let counts = await openCounts()
        // A shard without clients may get some before its turn is over.
        let weights = counts.map { max($0, 1) }
        let whole = weights.reduce(0, +)
        let parts = count == .max ? counts.map { _ in Int.max } : Self.parts(of: count, by: counts)
        let told = shards.indices.map { index in
            let shard = shards[index]
            let part = order.share(
                weights[index], of: whole, count: parts[index], phase: Double(index) / Double(shards.count))
            return shard.eventLoop.flatSubmit { shard.loopBound.shed(part) }
        }
        var sum = 0
        for future in told { sum += (try? await future.get()) ?? 0 }
        return sum
    }

    /// Nobody is sent away any more, until the next order.
    package func endShedding() { for shard in shards { shard.execute { $0.endShedding() } } }

    /// Splits a number in the proportion of others; what is left over goes to the largest.
    static func parts(of count: Int, by weights: [Int]) -> [Int] {
        let whole = weights.reduce(0, +)
        guard whole > 0 else { return weights.map { _ in 0 } }
        let count = min(count, whole)
        var parts = weights.map { Int((Double(count) * Double($0) / Double(whole)).rounded(.down)) }
        var rest = count - parts.reduce(0, +)
        for index in weights.indices.sorted(by: { weights[$0] > weights[$1] }) where rest > 0 {
            parts[index] += 1
            rest -= 1
        }
        return parts
    }
}
