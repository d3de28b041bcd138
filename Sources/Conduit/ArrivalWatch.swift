import ConduitCore

/// Whether clients that this node sends away arrive at the nodes that have fewer, and when to try again where they don't.
///
/// A node says itself whether it takes clients; only the balancer knows whether it gets any. Where its check fails or its
/// weight is 0, those who are sent away come back to where they were, and would be sent away for ever. A value that is
/// asked once a step; a step is long enough for two heartbeats and the longest delay of a client.
struct ArrivalWatch {
    /// What has just been found out.
    enum Edge: Hashable {
        /// Of so many only so many have arrived: nobody is sent away for now.
        case halted(sent: Int, arrived: Int)
        /// They arrive again.
        case resumed
    }

    private enum Mode {
        case flowing
        /// Steps until some are sent to try, and what the next pause will be.
        case pausing(left: Int, next: Int)
        /// Some are sent to try.
        case probing(next: Int)
    }

    /// The first pause and the longest one, in steps: half a minute and an hour where a step is five seconds.
    static let firstPause = 6
    static let longestPause = 720
    /// How many are sent to try, and the least that something is concluded from.
    static let probe = 4

    private var mode = Mode.flowing
    /// The nodes that had fewer than the mean when the first one was sent, and their clients then.
    private var baseline: [NodeID: Int] = [:]
    /// The others at the last look: who isn't among them has just come.
    private var known: Set<NodeID> = []
    /// How many have been sent since the last look, and since the one before.
    private var last = 0
    private var before = 0
    /// How many have had the time to arrive and to be counted.
    private var settled = 0

    var isHalted: Bool {
        if case .flowing = mode { false } else { true }
    }

    /// How many may be sent in this step.
    var allowance: Int {
        switch mode {
        case .flowing: .max
        case .pausing: 0
        case .probing: max(0, Self.probe - last - before - settled)
        }
    }

    /// The next step tries again, however long the pause was to be.
    mutating func tryNow() {
        if case .pausing(_, let next) = mode { beginProbe(next) }
    }

    /// What the others have now.
    mutating func look(others: [NodeID: Int], mean: Double) -> Edge? {
        settled += before
        before = last
        last = 0
        // Others are there now, or are full: what went before says nothing about them. Who comes may be one that gets clients.
        let hasGone = !baseline.keys.allSatisfy { others[$0] != nil }
        let hasCome = others.contains { !known.contains($0.key) && Double($0.value) < mean }
        known = Set(others.keys)
        if baseline.isEmpty || hasGone || hasCome {
            begin(others, mean)
            probeSoon()
        }
        let arrived = baseline.keys.reduce(0) { $0 + (others[$1] ?? 0) } - baseline.values.reduce(0, +)
        switch mode {
        case .flowing:
            guard settled >= needed else { return nil }
            let sent = settled
            begin(others, mean)
            guard arrived * 2 < sent else { return nil }
            mode = .pausing(left: Self.firstPause, next: Self.firstPause * 2)
            return .halted(sent: sent, arrived: max(0, arrived))
        case .pausing(let left, let next):
            // New clients, or those of other nodes: the balancer sends some there.
            if arrived >= needed { return resume(others, mean) }
            guard left > 1 else {
                beginProbe(next)
                begin(others, mean)
                return nil
            }
            mode = .pausing(left: left - 1, next: next)
            return nil
        case .probing(let next):
            guard settled > 0, last + before == 0 else { return nil }
            let sent = settled
            if arrived * 2 >= sent { return resume(others, mean) }
            begin(others, mean)
            mode = .pausing(left: next, next: min(next * 2, Self.longestPause))
            return nil
        }
    }

    /// So many are sent in the step that begins.
    mutating func sent(_ count: Int) { last += count }

    /// Nobody has to be sent: there is nothing to find out.
    mutating func settle() {
        mode = .flowing
        baseline = [:]
        settled = 0
    }

    /// The least that something is concluded from: clients come and go by themselves, too.
    private var needed: Int { max(Self.probe, baseline.values.reduce(0, +) / 100) }

    private mutating func begin(_ others: [NodeID: Int], _ mean: Double) {
        baseline = others.filter { Double($0.value) < mean }
        forget()
    }

    private mutating func beginProbe(_ next: Int) {
        mode = .probing(next: next)
        forget()
    }

    /// A long pause becomes a short one: a node that comes is with the balancer by then. One that comes and goes has no more
    /// than a few clients sent to it each time.
    private mutating func probeSoon() {
        guard case .pausing(let left, _) = mode else { return }
        mode = .pausing(left: min(left, Self.firstPause), next: Self.firstPause * 2)
    }

    /// Who was sent before may be in the baseline already, or may come yet: only those who follow are waited for.
    private mutating func forget() {
        last = 0
        before = 0
        settled = 0
    }

    private mutating func resume(_ others: [NodeID: Int], _ mean: Double) -> Edge {
        mode = .flowing
        begin(others, mean)
        return .resumed
    }
}
