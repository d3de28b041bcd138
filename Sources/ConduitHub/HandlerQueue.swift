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

    private var limit: Int
    private var byteLimit: Int
    private var waitingBytes = 0
    private var waiting = CircularBuffer<Job>()
    private var isRunning = false

    /// `limit` jobs may wait, and `byteLimit` bytes of data.
    init(limit: Int, byteLimit: Int) {
        self.limit = limit
        self.byteLimit = byteLimit
    }

    /// Other bounds from now on; who waits may stay.
    mutating func reload(limit: Int, byteLimit: Int) {
        self.limit = limit
        self.byteLimit = byteLimit
    }

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
        let bytes = job.request.data.buffer.readableBytes
        if waiting.count >= limit || waitingBytes + bytes > byteLimit { return .full }
        waiting.append(job)
        waitingBytes += bytes
        return .queued
    }

    /// The running job has ended; the next one, if any, is to be run now.
    mutating func finished() -> Job? {
        if let next = waiting.popFirst() {
            waitingBytes -= next.request.data.buffer.readableBytes
            return next
        }
        isRunning = false
        return nil
    }
}
