package import ConduitCore
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
    /// Asks all nodes, or one, and returns what they said within `admin.survey-timeout`.
    ///
    /// - Throws: ``ConduitCore/RequestError`` with `unavailable` when too many questions are under way.
    package func survey(
        _ question: SurveyQuestion, of target: NodeID? = nil
    ) async throws(RequestError) -> SurveyOutcome {
        let asked = eventLoop.flatSubmit { [bridges, eventLoop] in
            let promise = eventLoop.makePromise(of: Result<SurveyOutcome, RequestError>.self)
            if let bridge = bridges.value?[ServerChoice.common] {
                bridge.survey(question, of: target) { promise.succeed($0) }
            } else {
                promise.succeed(.failure(RequestError(.unavailable, "the node is starting")))
            }
            return promise.futureResult
        }
        guard let result = try? await asked.get() else {
            throw RequestError(.unavailable, "the node is stopping")
        }
        return try result.get()
    }

    /// What the log of an ordered room holds behind a place, or its newest messages; with `limit` 0 where it ends.
    /// `nil` when that can't be told, or not within `admin.survey-timeout`.
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
        return (try? await asked.get()) ?? nil
    }

    static func rosterCounts(_ bridges: [Bridge]?, _ choice: ServerChoice, _ names: [RoomName]) -> [Int] {
        guard let bridges else { return [] }
        return names.map { bridges[choice.index(of: $0)].presence.count(of: $0) }
    }
}
