import ConduitCore
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// The way of a message to the application's handlers and of their answers back.
extension Shard {
    func custom(_ command: Command, _ client: Client) throws(RequestError) {
        let type = command.type
        guard let handler = router[type] else {
            throw RequestError(.unknownType, "no handler for this type")
        }
        let request = MessageRequest(
            client: handle(of: client), identity: client.identity, type: type,
            data: RawJSON(validated: command.dataJSON.detached))
        let job = HandlerQueue.Job(handler: handler, request: request, requestID: command.id?.detached)
        var queue =
            client.handlerQueue.take()
            ?? HandlerQueue(
                limit: configuration.handlerQueue, byteLimit: configuration.pendingBytes)
        let added = queue.add(job)
        client.handlerQueue = queue
        switch added {
        case .start: run(job)
        case .queued: break
        case .full: throw RequestError(.rateLimited, "too many requests wait for their handlers", limit: .handlerQueue)
        }
    }

    private func run(_ job: HandlerQueue.Job) {
        let home = neighbours[index]
        Task {
            let outcome: Result<Reply?, RequestError>
            do {
                outcome = .success(try await job.handler(job.request))
            } catch let error as RequestError {
                outcome = .failure(error)
            } catch {
                outcome = .failure(RequestError(.internal, "the handler failed"))
                home.execute { shard in
                    shard.limitedLog.log(
                        .warning, "message handler failed",
                        [LogKey.reason: "\(job.request.type)", LogKey.error: "\(error)"])
                }
            }
            home.execute { $0.finished(job, outcome) }
        }
    }

    private func finished(_ job: HandlerQueue.Job, _ outcome: Result<Reply?, RequestError>) {
        guard let client = client(job.request.client.id) else { return }
        switch outcome {
        case .success(let reply?):
            let message = EventEncoder.envelope(type: reply.type, data: reply.data.buffer, id: job.requestID)
            queue(message.frame, for: client)
        case .success(nil): break
        case .failure(let error): answer(error, to: client, id: job.requestID, type: job.request.type)
        }
        guard var queue = client.handlerQueue.take() else { return }
        if let next = queue.finished() {
            client.handlerQueue = queue
            run(next)
        } else if client.isOpen {
            client.handlerQueue = nil
        }
    }
}
