import NIOCore

/// Brings answers that come from several servers back into the order of the questions. A value.
package struct RedisAnswerOrder<Answer> {
    private var answers = CircularBuffer<Answer?>()
    private var base: UInt64 = 0

    package init() {}

    /// Questions whose turn hasn't come.
    package var count: Int { answers.count }

    /// A question; its answer is given under this number.
    package mutating func ask() -> UInt64 {
        answers.append(nil)
        return base + UInt64(answers.count) - 1
    }

    /// An answer. One that nobody waits for is ignored.
    package mutating func answer(_ number: UInt64, _ answer: Answer) {
        guard number >= base, number - base < UInt64(answers.count) else { return }
        answers[answers.index(answers.startIndex, offsetBy: Int(number - base))] = answer
    }

    /// The next answer in turn.
    package mutating func next() -> Answer? {
        guard case .some(.some(let answer)) = answers.first else { return nil }
        answers.removeFirst()
        base += 1
        return answer
    }

    /// Nobody waits any more.
    package mutating func removeAll() {
        base += UInt64(answers.count)
        answers.removeAll()
    }
}
