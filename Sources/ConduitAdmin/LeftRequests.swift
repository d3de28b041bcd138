import ConduitTelemetry
import Logging
import Synchronization

/// Requests that have been answered, or that nobody waits for, while their work goes on since it heeds no cancellation.
/// Above a number of them, others are refused at once: what hangs would take ever more.
final class LeftRequests: Sendable {
    /// Most of them. Again as many for probes and metrics, which must not suffer for the API's sake.
    static let limit = 64

    private struct State {
        var next: UInt64 = 0
        var running: Set<UInt64> = []
        var left: Set<UInt64> = []
        var isTold = false
    }

    private let logger: Logger
    private let state = Mutex(State())

    init(logger: Logger) { self.logger = logger }

    /// Whether another request may begin that takes this way.
    func admits(_ route: AdminRoute) -> Bool {
        let most =
            switch route {
            // Nothing is waited for there.
            case .live, .page, .document: Int.max
            case .ready, .metrics: Self.limit * 2
            default: Self.limit
            }
        return state.withLock { $0.left.count } < most
    }

    /// Work begins; returns its number.
    func begin() -> UInt64 {
        state.withLock { state in
            state.next += 1
            state.running.insert(state.next)
            return state.next
        }
    }

    /// Nobody waits for it any more. Of work that has ended nothing is kept.
    func leave(_ number: UInt64) {
        let isFull = state.withLock { state in
            guard state.running.remove(number) != nil else { return false }
            state.left.insert(number)
            guard state.left.count >= Self.limit, !state.isTold else { return false }
            state.isTold = true
            return true
        }
        guard isFull else { return }
        logger.error(
            "admin requests don't end; others are refused", metadata: [LogKey.count: "\(Self.limit)"])
    }

    /// Its work has ended.
    func end(_ number: UInt64) {
        let isRelieved = state.withLock { state in
            state.running.remove(number)
            state.left.remove(number)
            // Not at the bound itself, where each of them would be an edge.
            guard state.isTold, state.left.count <= Self.limit / 2 else { return false }
            state.isTold = false
            return true
        }
        if isRelieved { logger.notice("admin requests end again") }
    }
}
