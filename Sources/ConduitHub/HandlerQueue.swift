import ConduitCore
import ConduitWire
import NIOCore

/// One client's messages for custom handlers: one at a time, in order, a bounded number waiting.
///
/// Loop-bound: owned by its ``Client``.
struct HandlerQueue {
    struct Job {
        let handler: MessageRouter.Handler
        let request: MessageRequest
        let requestID: RequestID?
    }

    private let limit: Int
    private var waiting = CircularBuffer<Job>()
    private var isRunning = false

    init(limit: Int) { self.limit = limit }

    enum Added {
        case start
        case queued
        case full
    }

    /// Takes a job; `.start` when it is to be run now.
    mutating func add(_ job: Job) -> Added {
        if !isRunning {
            isRunning = true
            return .start
        }
        if waiting.count >= limit { return .full }
        waiting.append(job)
        return .queued
    }

    /// The running job has ended; the next one, if any, is to be run now.
    mutating func finished() -> Job? {
        if let next = waiting.popFirst() { return next }
        isRunning = false
        return nil
    }
}
