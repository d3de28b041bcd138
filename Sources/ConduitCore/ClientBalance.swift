/// Whether a node has more clients than its share of the cluster's, and how many it may send to the others now.
///
/// A value: counts and times are arguments. Each node decides for itself, and none sends away what would take it below
/// the mean, so that no client is sent to and fro.
package struct ClientBalance: Sendable {
    private let share: Double
    private let tolerance: Double
    /// Parts of clients that earlier steps had no whole client for.
    private var credit = 0.0
    /// Whether it was above the tolerance and isn't near the mean yet.
    package private(set) var isShedding = false

    /// - Parameters:
    ///   - share: percent of its own clients that a node sends away in a minute.
    ///   - tolerance: percent above the mean that is left alone.
    package init(share: Int, tolerance: Int) {
        self.share = Double(max(1, share)) / 100
        self.tolerance = Double(max(0, tolerance)) / 100
    }

    /// How many clients to send away in the next `seconds`: begins above the tolerance and ends at half of it.
    ///
    /// - Parameter inFlight: clients that were sent away and that the others may not have counted yet.
    package mutating func step(own: Int, others: [Int], inFlight: Int = 0, seconds: Double) -> Int {
        guard !others.isEmpty else {
            pause()
            return 0
        }
        let mean = Self.mean(own: own + inFlight, others: others)
        let over = Double(own) - mean
        let isOver = over >= 1 && over > mean * (isShedding ? tolerance / 2 : tolerance)
        // With some on their way the mean may look higher than it is: only what is sure ends it.
        if isOver || inFlight == 0 { isShedding = isOver }
        guard isOver else {
            credit = 0
            return 0
        }
        credit = min(credit + Double(own) * share * max(0, seconds) / 60, over)
        let count = Int(credit)
        credit -= Double(count)
        return count
    }

    /// Whether it would begin to send clients away.
    package func hasSurplus(own: Int, others: [Int]) -> Bool {
        let mean = Self.mean(own: own, others: others)
        let over = Double(own) - mean
        return !others.isEmpty && over >= 1 && over > mean * tolerance
    }

    /// Nothing is sent away for now.
    package mutating func pause() {
        isShedding = false
        credit = 0
    }

    /// Clients of a node, if all had the same.
    package static func mean(own: Int, others: [Int]) -> Double {
        others.reduce(Double(own)) { $0 + Double($1) } / Double(others.count + 1)
    }
}
