import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// Messages of one turn that share a PUBLISH.
struct TurnBatch {
    let topic: BusTopic
    let kind: NodeEnvelope.Kind
    var writer = NodeEnvelopeWriter()
    var requests: [UInt64] = []
}

// Relay out: from the shards' events to PUBLISH.
extension Bridge {
    /// A PUBLISH that is over this size takes no further message.
    private static let batchBytes = 256 * 1024

    /// Adds a message for other nodes to the last PUBLISH, or begins one.
    ///
    /// Only neighbours share: a message that joined an earlier PUBLISH of its room would overtake what its sender has
    /// sent to another room in between.
    func relay(
        _ topic: BusTopic, _ kind: NodeEnvelope.Kind, request: UInt64 = 0, _ write: (inout NodeEnvelopeWriter) -> Void
    ) {
        guard commands != nil, phase != .closed else { return }
        let isShared =
            turn.last.map { $0.topic == topic && $0.kind == kind && $0.writer.byteCount < Self.batchBytes } ?? false
        if !isShared { turn.append(TurnBatch(topic: topic, kind: kind)) }
        let index = turn.count - 1
        write(&turn[index].writer)
        if request != 0 { turn[index].requests.append(request) }
    }

    /// Numbers what the turn has collected and puts it into the outbox.
    func flushRelay() {
        guard !turn.isEmpty else { return }
        let now = now
        let sentAt = WallClock.microseconds
        for batch in turn {
            let (first, startsRun) = source.take(batch.topic, count: UInt64(batch.writer.count))
            let payload = batch.writer.finish(
                kind: batch.kind, origin: node, incarnation: incarnation, sequence: first, startsRun: startsRun,
                sentAt: sentAt)
            outbox.append(
                channel: keys.channel(batch.topic), payload: payload, messages: batch.writer.count,
                requests: batch.requests, now: now)
        }
        turn.removeAll(keepingCapacity: true)
    }

    /// Sends what waits, as far as the link takes it.
    func pump() {
        guard phase == .live, let commands else { return }
        while let entry = outbox.next() {
            var isCalling = true
            var wasRefused = false
            commands.publish(channel: entry.channel, payload: entry.payload) { [weak self] result in
                if isCalling {
                    wasRefused = true
                } else {
                    self?.published(result)
                }
            }
            isCalling = false
            if wasRefused {
                outbox.refused()
                return
            }
        }
    }

    private func published(_ result: Result<RedisValue, RedisError>) {
        switch result {
        case .success(let value):
            guard let entry = outbox.answered() else { return }
            counters.relayPublished += UInt64(entry.messages)
            let receivers = Int(clamping: value.integer ?? 0)
            for request in entry.requests {
                if let finished = sends.published(request, receivers: receivers) { finish(finished) }
            }
        case .failure(let error) where error.isPassing: outbox.putBack(now: now)
        case .failure(let error) where error.code == .server:
            if let entry = outbox.answered() { drop("refused", UInt64(entry.messages)) }
        case .failure:
            // The connection ended; ``linkLost`` puts everything that was in flight back.
            break
        }
        if outbox.waitingCount > 0 { needsFlush() }
    }

    /// Publishes something that needs no number and is not worth keeping: presence, commands, probes.
    /// `refused` is called when Redis or the link took it not, though the connection is there; what was said about
    /// members is said again soon.
    func publishNow(
        _ topic: BusTopic, _ kind: NodeEnvelope.Kind, _ writer: NodeEnvelopeWriter, refused: (() -> Void)? = nil
    ) {
        guard let commands, writer.count > 0 else { return }
        let payload = writer.finish(
            kind: kind, origin: node, incarnation: incarnation, sequence: 0, startsRun: false,
            sentAt: WallClock.microseconds)
        commands.publish(channel: keys.channel(topic), payload: payload) { [weak self] result in
            guard let self, case .failure(let error) = result else { return }
            switch error.code {
            // The next connection brings a whole assertion.
            case .notConnected, .connectionLost, .connectFailed, .timedOut, .authentication, .tls, .protocolViolation:
                return
            case .server, .overloaded, .invalidCommand: break
            }
            self.drop(RelayDrop.publishRefused, UInt64(writer.count))
            if kind == .presence { self.assertAgainAt = self.now + 1_000 }
            refused?()
        }
    }

    func publishNow(_ topic: BusTopic, _ message: ControlMessage) {
        var writer = NodeEnvelopeWriter()
        writer.append { message.write(to: &$0) }
        publishNow(topic, .control, writer)
    }
}

// Relay in: from the subscriptions to the shards.
extension Bridge {
    func received(_ channel: ByteBuffer, _ payload: ByteBuffer) {
        needsFlush()
        guard let topic = keys.topic(ofChannel: String(buffer: channel)) else { return drop(RelayDrop.badChannel) }
        let envelope: NodeEnvelope
        do throws(NodeEnvelope.Failure) {
            envelope = try NodeEnvelope.decode(payload)
        } catch {
            return drop(error.rawValue)
        }
        guard envelope.origin != node else { return receivedOwn(topic, envelope) }
        let count = UInt64(envelope.entries.count)
        // Number 0 is for what isn't counted.
        if envelope.sequence > 0, counts(topic) {
            let verdict = tracker.observe(
                topic, origin: envelope.origin, incarnation: envelope.incarnation, first: envelope.sequence,
                count: count, startsRun: envelope.startsRun)
            switch verdict {
            case .inOrder: break
            case .duplicate:
                counters.relayDuplicates += count
                return
            case .gap(let missing): gap(missing, in: topic)
            case .malformed: return drop(RelayDrop.malformed)
            }
        }
        switch envelope.kind {
        case .broadcast: receivedBroadcast(topic, envelope)
        case .send: receivedSends(topic, envelope)
        case .presence: receivedPresence(topic, envelope)
        case .control: receivedControl(topic, envelope)
        case .probe: drop(RelayDrop.badEntry)
        }
    }

    /// Whether gaps are looked for. Not in what comes behind an UNSUBSCRIBE: it would be remembered as the last one.
    private func counts(_ topic: BusTopic) -> Bool {
        switch topic {
        case .room, .user: interest.state(of: topic) != nil
        case .everyone, .control, .node: true
        }
    }

    /// Own messages come back where this node listens too. Its members have had them.
    private func receivedOwn(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        guard envelope.incarnation == incarnation else {
            // Another process goes by our name; say so once in a while, not per message.
            if dropped["foreign_incarnation", default: 0] % 1_000 == 0 {
                logger.error("another process uses this node's id", metadata: [LogKey.node: "\(node)"])
            }
            return drop("foreign_incarnation")
        }
        switch envelope.kind {
        case .send:
            for entry in envelope.entries {
                guard let send = NodeSend(entry), send.request != 0 else { continue }
                if let finished = sends.answered(send.request, count: 0) { finish(finished) }
            }
        case .probe:
            for var entry in envelope.entries {
                probesBack = max(probesBack, min(entry.readInteger(as: UInt64.self) ?? 0, probesSent))
            }
        case .broadcast, .presence, .control: break
        }
    }

    private func receivedBroadcast(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        let mask: UInt64
        switch topic {
        case .room: mask = interest.shards(of: topic)
        case .everyone: mask = handOff.all
        case .user, .control, .node: return drop(RelayDrop.badChannel)
        }
        for json in envelope.entries {
            guard json.readableBytes > 1 else {
                drop(RelayDrop.badEntry)
                continue
            }
            counters.relayReceived += 1
            guard mask != 0 else { continue }
            let message = ServerMessage(json: json)
            if case .room(let room) = topic {
                handOff.add(.room(room, message), to: mask)
            } else {
                handOff.add(.all(message), to: mask)
            }
        }
        handedOff.append((envelope.sentAt, envelope.entries.count))
    }

    /// Says to the observers of a room that messages are missing; the roster may lack something too.
    private func gap(_ missing: UInt64, in topic: BusTopic) {
        counters.relayGaps &+= missing
        guard case .room(let room) = topic else { return }
        let message = EventEncoder.roomState(.gap, missed: missing, room: room)
        handOff.add(.observers(room, message), to: interest.shards(of: topic))
        requestSnapshot(room)
    }
}
