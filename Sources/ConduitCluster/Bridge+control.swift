import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitWire

// Commands of nodes to nodes.
extension Bridge {
    func receivedControl(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        guard topic == .control || topic == .node(node) else { return drop(RelayDrop.badChannel) }
        var isCounted = false
        for entry in envelope.entries {
            guard let message = ControlMessage(entry) else {
                drop(RelayDrop.badEntry)
                continue
            }
            switch message {
            case .repaired(let message): repaired(message, from: envelope)
            case .repairEnd(let end): repairEnded(end, from: envelope)
            // Of one node only: what everybody hears must not stop everybody.
            case .drain(let milliseconds):
                guard topic == .node(node) else { return drop(RelayDrop.badChannel) }
                onOrder?(.drain(milliseconds: milliseconds))
            case .rebalance: onOrder?(.rebalance)
            // Said for nodes that can't count: done first, it would leave nothing to be counted.
            case .disconnect where isCounted: break
            case .ask(let request):
                let isTaken = answer(request, for: envelope.origin)
                if isTaken, case .disconnect = request.question { isCounted = true }
            default: perform(message, from: envelope.origin)
            }
        }
    }

    private func perform(_ message: ControlMessage, from origin: NodeID) {
        switch message {
        case .hello:
            // The heartbeat shows it within a second, but Redis may be away by then.
            if directory.nodes[origin] == nil, newcomers.count < NodeDirectory.maximumNodes {
                newcomers.insert(origin)
            }
            greetedBy(origin)
            listens(origin)
            // A node that isn't ready itself stays silent: its own hello will follow.
            switch phase {
            case .greeting, .live: publishNow(.node(origin), .helloAnswer)
            case .alone, .offline, .subscribing, .asserting, .closed: break
            }
        case .helloAnswer:
            greetedBy(origin)
            listens(origin)
        case .nodeDown(let gone, let reason):
            // Only a node itself can say that it stops.
            guard reason == .lost || gone == origin else { return drop(RelayDrop.badEntry) }
            nodeIsDown(gone, reason)
        case .repair(let request): answer(request, for: origin)
        case .audit(let request): answer(request)
        case .revoke(let revocation): learn([revocation])
        case .answer(let answer): answered(answer, by: origin)
        case .repaired, .repairEnd, .drain, .rebalance, .ask: break
        case .delivered(let request, let count):
            if let finished = sends.answered(request, count: Int(count)) { finish(finished) }
        case .disconnect(let target, let code):
            let reason = CloseReason.all.first { $0.code == code } ?? .forceDisconnect
            disconnectLocally(target, reason)
        }
    }

    /// Ends the connections of a user or client on every node.
    func disconnect(_ target: ControlMessage.Target, _ reason: CloseReason) {
        disconnectLocally(target, reason)
        let message = ControlMessage.disconnect(target, code: reason.code)
        switch target {
        case .user: publishNow(.control, message)
        case .client(let client):
            if let holder = client.node, holder != node { publishNow(.node(holder), message) }
        }
    }

    private func disconnectLocally(_ target: ControlMessage.Target, _ reason: CloseReason) {
        switch target {
        case .user(let user): handOff.add(.disconnect(.user(user), reason), to: interest.shards(of: .user(user)))
        case .client(let client):
            if client.node == node { handOff.add(.disconnect(.client(client), reason), to: handOff.all) }
        }
        needsFlush()
    }
}
