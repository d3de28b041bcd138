package import ConduitCore
package import ConduitWire
import NIOCore

/// What came of a question to the nodes of a cluster.
package struct SurveyOutcome: Sendable {
    /// What each node found that answered in time.
    package var answers: [NodeID: SurveyFindings]
    /// Nodes that did not, sorted; `redis` when they could not be asked.
    package var unreachable: [String]

    package init(answers: [NodeID: SurveyFindings] = [:], unreachable: [String] = []) {
        self.answers = answers
        self.unreachable = unreachable
    }
}

/// The questions of one node that others still owe an answer to. A value without a clock.
struct SurveyTable {
    /// Questions at a time.
    static let limit = 64
    /// Bytes of the answers to all of them together, about: they come over the subscription that messages come over, and
    /// a subscriber that is sent too much is cut by Redis.
    static let answersBytes = 8 << 20
    /// Every node may say this much, unless there are more than 256 of them.
    static let leastAnswerBytes = 32 * 1024

    /// What becomes of an answer.
    enum Reception: Hashable {
        case taken
        /// Nobody waits for it.
        case late
        /// It has more bytes than were asked for; who gave it is named as if there were none.
        case tooLong
    }

    private struct Entry {
        var awaited: Set<NodeID>
        var outcome: SurveyOutcome
        /// What its answers may have, all together.
        let bytes: Int
        /// What one of them may have.
        let answerBytes: Int
        let done: @Sendable (SurveyOutcome) -> Void
    }

    private var entries: [UInt64: Entry] = [:]

    /// Questions that are under way.
    var count: Int { entries.count }

    /// Bytes that each of so many other nodes may answer with: half of what is left, so that one long list leaves room
    /// for others. `nil` when too much is under way; one question alone may always be asked.
    func answerBytes(of nodes: Int) -> Int? {
        let taken = entries.values.reduce(0) { $0 + $1.bytes }
        let left = max(0, Self.answersBytes - taken)
        guard taken == 0 || nodes * Self.leastAnswerBytes <= left else { return nil }
        let nodes = max(1, nodes)
        let least = min(Self.leastAnswerBytes, left / nodes)
        return min(SurveyRequest.maximumBytes, max(least, left / 2 / nodes))
    }

    /// Begins to wait for nodes; `false` when too many questions are under way. `done` is called by nobody here: it
    /// comes back with the outcome.
    mutating func begin(
        _ number: UInt64, awaiting nodes: Set<NodeID>, unreachable: [String], bytes: Int = 0, answerBytes: Int = .max,
        _ done: @escaping @Sendable (SurveyOutcome) -> Void
    ) -> Bool {
        guard entries.count < Self.limit, entries[number] == nil else { return false }
        let outcome = SurveyOutcome(unreachable: unreachable)
        entries[number] = Entry(
            awaited: nodes, outcome: outcome, bytes: bytes, answerBytes: answerBytes, done: done)
        return true
    }

    /// A node has answered.
    mutating func answered(_ number: UInt64, by node: NodeID, _ findings: SurveyFindings) -> Reception {
        guard let entry = entries[number], entry.awaited.contains(node) else { return .late }
        entries[number]?.awaited.remove(node)
        guard findings.body.readableBytes <= entry.answerBytes else {
            entries[number]?.outcome.unreachable.append(node.rawValue)
            return .tooLong
        }
        entries[number]?.outcome.answers[node] = findings
        return .taken
    }

    /// Takes out a question that everybody has answered, or whoever it is (`isLate`): those who owe an answer are named.
    mutating func finish(
        _ number: UInt64, isLate: Bool
    ) -> (outcome: SurveyOutcome, done: @Sendable (SurveyOutcome) -> Void)? {
        guard let entry = entries[number], isLate || entry.awaited.isEmpty else { return nil }
        entries[number] = nil
        var outcome = entry.outcome
        outcome.unreachable += entry.awaited.map(\.rawValue)
        outcome.unreachable.sort()
        return (outcome, entry.done)
    }

    /// The numbers of all questions.
    var numbers: [UInt64] { Array(entries.keys) }
}
