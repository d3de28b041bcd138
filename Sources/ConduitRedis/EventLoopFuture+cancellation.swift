package import NIOCore

extension EventLoopFuture where Value: Sendable {
    /// As `get()`, but a task that is cancelled waits no longer; whatever the future becomes then is of no interest.
    package func getUnlessCancelled() async throws -> Value {
        let promise = eventLoop.makePromise(of: Value.self)
        cascade(to: promise)
        return try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            promise.fail(CancellationError())
        }
    }
}
