/// Clients that this node has sent to others and that no node has counted again yet.
///
/// Bounded by time: who hasn't come back within a minute isn't waited for. A value: times are arguments.
struct ClientsUnderWay {
    private static let patience = Duration.seconds(60)

    private var parts: [(until: ContinuousClock.Instant, count: Int)] = []
    private var expected: (total: Int, nodes: Int)?

    /// How many.
    var count: Int { parts.reduce(0) { $0 + $1.count } }

    /// What all nodes have now: what is more than was left by the last step has come back, the earliest first.
    mutating func look(total: Int, nodes: Int, now: ContinuousClock.Instant = .now) {
        parts.removeAll { $0.until <= now }
        if let expected, expected.nodes == nodes {
            var back = max(0, total - expected.total)
            while back > 0, let first = parts.first {
                let taken = min(back, first.count)
                back -= taken
                parts[0].count -= taken
                if first.count == taken { parts.removeFirst() }
            }
        }
        expected = (total, nodes)
    }

    /// So many are sent away from now on.
    mutating func sent(_ count: Int, now: ContinuousClock.Instant = .now) {
        guard count > 0 else { return }
        parts.append((now + Self.patience, count))
        if let expected { self.expected = (expected.total - count, expected.nodes) }
    }
}
