import ConduitTelemetry
import Synchronization

/// The settings that a node runs with now, and what was counted of their changes.
final class LiveConfiguration: Sendable {
    private struct State {
        var current: NodeConfiguration
        var results: [String: UInt64] = ["changed": 0, "unchanged": 0, "failed": 0]
        /// Seconds since 1970.
        var reloadedAt: Double
        var last: Task<Void, Never>?
    }

    private let state: Mutex<State>

    init(_ configuration: NodeConfiguration) {
        state = Mutex(State(current: configuration, reloadedAt: Double(WallClock.milliseconds) / 1000))
    }

    var current: NodeConfiguration { state.withLock { $0.current } }

    /// How often which result came, and when a configuration was last read well, in seconds since 1970.
    var figures: (results: [String: UInt64], reloadedAt: Double) { state.withLock { ($0.results, $0.reloadedAt) } }

    func failed() { state.withLock { $0.results["failed", default: 0] += 1 } }

    func took(_ configuration: NodeConfiguration, isChanged: Bool) {
        state.withLock {
            $0.current = configuration
            $0.results[isChanged ? "changed" : "unchanged", default: 0] += 1
            $0.reloadedAt = Double(WallClock.milliseconds) / 1000
        }
    }

    /// Does something when everything is done that was asked for before.
    func serially<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let task = state.withLock { state in
            let previous = state.last
            let task = Task {
                await previous?.value
                return try await body()
            }
            state.last = Task { _ = await task.result }
            return task
        }
        return try await task.value
    }
}
