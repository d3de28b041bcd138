import Synchronization

/// Asks a run to come to its end; it prints what it has by then.
package final class StopSignal: Sendable {
    private let flag = Atomic(false)

    package init() {}

    package func stop() { flag.store(true, ordering: .relaxed) }

    package var isStopped: Bool { flag.load(ordering: .relaxed) }
}
