package import ConduitCore
import ConduitRedis
import ConduitTelemetry
package import ConduitWire
package import NIOCore

/// What the log of an ordered room holds.
package struct RoomLog: Sendable {
    /// Empty when the room has no log.
    package let epoch: String
    /// Of the log's top.
    package let offset: UInt64
    /// Client envelopes with their offsets, oldest first.
    package let messages: [ByteBuffer]

    package init(epoch: String, offset: UInt64, messages: [ByteBuffer] = []) {
        self.epoch = epoch
        self.offset = offset
        self.messages = messages
    }
}

/// Questions of operators. They wait for answers, a bounded time; nothing that carries a message does.
extension BridgeRef {
    /// Asks all nodes, or one, and returns what they said within `admin.survey-timeout`, or until the task is cancelled.
    ///
    /// - Throws: ``ConduitCore/RequestError`` with `unavailable` when too many questions are under way.
    package func survey(
        _ question: SurveyQuestion, of target: NodeID? = nil
    ) async throws(RequestError) -> SurveyOutcome {
        let began = ContinuousClock.now
        let number = UInt64.random(in: 1...UInt64.max)
        let asked = eventLoop.flatSubmit { [bridges, eventLoop] in
            let promise = eventLoop.makePromise(of: Result<SurveyOutcome, RequestError>.self)
            if let bridge = bridges.value?[ServerChoice.common] {
                bridge.survey(question, of: target, number: number) { promise.succeed($0) }
            } else {
                promise.succeed(.failure(RequestError(.unavailable, "the node is starting")))
            }
            return promise.futureResult
        }
        let result = await withTaskCancellationHandler {
            try? await asked.get()
        } onCancel: {
            withBridge(ServerChoice.common) { $0.endSurvey(number, isLate: true) }
        }
        guard let result else { throw RequestError(.unavailable, "the node is stopping") }
        let told = try result.get()
        // Here, and not on the loop: it is to look at every row.
        let outcome = told.readable(as: question)
        let others = outcome.answers.keys.count { $0 != node }
        let duration = Int64((ContinuousClock.now - began) / .microseconds(1))
        withBridge(ServerChoice.common) { bridge in
            bridge.counters.surveys.taken &+= UInt64(others)
            bridge.counters.surveys.unreadable &+= UInt64(told.answers.count - outcome.answers.count)
            if outcome.unreachable.isEmpty {
                bridge.counters.surveys.complete &+= 1
            } else {
                bridge.counters.surveys.partial &+= 1
            }
            bridge.counters.surveys.duration.record(microseconds: duration)
        }
        return outcome
    }

    /// What the log of an ordered room holds behind a place, or its newest messages; with `limit` 0 where it ends.
    /// `nil` when that can't be told, or not within `admin.survey-timeout`, or not before the task is cancelled.
    package func log(of room: RoomName, since: RecoveryPoint? = nil, limit: Int) async -> RoomLog? {
        let patience = TimeAmount.milliseconds(configuration.surveyMilliseconds)
        let asked = eventLoop.flatSubmit { [bridges, eventLoop, choice] in
            let promise = eventLoop.makePromise(of: RoomLog?.self)
            let isAnswered = NIOLoopBoundBox(false, eventLoop: eventLoop)
            let answer: @Sendable (RoomLog?) -> Void = { log in
                guard !isAnswered.value else { return }
                isAnswered.value = true
                promise.succeed(log)
            }
            if let bridge = bridges.value?[choice.index(of: room)] {
                eventLoop.scheduleTask(in: patience) { answer(nil) }
                bridge.readLog(room, since: since, most: limit, answer)
            } else {
                answer(nil)
            }
            return promise.futureResult
        }
        return (try? await asked.getUnlessCancelled()) ?? nil
    }

    static func rosterCounts(_ bridges: [Bridge]?, _ choice: ServerChoice, _ names: [RoomName]) -> [Int] {
        guard let bridges else { return [] }
        return names.map { bridges[choice.index(of: $0)].presence.count(of: $0) }
    }
}
