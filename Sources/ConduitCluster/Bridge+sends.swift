import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitWire
import NIOCore
import Tracing

// Messages to users and single clients, and the counts that come back.
extension Bridge {
    /// A shard has delivered to its own clients and tells the rest of the cluster.
    func relaySend(
        _ target: SendTarget, _ message: ServerMessage, _ pending: PendingSend?, in context: ServiceContext? = nil
    ) {
        var topic: BusTopic?
        var client: ClientID?
        switch target {
        case .user(let user): topic = .user(user)
        case .client(let id):
            client = id
            topic = id.node.flatMap { $0 == node ? nil : .node($0) }
        }
        // Dropped on its way here: only the count is owed.
        if message.json.readableBytes == 0 { topic = nil }
        var request: UInt64 = 0
        if let pending {
            request = sends.nextNumber()
            let finished = sends.begin(
                request, token: pending.token, waiting: .client(pending.replyTo), delivered: pending.delivered,
                awaitedShards: pending.awaitedShards, remote: topic != nil && phase == .live, now: now)
            if let finished {
                finish(finished)
                request = 0
            }
        }
        guard let topic else { return }
        let entry = NodeSend(request: request, client: client, json: message.json)
        relay(topic, .send, request: request, span: context.flatMap { relaySpan(in: $0) }) { writer in
            writer.append { entry.write(to: &$0) }
        }
    }

    /// Another node sends to a user or client that may be here.
    func receivedSends(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        let trace = trace(of: envelope)
        for entry in envelope.entries {
            guard let send = NodeSend(entry) else {
                drop(RelayDrop.badEntry)
                continue
            }
            let target: SendTarget
            let mask: UInt64
            switch (topic, send.client) {
            case (.user(let user), nil):
                target = .user(user)
                mask = interest.shards(of: topic)
            case (.node(node), let client?) where client.node == node:
                target = .client(client)
                mask = handOff.all
            default:
                drop(RelayDrop.badEntry)
                continue
            }
            counters.relayReceived += 1
            var token: DeliveryToken?
            if send.request != 0 {
                let number = sends.nextNumber()
                token = DeliveryToken(origin: -1, number: number)
            }
            let command = traced(.send(target, ServerMessage(json: send.json), token), trace)
            let reached = mask == 0 ? 0 : handOff.add(command, to: mask)
            guard let token else { continue }
            let finished = sends.begin(
                token.number, token: token, waiting: .node(envelope.origin, request: send.request), delivered: 0,
                awaitedShards: reached, remote: false, now: now)
            if let finished { finish(finished) }
        }
        handedOff.append((envelope.sentAt, envelope.entries.count))
    }

    /// Gives a count to the one who waits.
    func finish(_ finished: PendingSends.Finished) {
        needsFlush()
        switch finished.waiting {
        case .client(let address):
            guard let request = address.request, (0..<64).contains(address.shard) else { return }
            let message = EventEncoder.ack(deliveredTo: finished.count, id: request)
            handOff.add(.reply(address.client, message), to: 1 << UInt64(address.shard))
        case .node(let origin, let request):
            let answer = ControlMessage.delivered(request: request, count: UInt32(clamping: finished.count))
            publishNow(.node(origin), answer)
        }
    }
}
