import ConduitGateway
import ConduitTelemetry
import Synchronization

/// Counts for all who authenticate: a few times a connection, never by a message.
final class AuthCounters: Sendable {
    private let figures = Mutex(AuthStatistics())

    var snapshot: AuthStatistics { figures.withLock { $0 } }

    func count(_ result: String) { figures.withLock { $0.results[result, default: 0] += 1 } }

    func hook(_ result: String) { figures.withLock { $0.hookResults[result, default: 0] += 1 } }

    func hook(_ result: String, took time: Duration) {
        figures.withLock {
            $0.hookResults[result, default: 0] += 1
            $0.hookLatency.record(microseconds: Int64(time / .microseconds(1)))
        }
    }

    /// Others than before are asked; what was counted stays.
    func restarted() {
        figures.withLock {
            $0.breaker = nil
            $0.keySetKeys = nil
            $0.keySetReadAt = nil
        }
    }

    /// Those before go on.
    func restored(_ before: AuthStatistics) {
        figures.withLock {
            $0.breaker = before.breaker
            $0.keySetKeys = before.keySetKeys
            $0.keySetReadAt = before.keySetReadAt
        }
    }

    func breaker(_ state: AuthStatistics.Breaker) { figures.withLock { $0.breaker = state } }

    func fetched(_ isGood: Bool) {
        figures.withLock { $0.keySetReadings[isGood ? "read" : "failed", default: 0] += 1 }
    }

    func loaded(keys: Int) {
        let now = WallClock.milliseconds
        figures.withLock {
            $0.keySetKeys = keys
            $0.keySetReadAt = now
        }
    }
}
