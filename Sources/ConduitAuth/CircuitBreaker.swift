/// Stops asking somebody who doesn't answer. A value: the time comes in, the decision goes out.
///
/// Closed, every question goes through. After some failures in a row it opens, and nothing is asked for a while. Then it
/// is half open: one question tries, and its fate decides.
struct CircuitBreaker: Sendable {
    enum State: Hashable, Sendable {
        case closed
        case open(until: ContinuousClock.Instant)
        case halfOpen
    }

    /// What an answer has changed.
    enum Change: Hashable, Sendable {
        case none, opened, closed
    }

    private(set) var state = State.closed
    private var failures = 0
    private let limit: Int
    private let pause: Duration

    init(failures limit: Int, pause: Duration) {
        self.limit = max(1, limit)
        self.pause = pause
    }

    /// Whether it is of no use to come now.
    func isShut(at now: ContinuousClock.Instant) -> Bool {
        switch state {
        case .closed: false
        case .halfOpen: true
        case .open(let end): now < end
        }
    }

    /// Whether a question may be asked now; whoever asks must say how it went.
    mutating func mayAsk(at now: ContinuousClock.Instant) -> Bool {
        switch state {
        case .closed: return true
        case .halfOpen: return false
        case .open(let end):
            guard now >= end else { return false }
            state = .halfOpen
            return true
        }
    }

    /// An answer came, whatever it says.
    mutating func succeeded() -> Change {
        failures = 0
        defer { state = .closed }
        return state == .closed ? .none : .closed
    }

    /// No answer came, or none that can be used.
    mutating func failed(at now: ContinuousClock.Instant) -> Change {
        switch state {
        case .closed:
            failures += 1
            guard failures >= limit else { return .none }
            state = .open(until: now + pause)
            return .opened
        case .halfOpen:
            state = .open(until: now + pause)
            return .none
        // A question of before it opened.
        case .open: return .none
        }
    }

    /// The question was given up by who asked; that says nothing.
    mutating func abandoned(at now: ContinuousClock.Instant) {
        // Somebody else may try at once.
        if state == .halfOpen { state = .open(until: now) }
    }
}
