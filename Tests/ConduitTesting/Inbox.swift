import NIOConcurrencyHelpers
import NIOCore

/// Nothing that was waited for came in time.
package struct TestTimeout: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}

/// The connection ended before what was waited for came.
package struct TestConnectionClosed: Error, CustomStringConvertible {
    package let description: String
}

/// Keeps what arrived until a test asks for it; every wait has an end.
final class Inbox<Element: Sendable>: Sendable {
    private struct Waiter {
        let id: UInt64
        let matches: @Sendable (Element) -> Bool
        let continuation: CheckedContinuation<Element, any Error>
    }

    private struct State {
        var elements: [Element] = []
        var waiters: [Waiter] = []
        var nextID: UInt64 = 0
        var isClosed = false
    }

    private enum Outcome {
        case found(Element)
        case closed
        case waiting(UInt64)
    }

    // Not `Mutex`: the thread sanitizer reports correct uses of it on Linux now and then.
    private let state = NIOLockedValueBox(State())
    private let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    /// What has arrived and was not taken.
    var elements: [Element] { state.withLockedValue { $0.elements } }

    func put(_ element: Element) {
        let waiter: Waiter? = state.withLockedValue { state in
            guard let index = state.waiters.firstIndex(where: { $0.matches(element) }) else {
                state.elements.append(element)
                return nil
            }
            return state.waiters.remove(at: index)
        }
        waiter?.continuation.resume(returning: element)
    }

    func close() {
        let waiters = state.withLockedValue { state in
            state.isClosed = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters {
            waiter.continuation.resume(throwing: TestConnectionClosed(description: "closed while waiting"))
        }
    }

    /// Takes the first element that matches; the others stay.
    func take(
        _ what: String, timeout: TimeAmount, where matches: @escaping @Sendable (Element) -> Bool
    ) async throws -> Element {
        try await withCheckedThrowingContinuation { continuation in
            let outcome: Outcome = state.withLockedValue { state in
                if let index = state.elements.firstIndex(where: matches) {
                    return .found(state.elements.remove(at: index))
                }
                if state.isClosed { return .closed }
                state.nextID += 1
                state.waiters.append(Waiter(id: state.nextID, matches: matches, continuation: continuation))
                return .waiting(state.nextID)
            }
            switch outcome {
            case .found(let element):
                continuation.resume(returning: element)
            case .closed:
                continuation.resume(throwing: TestConnectionClosed(description: "closed, and no \(what)"))
            case .waiting(let id):
                loop.scheduleTask(in: timeout) { self.giveUp(id, what) }
            }
        }
    }

    private func giveUp(_ id: UInt64, _ what: String) {
        let waiter: Waiter? = state.withLockedValue { state in
            state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
        }
        waiter?.continuation.resume(throwing: TestTimeout(description: "no \(what) in time"))
    }
}
