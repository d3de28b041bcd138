package import ConduitTelemetry

/// What became of the questions that operators asked the cluster through a node, and of those that other nodes asked it.
package struct SurveyStatistics: Sendable {
    /// Questions to which everybody has answered.
    package var complete: UInt64 = 0
    /// Questions to which somebody has not, who is named in the answer.
    package var partial: UInt64 = 0
    /// Questions that weren't asked since too many were under way.
    package var refused: UInt64 = 0
    /// Answers of other nodes that were used.
    package var taken: UInt64 = 0
    /// Answers that nobody waited for any more, or that nobody had asked for.
    package var late: UInt64 = 0
    /// Answers with more bytes than were asked for.
    package var tooLong: UInt64 = 0
    /// Answers that are none to their question.
    package var unreadable: UInt64 = 0
    /// Questions of other nodes that were answered.
    package var answered: UInt64 = 0
    /// Questions of other nodes that were left without an answer since too many were under way.
    package var unanswered: UInt64 = 0
    /// From a question of an operator to its outcome.
    package var duration = LatencyHistogram()

    package init() {}

    mutating func add(_ other: SurveyStatistics) {
        complete &+= other.complete
        partial &+= other.partial
        refused &+= other.refused
        taken &+= other.taken
        late &+= other.late
        tooLong &+= other.tooLong
        unreadable &+= other.unreadable
        answered &+= other.answered
        unanswered &+= other.unanswered
        duration.merge(other.duration)
    }

    /// Questions of this node by what became of them.
    package var questions: [String: UInt64] { ["complete": complete, "partial": partial, "refused": refused] }
    /// Answers to them by what became of those.
    package var answers: [String: UInt64] {
        ["taken": taken, "late": late, "too_long": tooLong, "unreadable": unreadable]
    }
    /// Questions of other nodes by what became of them.
    package var questionsReceived: [String: UInt64] { ["answered": answered, "refused": unanswered] }
}
