import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

// Relay out: from the shards' events to PUBLISH.
extension Bridge {
    /// Adds a message for other nodes to the last PUBLISH, or begins one.
    func relay(
        _ topic: BusTopic, _ kind: NodeEnvelope.Kind, request: UInt64 = 0, span: RelaySpan? = nil,
        _ write: (inout NodeEnvelopeWriter) -> Void
    ) {
        guard commands != nil else { return }
        guard phase != .closed else { return drop(RelayDrop.leftBehind) }
        outbox.collected.add(topic, kind, request: request, span: span, sentAt: WallClock.microseconds, write)
        turnMessages += 1
    }

    /// Numbers what was collected and puts it into the outbox; above a rate not in every turn.
    func flushRelay(isUrgent: Bool) {
        guard !outbox.collected.isEmpty else { return }
        let now = NIODeadline.now()
        let micros = Int64(clamping: now.uptimeNanoseconds / 1_000)
        if turnMessages > 0 {
            pacer.collected(turnMessages, now: micros)
            turnMessages = 0
        }
        if isUrgent || phase != .live {
            pacer.released()
        } else if case .hold(let until) = pacer.decide(bytes: outbox.collected.bytes, now: micros) {
            return flushLater(until)
        }
        let millis = micros / 1_000
        var collected = RelayBatches()
        swap(&collected, &outbox.collected)
        collected.removeAll { batch in
            let messages = batch.writer.count
            let (first, startsRun) = source.take(batch.topic, count: UInt64(messages))
            let payload = batch.writer.finish(
                kind: batch.kind, origin: node, incarnation: incarnation, sequence: first, startsRun: startsRun,
                sentAt: batch.sentAt, trace: batch.span?.trace)
            let number = recent.append(
                .init(
                    topic: batch.topic, first: first, count: messages, startsRun: startsRun, payload: payload,
                    time: millis))
            outbox.append(
                channel: channels.name(of: batch.topic), payload: payload, messages: messages,
                requests: batch.requests, number: number, span: batch.span, now: millis)
        }
        // Only for its room: the array is used again.
        swap(&collected, &outbox.collected)
    }

    /// One timer at most; when it finds that what it was set for has left, it is set again for what has come since.
    private func flushLater(_ until: Int64) {
        guard !holdTimer else { return }
        holdTimer = true
        let deadline = NIODeadline.uptimeNanoseconds(UInt64(clamping: until) &* 1_000)
        eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            guard let self else { return }
            self.holdTimer = false
            if self.phase != .closed { self.flush() }
        }
    }

    /// Sends what waits, as far as the link takes it.
    func pump() {
        guard phase == .live, let commands, outbox.waitingCount > 0 else { return }
        let now = now
        while let entry = outbox.next() {
            guard commands.publishInOrder(channel: entry.channel, payload: entry.payload) == nil else {
                return outbox.refused()
            }
            recent.sent(entry.number, now: now)
        }
    }

    /// The answer to the oldest PUBLISH of the outbox that is in flight. None comes for what a lost connection owes:
    /// ``linkLost(_:_:)`` puts that back.
    func published(_ result: Result<RedisValue, RedisError>) {
        switch result {
        case .success(let value):
            guard let entry = outbox.answered() else { return }
            counters.relayPublished += UInt64(entry.messages)
            let receivers = Int(clamping: value.integer ?? 0)
            entry.span?.end(MessageTracer.Attribute.receivers, Int64(receivers))
            counters.relayExpected &+= UInt64(entry.messages) &* UInt64(max(0, receivers))
            if !entry.requests.isEmpty {
                for request in entry.requests {
                    if let finished = sends.published(request, receivers: receivers) { finish(finished) }
                }
            }
        case .failure(let error) where error.isPassing: outbox.putBack(now: now)
        case .failure:
            if let entry = outbox.answered() { drop(RelayDrop.refused, UInt64(entry.messages)) }
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
        let messages = UInt64(writer.count)
        var writer = writer
        let payload = writer.finish(
            kind: kind, origin: node, incarnation: incarnation, sequence: 0, startsRun: false,
            sentAt: WallClock.microseconds)
        commands.publish(channel: channels.name(of: topic), payload: payload) { [weak self] result in
            guard let self, case .failure(let error) = result else { return }
            switch error.code {
            // The next connection brings a whole assertion.
            case .notConnected, .connectionLost, .connectFailed, .timedOut, .authentication, .tls, .protocolViolation:
                return
            case .server, .overloaded, .invalidCommand: break
            }
            self.drop(RelayDrop.publishRefused, messages)
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
        // What this node has said in a room of its own: its members have had it.
        if ownMark.isBroadcast(payload) {
            counters.relayEchoed &+= UInt64(ownMark.count(of: payload))
            return
        }
        needsFlush()
        guard let topic = channels.topic(of: channel) else { return drop(RelayDrop.badChannel) }
        let envelope: NodeEnvelope
        do throws(NodeEnvelope.Failure) {
            envelope = try NodeEnvelope.decode(payload)
        } catch {
            return drop(error.rawValue)
        }
        // Numbered by the room's log, own ones too.
        if envelope.kind == .ordered { return receivedOrdered(topic, envelope) }
        guard envelope.origin != node else { return receivedOwn(topic, envelope) }
        let count = UInt64(envelope.entries.count)
        let mask = interest.shards(of: topic)
        if envelope.sequence > 0 { counters.relayArrived &+= count }
        // Number 0 is for what isn't counted.
        if envelope.sequence > 0, mask != 0 || counts(topic) {
            if catchUp.isActive, waits(topic, envelope, bytes: payload.readableBytes) { return }
            let verdict = tracker.observe(
                topic, origin: envelope.origin, incarnation: envelope.incarnation, first: envelope.sequence,
                count: count, startsRun: envelope.startsRun, passesGaps: false)
            switch verdict {
            case .inOrder: break
            case .duplicate:
                counters.relayDuplicates += count
                return
            case .gap: return behindHole(topic, envelope, bytes: payload.readableBytes)
            case .malformed: return drop(RelayDrop.malformed)
            }
        }
        dispatch(topic, envelope, mask)
    }

    func dispatch(_ topic: BusTopic, _ envelope: NodeEnvelope, _ mask: UInt64) {
        switch envelope.kind {
        case .broadcast: receivedBroadcast(topic, envelope, mask)
        case .send: receivedSends(topic, envelope)
        case .presence: receivedPresence(topic, envelope)
        case .control: receivedControl(topic, envelope)
        case .probe, .ordered: drop(RelayDrop.badEntry)
        }
    }

    /// Whether gaps are looked for. Not in what comes behind an UNSUBSCRIBE: it would be remembered as the last one.
    func counts(_ topic: BusTopic) -> Bool {
        switch topic {
        case .room, .user: interest.state(of: topic) != nil
        case .everyone, .control, .node: true
        }
    }

    /// Own messages come back where this node listens too. Its members have had them.
    private func receivedOwn(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        guard envelope.incarnation == incarnation else {
            limitedLog.log(.error, "another process uses this node's id", [LogKey.node: "\(node)"])
            return drop(RelayDrop.foreignIncarnation)
        }
        switch envelope.kind {
        case .send:
            counters.relayEchoed &+= UInt64(envelope.entries.count)
            for entry in envelope.entries {
                guard let send = NodeSend(entry), send.request != 0 else { continue }
                if let finished = sends.answered(send.request, count: 0) { finish(finished) }
            }
        case .probe:
            for var entry in envelope.entries {
                probesBack = max(probesBack, min(entry.readInteger(as: UInt64.self) ?? 0, probesSent))
            }
            while let oldest = probeTimes.first, oldest.number <= probesBack {
                provenAt = oldest.time
                probeTimes.removeFirst()
            }
        case .broadcast, .presence, .control, .ordered: break
        }
    }

    /// `mask`: the shards with a member, where the topic is a room.
    private func receivedBroadcast(_ topic: BusTopic, _ envelope: NodeEnvelope, _ mask: UInt64) {
        var received: UInt64 = 0
        let trace = trace(of: envelope)
        switch topic {
        case .room(let room):
            for json in envelope.entries where isEnvelope(json) {
                received += 1
                if mask != 0 { handOff.add(traced(.room(room, ServerMessage(json: json)), trace), to: mask) }
            }
        case .everyone:
            for json in envelope.entries where isEnvelope(json) {
                received += 1
                handOff.add(traced(.all(ServerMessage(json: json)), trace), to: handOff.all)
            }
        case .user, .control, .node: return drop(RelayDrop.badChannel)
        }
        counters.relayReceived += received
        handedOff.append((envelope.sentAt, envelope.entries.count))
    }

    /// Whether an entry can be a client's envelope; counts it when it can't.
    private func isEnvelope(_ json: ByteBuffer) -> Bool {
        if json.readableBytes > 1 { return true }
        drop(RelayDrop.badEntry)
        return false
    }

    /// Says to the observers of a room that messages are missing for good; the roster may lack something too.
    func missed(_ missing: UInt64, in topic: BusTopic) {
        counters.relayGaps &+= missing
        counters.unrecoverable &+= missing
        guard case .room(let room) = topic else { return }
        let message = EventEncoder.roomState(.gap, missed: missing, room: room)
        handOff.add(.observers(room, message), to: interest.shards(of: topic))
        requestSnapshot(room)
    }
}
