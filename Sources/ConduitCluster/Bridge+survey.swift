import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

// What operators ask of the whole cluster: any node asks the others, waits a bounded time and names who is silent.
extension Bridge {
    /// Questions that a node finds answers to at once.
    private static let answersLimit = 64
    /// The same for commands, which are short work and must not be left undone for the sake of lists.
    private static let commandsLimit = 1_024

    /// Asks this node and the others, or one node. `done` is called on the loop, within the time that nodes have to answer
    /// or with ``endSurvey(_:isLate:)``; it fails when too many questions are under way.
    ///
    /// - Parameter number: the question's, which no other has.
    func survey(
        _ question: SurveyQuestion, of target: NodeID?, number: UInt64,
        _ done: @escaping @Sendable (Result<SurveyOutcome, RequestError>) -> Void
    ) {
        guard phase != .closed else { return done(.failure(RequestError(.unavailable, "the node is stopping"))) }
        var awaited: Set<NodeID> = []
        var unreachable: [String] = []
        if target == nil || target == node { awaited.insert(node) }
        if target != node, phase != .alone {
            if status.value == .connected {
                let others = directory.nodes.filter { target == nil || target == $0.key }
                awaited.formUnion(others.filter { $0.value.state != .lost }.keys)
                unreachable += others.filter { $0.value.state == .lost }.map(\.key.rawValue)
                awaited.formUnion(newcomers.filter { target == nil || target == $0 })
            } else {
                unreachable.append("redis")
            }
        }
        let others = awaited.subtracting([node])
        var bytes: Int? = SurveyTable.leastAnswerBytes
        if question.hasLongAnswer { bytes = surveys.answerBytes(of: others.count) }
        guard let bytes,
            surveys.begin(
                number, awaiting: awaited, unreachable: unreachable,
                bytes: question.hasLongAnswer ? bytes * others.count : 0, answerBytes: bytes, { done(.success($0)) })
        else {
            counters.surveys.refused &+= 1
            return done(.failure(RequestError(.unavailable, "too many questions to the cluster are under way")))
        }
        let request = SurveyRequest(number: number, answerBytes: bytes, question: question)
        if !others.isEmpty { ask(request, target.map { .node($0) } ?? .control) }
        if awaited.contains(node) {
            find(request) { $0.answered(SurveyAnswer(number: number, findings: $1), by: $0.node) }
        }
        if awaited.isEmpty { return endSurvey(number, isLate: true) }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(configuration.surveyMilliseconds)) { [weak self] in
            self?.endSurvey(number, isLate: true)
        }
    }

    private func ask(_ request: SurveyRequest, _ topic: BusTopic) {
        var writer = NodeEnvelopeWriter()
        writer.append { ControlMessage.ask(request).write(to: &$0) }
        // Nodes that know no questions do it by this, uncounted; for the others there is nothing left to do.
        if case .disconnect(let target) = request.question {
            writer.append { ControlMessage.disconnect(target, code: CloseReason.forceDisconnect.code).write(to: &$0) }
        }
        publishNow(topic, .control, writer)
    }

    /// A node has answered a question of this one.
    func answered(_ answer: SurveyAnswer, by origin: NodeID) {
        switch surveys.answered(answer.number, by: origin, answer.findings) {
        case .taken: break
        case .late: counters.surveys.late &+= 1
        case .tooLong: counters.surveys.tooLong &+= 1
        }
        endSurvey(answer.number, isLate: false)
    }

    /// Ends a question that everybody has answered, or whoever it is (`isLate`). One that has ended stays so.
    func endSurvey(_ number: UInt64, isLate: Bool) {
        guard let (outcome, done) = surveys.finish(number, isLate: isLate) else { return }
        done(outcome)
    }

    /// The bridge closes: what has come so far is the answer.
    func endSurveys() { for number in surveys.numbers { endSurvey(number, isLate: true) } }

    /// Another node asks. `false` when this one doesn't get to it.
    @discardableResult
    func answer(_ request: SurveyRequest, for origin: NodeID) -> Bool {
        let limit = request.question.isCommand ? Self.commandsLimit : Self.answersLimit
        guard phase != .closed, surveysAnswered < limit else {
            counters.surveys.unanswered &+= 1
            return false
        }
        find(request) { bridge, findings in
            guard bridge.phase != .closed else { return }
            bridge.counters.surveys.answered &+= 1
            bridge.publishNow(.node(origin), .answer(SurveyAnswer(number: request.number, findings: findings)))
        }
        return true
    }

    /// Lets the hub find the answer, on its loops and in its time.
    private func find(_ request: SurveyRequest, _ done: @escaping @Sendable (Bridge, SurveyFindings) -> Void) {
        surveysAnswered += 1
        let bridge = NIOLoopBound(self, eventLoop: eventLoop)
        let (sink, eventLoop) = (sink, eventLoop)
        Task {
            let findings = await sink.answer(request.question, maximumBytes: request.answerBytes) { names in
                let asked = eventLoop.submit { bridge.value.rosterCounts?(names) ?? [] }
                return (try? await asked.get()) ?? []
            }
            eventLoop.execute {
                bridge.value.surveysAnswered -= 1
                done(bridge.value, findings)
            }
        }
    }

    // MARK: Logs

    /// Reads the log of an ordered room, whoever is in it; `nil` when that isn't possible now.
    func readLog(
        _ room: RoomName, since: RecoveryPoint?, most: Int, _ done: @escaping @Sendable (RoomLog?) -> Void
    ) {
        guard let commands, commands.isReady, phase != .closed, histories < Self.historyLimit else { return done(nil) }
        histories += 1
        let read = OrderedReadCall(
            room: room, after: since, isNewest: since == nil, most: most,
            bytes: min(Self.historyBytes, configuration.replayBytes))
        run(read) { [weak self] page in
            self?.histories -= 1
            done(
                page.map { page in
                    RoomLog(
                        epoch: page.epoch, offset: page.top,
                        messages: page.messages.map { ServerMessage(json: $0.json, offset: $0.offset).json })
                })
        }
    }
}

extension SurveyQuestion {
    /// Whether it changes something; what has no answer then wasn't done.
    fileprivate var isCommand: Bool {
        switch self {
        case .disconnect, .kick: true
        case .rooms, .room, .clients, .client: false
        }
    }

    /// Whether what nodes answer may fill many packets.
    fileprivate var hasLongAnswer: Bool {
        switch self {
        case .rooms, .room, .clients: true
        case .client, .disconnect, .kick: false
        }
    }
}
