import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

// Who is let into ordered rooms, with what; and what is read for those who ask for a room's history.
extension Bridge {
    /// Most bytes of the messages in one `history`.
    static let historyBytes = 1 << 20
    /// Histories that are read at once.
    static let historyLimit = 256

    func joinOrdered(_ join: OrderedJoin, shard: Int) {
        guard (0..<InterestTable.maximumShards).contains(shard) else { return }
        let topic = BusTopic.room(join.room)
        interest.joined(topic, shard: shard)
        guard let commands, commands.isReady, orderedJoins.add(join, now: now) else {
            return refuse(join)
        }
        if !ordered.contains(join.room) {
            ordered.open(join.room)
            // Else the confirmation does it.
            if interest.isConfirmed(topic) { orderedConfirmed(join.room) }
        }
        orderedToAdmit.insert(join.room)
        needsFlush()
    }

    func joinAbandoned(_ room: RoomName, shard: Int) {
        interest.left(.room(room), shard: shard, now: now)
        if interest.state(of: .room(room)) == nil { forget(room) }
    }

    func refuse(_ join: OrderedJoin) {
        let error = RequestError(.unavailable, "the room is ordered and its log can't be reached")
        answer(.refuseJoin(join.replyTo.client, join.room, error, join.replyTo.request), to: join.replyTo)
    }

    /// Answers the joins of this turn, as far as that is possible already.
    func admitNewcomers() {
        guard !orderedToAdmit.isEmpty else { return }
        let rooms = orderedToAdmit
        orderedToAdmit = []
        for room in rooms { admitWaiting(for: room) }
    }

    /// Answers all who wait for a room whose position is known and whose messages come.
    func admitWaiting(for room: RoomName) {
        guard orderedJoins.hasWaiting(room), let state = ordered[room], state.isLive, let position = state.position,
            interest.isConfirmed(.room(room))
        else { return }
        let limit = configuration.rooms[room].recoverLimit
        let lagging = orderedLag.shards(of: room)
        var (later, missed): ([OrderedJoins.Waiting], [OrderedJoins.Waiting]) = ([], [])
        var mustRead = false
        for waiting in orderedJoins.take(room) {
            let shard = waiting.join.replyTo.shard
            guard (0..<64).contains(shard), lagging & (1 << UInt64(shard)) == 0 else {
                later.append(waiting)
                continue
            }
            switch OrderedJoins.verdict(waiting.join.recover, at: position, limit: limit) {
            case .admit(let recovered, let reason):
                admit(waiting.join, position, recovered: recovered, reason: reason)
            case .replay: missed.append(waiting)
            case .ahead where waiting.hasSeenEnd:
                admit(waiting.join, position, recovered: false, reason: .offsetAhead)
            case .ahead:
                mustRead = true
                later.append(waiting)
            }
        }
        orderedJoins.putBack(later, to: room)
        if let number = orderedJoins.resume(missed, of: room, at: position) { resume(room, number) }
        // The client has read more than this node, or the log lost something: what the log says now decides.
        if mustRead {
            _ = ordered.update(room, now: now) { $0.doubt() }
            readOrdered()
        }
    }

    private func admit(
        _ join: OrderedJoin, _ position: RecoveryPoint, recovered: Bool, reason: RecoveryFailure?,
        replay: [ServerMessage] = []
    ) {
        let admission = OrderedAdmission(
            room: join.room, epoch: position.epoch, offset: position.offset, recovered: recovered, reason: reason,
            replay: replay)
        answer(.admit(join.replyTo.client, admission, join.replyTo.request), to: join.replyTo)
    }

    // MARK: Replays

    private func resume(_ room: RoomName, _ number: UInt64) {
        guard let (after, through, bytes) = orderedJoins.request(room, number) else { return }
        let read = OrderedReadCall(
            room: room, after: after, through: through, isNewest: true, most: Self.logPageMessages,
            bytes: min(bytes, Self.logPageBytes))
        run(read) { [weak self] page in
            guard let self else { return }
            if let page, page.epoch == after.epoch, self.orderedJoins.read(page, of: room, number) {
                return self.resume(room, number)
            }
            guard let (resume, frames) = self.orderedJoins.finish(room, number) else { return }
            guard let page, page.epoch == after.epoch else {
                // They wait for what the room becomes, as long as they may.
                self.orderedJoins.putBack(resume.joins, to: room)
                if page != nil {
                    self.ordered.update(room, now: self.now) { $0.doubt() }
                    self.readOrdered()
                }
                return
            }
            self.replay(frames, to: resume, in: room)
            self.admitWaiting(for: room)
        }
    }

    private func replay(_ frames: [OrderedJoins.Frame], to resume: OrderedJoins.Resume, in room: RoomName) {
        guard let position = ordered[room]?.position, position.epoch == resume.epoch else {
            return orderedJoins.putBack(resume.joins, to: room)
        }
        let limit = configuration.rooms[room].recoverLimit
        let lagging = orderedLag.shards(of: room)
        // Many stopped at the same place: they share what they get.
        var replays: [UInt64: (messages: [ServerMessage], failure: RecoveryFailure?)] = [:]
        for waiting in resume.joins {
            let shard = waiting.join.replyTo.shard
            guard let asked = waiting.join.recover?.offset, (0..<64).contains(shard),
                lagging & (1 << UInt64(shard)) == 0
            else {
                orderedJoins.putBack([waiting], to: room)
                continue
            }
            let replay =
                replays[asked]
                ?? orderedJoins.replay(
                    after: asked, of: frames, at: position, limit: limit, isCut: resume.isCut)
            replays[asked] = replay
            admit(
                waiting.join, position, recovered: replay.failure == nil, reason: replay.failure,
                replay: replay.messages)
        }
    }

    // MARK: History

    func answer(_ query: HistoryQuery) {
        guard let commands, commands.isReady, histories < Self.historyLimit else { return refuse(query) }
        histories += 1
        let read = OrderedReadCall(
            room: query.room, after: query.since, isNewest: query.since == nil,
            most: min(max(1, query.limit), Command.maximumHistoryLimit),
            bytes: min(Self.historyBytes, configuration.replayBytes))
        run(read) { [weak self] page in
            guard let self else { return }
            self.histories -= 1
            guard let page else { return self.refuse(query) }
            let messages = page.messages.map { ServerMessage(json: $0.json, offset: $0.offset).json }
            let history = EventEncoder.history(
                query.room, epoch: page.epoch, offset: page.top, messages: messages, id: query.replyTo.request)
            self.answer(.historyReply(query.replyTo.client, history), to: query.replyTo)
        }
    }

    private func refuse(_ query: HistoryQuery) {
        let error = RequestError(.unavailable, "the room's log can't be read now")
        let message = EventEncoder.error(error, requestType: "history", id: query.replyTo.request)
        answer(.historyReply(query.replyTo.client, message), to: query.replyTo)
    }
}
