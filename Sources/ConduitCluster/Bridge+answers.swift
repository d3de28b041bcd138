import ConduitCore
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

// What another node has missed of this one: given again from what is remembered.
extension Bridge {
    /// Messages that are looked at in one turn.
    private static let sliceMessages = 2_048
    /// Bytes of one PUBLISH of an answer; a single message may be longer.
    private static let sliceBytes = 256 * 1024
    /// How long one answer may take: what is numbered meanwhile is added to it.
    private static let longestAnswer: Int64 = 20_000

    func answer(_ request: RepairRequest, for asker: NodeID) {
        guard asker != node else { return drop(RelayDrop.badEntry) }
        answers.add(
            RepairAnswer(request, for: asker, incarnation: incarnation, start: recent.start, now: now))
        runAnswers()
    }

    /// One slice a turn of the loop, whoever has asked.
    private func runAnswers() {
        guard !answers.isRunning, answers.hasTurns else { return }
        answers.isRunning = true
        eventLoop.assumeIsolated().execute {
            self.answers.isRunning = false
            guard self.phase != .closed, let answer = self.answers.next() else { return }
            self.goOn(answer)
            self.runAnswers()
        }
    }

    private func goOn(_ current: RepairAnswer) {
        var answer = current
        var writer = NodeEnvelopeWriter()
        // What waits to be sent is on its way already, and will come after this.
        let stop = outbox.oldestWaiting ?? recent.end
        var looked = 0
        // The oldest may be forgotten since.
        answer.cursor = max(answer.cursor, recent.start)
        while answer.cursor < stop, looked < Self.sliceMessages, writer.byteCount < Self.sliceBytes,
            let message = recent[answer.cursor]
        {
            answer.cursor += 1
            looked += 1
            guard answer.wants(message) else { continue }
            let entry = ControlMessage.repaired(
                RepairedMessage(
                    request: answer.request, ageMilliseconds: Int32(clamping: answer.askedAt - message.time),
                    topic: message.topic, payload: message.payload))
            writer.append { entry.write(to: &$0) }
        }
        let isDone = answer.cursor >= stop || now - answer.askedAt > Self.longestAnswer
        if isDone {
            let waiting = (stop..<max(stop, recent.end)).lazy.compactMap { self.recent[$0] }
            let end = RepairEnd(
                request: answer.request,
                lost: Array(
                    answer.lost(source: source, waiting: waiting).prefix(RepairRequest.maximumTopics)))
            writer.append { ControlMessage.repairEnd(end).write(to: &$0) }
            answers.remove(answer.asker, request: answer.request)
        } else {
            answers.update(answer, waits: writer.count > 0)
        }
        guard writer.count > 0 else { return }
        publishAnswer(writer, answer, isLast: isDone)
    }

    /// The next slice waits until Redis has taken this one: an answer never fills the link.
    private func publishAnswer(_ writer: NodeEnvelopeWriter, _ answer: RepairAnswer, isLast: Bool) {
        var writer = writer
        let payload = writer.finish(
            kind: .control, origin: node, incarnation: incarnation, sequence: 0, startsRun: false,
            sentAt: WallClock.microseconds)
        let channel = channels.name(of: .node(answer.asker))
        commands?.publish(channel: channel, payload: payload) { [weak self] result in
            guard let self, !isLast else { return }
            switch result {
            case .success: self.answers.resume(answer.asker, request: answer.request)
            // The asker will ask again.
            case .failure: self.answers.remove(answer.asker, request: answer.request)
            }
            self.runAnswers()
        }
    }
}
