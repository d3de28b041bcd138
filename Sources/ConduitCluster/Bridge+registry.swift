import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// What a node says of itself.
public enum NodeState: String, Sendable, CaseIterable {
    /// Not everything is up yet.
    case starting
    /// Takes clients.
    case ready
    /// Takes no more clients and ends.
    case draining
}

// The lease of this node, and who else is there.
extension Bridge {
    /// Each heartbeat: renew the lease, prove that the subscriptions are alive, ask the hub for newer figures.
    func heartbeat() {
        refreshFigures()
        updateRecentFigures()
        guard let commands, commands.isReady, phase != .closed, !isLeaving, lease.isHeld else { return }
        renewIdentity()
        probe()
        writeFigures()
        readRevocationsAgain()
        let sent = NIODeadline.now()
        evaluate(.heartbeat, keys: [keys.nodes], [.string(node.rawValue)]) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let value):
                let micros = (NIODeadline.now() - sent).nanoseconds / 1_000
                self.counters.redisRoundTripMicroseconds = micros
                self.counters.redisRoundTrip.record(microseconds: micros)
                self.heartbeatTaken()
                self.heartbeatAnswered(value)
            case .failure(let error) where error.code == .server: self.heartbeatRefused(error)
            case .failure: break
            }
        }
        for (lost, isClaimed) in cleaning where isClaimed {
            commands.send(["PEXPIRE", .string(keys.claim(of: lost)), 10_000])
        }
    }

    /// Redis answers, but doesn't write, as above its `maxmemory`. What is published crosses all the same, and nobody is
    /// taken for dead by nodes that read no list of nodes.
    func heartbeatRefused(_ error: RedisError) {
        let reason = HeartbeatRefusal.reason(of: error)
        counters.heartbeatsRefused[reason, default: 0] &+= 1
        guard !heartbeatIsRefused else { return }
        heartbeatIsRefused = true
        limitedLog.log(
            .error, "Redis refuses the heartbeats of this node",
            [LogKey.reason: "\(reason)", LogKey.error: "\(error)"])
    }

    private func heartbeatTaken() {
        guard heartbeatIsRefused, !leaseIsRefused else { return }
        heartbeatIsRefused = false
        // The others were refused as this node was, and are as late as it is.
        claimsFrom = now + configuration.leaseMilliseconds
        limitedLog.log(.notice, "Redis takes the heartbeats of this node again")
    }

    private func heartbeatAnswered(_ value: RedisValue) {
        guard let reply = value.array, reply.count == 3, let time = reply[0].integer, let added = reply[1].integer,
            let words = reply[2].array
        else { return drop(RelayDrop.malformed) }
        var scores: [(node: NodeID, heartbeat: Int64)] = []
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            guard let name = words[index].string, let listed = NodeID(name), let score = words[index + 1].string,
                let heartbeat = Double(score), heartbeat.magnitude < 1e15
            else {
                drop(RelayDrop.badEntry)
                continue
            }
            scores.append((listed, Int64(heartbeat)))
        }
        // Each time that Redis didn't know of us: at the start, after a lost lease, after it lost its data.
        if added == 1 { event("node_up", ["version", ConduitVersion.current]) }
        registered = true
        let actions = directory.heartbeatAnswered(now: time, scores: scores, added: added == 1)
        newcomers.subtract(directory.nodes.keys)
        for action in actions {
            switch action {
            case .claim(let lost): claim(lost)
            case .appeared(let peer):
                logger.debug("a node appeared", metadata: [LogKey.node: "\(peer)"])
                tracker.returned(peer)
                listens(peer)
            case .vanished(let gone): takeLeave(of: gone)
            case .reassert:
                logger.warning("this node's entry in Redis was gone; asserting its members again")
                reassert()
            }
        }
        needsFlush()
    }

    /// Redis lost what this node had written, or another node has cleaned it up.
    func reassert() {
        guard canAssert, !isLeaving else { return }
        readRevocations()
        if assertion == nil { assertEverything() }
    }

    func change(to state: NodeState) {
        guard nodeState != state else { return }
        nodeState = state
        if state == .draining { event("node_draining", []) }
        heartbeat()
    }

    /// Pings this node through Redis: the answer must come over the subscriptions.
    private func probe() {
        guard phase == .live || phase == .asserting, let subscriptions else { return }
        if probesSent - probesBack >= 3, let oldest = probeTimes.first,
            now - oldest.time >= configuration.probeMilliseconds
        {
            probesBack = probesSent
            probeTimes = []
            subscriptions.forceReconnect(reason: "three probes did not come back")
            return
        }
        probesSent += 1
        if probeTimes.count >= 1_024 { probeTimes.removeFirst() }
        probeTimes.append((probesSent, now))
        let number = probesSent
        var writer = NodeEnvelopeWriter()
        writer.append { $0.writeInteger(number) }
        publishNow(.node(node), .probe, writer)
    }

    // MARK: Scripts

    func loadScripts() {
        for script in ClusterScript.all {
            commands?.send(["SCRIPT", "LOAD", .string(script.text)]) { [weak self] result in
                if case .success(let value) = result { self?.scriptDigests[script.name] = value.string }
            }
        }
    }

    /// Runs a script by its digest, or by its text where Redis doesn't know it.
    func evaluate(
        _ script: ClusterScript, keys: [String], _ arguments: [RedisArgument],
        _ done: @escaping (Result<RedisValue, RedisError>) -> Void
    ) {
        guard let commands else { return done(.failure(RedisError(.notConnected, "no Redis is configured"))) }
        let rest = [.integer(Int64(keys.count))] + keys.map { RedisArgument.string($0) } + arguments
        guard let digest = scriptDigests[script.name] else {
            return commands.send(["EVAL", .string(script.text)] + rest, done)
        }
        commands.send(["EVALSHA", .string(digest)] + rest) { [weak self] result in
            guard case .failure(let error) = result, error.serverPrefix == "NOSCRIPT", let self else {
                return done(result)
            }
            // Once, however many answers say so.
            if self.scriptDigests.removeValue(forKey: script.name) != nil { self.loadScripts() }
            commands.send(["EVAL", .string(script.text)] + rest, done)
        }
    }
}
