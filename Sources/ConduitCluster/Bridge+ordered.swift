import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

// Ordered rooms, out: from the shards to the script that numbers, stores and publishes.
extension Bridge {
    func publishOrdered(_ publish: OrderedPublish) {
        guard publish.json.isEnvelope, let commands, commands.isReady, phase != .closed else {
            return refuse(publish, RelayDrop.orderedUnavailable, "the room is ordered and its log can't be reached")
        }
        guard orderedPublishes.add(publish) else {
            return refuse(publish, RelayDrop.orderedBusy, "too many messages wait for the room's log")
        }
        needsFlush()
    }

    /// Sends what waits: one script a room.
    func flushOrdered() {
        guard let commands, commands.isReady else { return }
        while let (room, messages) = orderedPublishes.next() { store(messages, in: room) }
        readOrdered()
    }

    private func store(_ messages: [OrderedPublish], in room: RoomName) {
        // A traced message goes alone.
        let trace = messages.count == 1 ? messages.first?.relaySpan?.trace : nil
        var empty = NodeEnvelopeWriter(isTraced: trace != nil)
        let header = empty.finish(
            kind: .ordered, origin: node, incarnation: incarnation, sequence: 0, startsRun: false,
            sentAt: WallClock.microseconds, trace: trace)
        let publish = OrderedPublishCall(
            room: room, messages: messages, policy: configuration.rooms[room], word: publishWord, header: header,
            epoch: Self.newEpoch(), known: known(of: room))
        let call = publish.call(keys)
        // Where the members stand now: what other nodes publish until the answer comes is no step back of the log.
        let asked = ordered[room]?.position
        evaluate(.orderedPublish, keys: call.keys, call.arguments) { [weak self] result in
            guard let self else { return }
            self.orderedPublishes.ended(room, messages)
            switch result {
            case .success(let value):
                if let (position, verdicts) = publish.answer(value) {
                    self.stored(publish, position, verdicts, asked: asked)
                } else {
                    self.drop(RelayDrop.malformed)
                    self.refuse(messages, RelayDrop.orderedRefused, "Redis gave no sensible answer")
                }
            case .failure(let error) where error.code == .server:
                self.complain("Redis refuses messages of an ordered room", room, error)
                self.refuse(messages, RelayDrop.orderedRefused, "the room's log refuses it")
            case .failure:
                let text = "the connection to the room's log is lost: repeat it with the same key"
                self.refuse(messages, RelayDrop.orderedUnavailable, text)
            }
            self.needsFlush()
        }
    }

    /// What this node has seen of a room, as a member or as a publisher.
    func known(of room: RoomName) -> [RecoveryPoint] {
        let followed = ordered[room]?.known ?? []
        return orderedPublishes.position(of: room).map { followed + [$0] } ?? followed
    }

    /// The connection for commands is gone, and what was under way has been refused: so is what waits behind it.
    func orderedCommandsLost() {
        let text = "the room is ordered and its log can't be reached"
        refuse(orderedPublishes.removeWaiting(), RelayDrop.orderedUnavailable, text)
    }

    static func newEpoch() -> String {
        var generator = SystemRandomNumberGenerator()
        return randomText(12, using: &generator)
    }

    private func stored(
        _ publish: OrderedPublishCall, _ position: RecoveryPoint, _ verdicts: [OrderedPublishCall.Verdict],
        asked: RecoveryPoint?
    ) {
        orderedPublishes.learned(position, of: publish.room)
        for (message, verdict) in zip(publish.messages, verdicts) {
            if case .accepted(let offset) = verdict {
                counters.orderedPublished += 1
                message.relaySpan?.end(MessageTracer.Attribute.offset, Int64(clamping: offset))
            }
            guard let address = message.replyTo, let request = address.request else { continue }
            let isStored = message.isInbox
            let answer =
                switch verdict {
                case .accepted(let offset):
                    EventEncoder.ack(offset: offset, epoch: position.epoch, isStored: isStored, id: request)
                case .suppressed(let offset):
                    EventEncoder.ack(offset: offset, epoch: position.epoch, isSuppressed: true, id: request)
                case .duplicate(let first):
                    EventEncoder.ack(
                        offset: first.offset, epoch: first.epoch, isDuplicate: true, isStored: isStored, id: request)
                }
            reply(to: address, answer)
        }
        if let asked { compare(position, in: publish.room, asked: asked) }
    }

    /// Says something to operators, not more than once in ten seconds.
    func complain(_ text: String, _ room: RoomName, _ error: RedisError) {
        limitedLog.log(.error, text, [LogKey.room: "\(room)", LogKey.error: "\(error)"])
    }

    // MARK: Answers

    private func refuse(_ messages: [OrderedPublish], _ reason: String, _ text: String) {
        for message in messages { refuse(message, reason, text) }
    }

    private func refuse(_ message: OrderedPublish, _ reason: String, _ text: String) {
        drop(reason)
        guard let address = message.replyTo else { return }
        let type = message.isInbox ? "send" : "broadcast"
        reply(
            to: address, EventEncoder.error(RequestError(.unavailable, text), requestType: type, id: address.request))
    }

    private func reply(to address: ReplyAddress, _ message: ServerMessage) {
        answer(.reply(address.client, message), to: address)
    }

    func answer(_ command: ShardCommand, to address: ReplyAddress) {
        guard (0..<InterestTable.maximumShards).contains(address.shard) else { return }
        handOff.add(command, to: 1 << UInt64(address.shard))
        needsFlush()
    }
}
