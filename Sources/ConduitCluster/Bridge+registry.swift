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

/// The newest figures of the hub and the process, for the heartbeat.
struct NodeFigures {
    var hub = HubStatistics()
    var process = ProcessFigures.now()
    var cpuPercent = 0.0
    var isAsking = false
    let startedAt = WallClock.milliseconds
}

// The lease of this node, the figures that operators read, and who else is there.
extension Bridge {
    /// Each heartbeat: renew the lease, prove that the subscriptions are alive, ask the hub for newer figures.
    func heartbeat() {
        refreshFigures()
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
                self.counters.redisRoundTripMicroseconds = (NIODeadline.now() - sent).nanoseconds / 1_000
                self.heartbeatAnswered(value)
            case .failure(let error) where error.code == .server:
                self.limitedLog.log(.error, "Redis refuses the heartbeat", [LogKey.error: "\(error)"])
            case .failure: break
            }
        }
        for (lost, isClaimed) in cleaning where isClaimed {
            commands.send(["PEXPIRE", .string(keys.claim(of: lost)), 10_000])
        }
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
            case .vanished(let gone):
                tracker.retire(gone)
                stopAsking(gone)
                nodesGone &+= 1
                removeMembers(of: gone)
                expected.remove(gone)
                checkGreeted()
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

    /// A ping may take this long however often it is sent, in milliseconds: a busy machine isn't a dead subscription.
    private static let probeMilliseconds: Int64 = 1_000

    /// Pings this node through Redis: the answer must come over the subscriptions.
    private func probe() {
        guard phase == .live || phase == .asserting, let subscriptions else { return }
        if probesSent - probesBack >= 3, let oldest = probeTimes.first, now - oldest.time >= Self.probeMilliseconds {
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

    // MARK: Figures

    private func refreshFigures() {
        let process = ProcessFigures.now()
        figures.cpuPercent = process.cpuPercent(since: figures.process)
        figures.process = process
        // A shard that is busy must not hold up the heartbeat: the last figures will do.
        guard !figures.isAsking else { return }
        figures.isAsking = true
        let bridge = NIOLoopBound(self, eventLoop: eventLoop)
        let (sink, eventLoop) = (sink, eventLoop)
        Task {
            let hub = await sink.statistics()
            eventLoop.execute {
                bridge.value.figures.hub = hub
                bridge.value.figures.isAsking = false
            }
        }
    }

    private func numbers() -> [(String, UInt64)] {
        let hub = figures.hub
        let own = nodeStatistics?() ?? statistics()
        return [
            ("clients", UInt64(max(0, hub.clients))), ("users", UInt64(max(0, hub.users))),
            ("rooms", UInt64(max(0, hub.rooms))), ("subscriptions", UInt64(own.subscriptions)),
            ("presence_members", UInt64(own.presenceMembers)), ("messages_in", hub.messagesIn),
            ("deliveries", hub.deliveries), ("bytes_out", hub.bytesOut),
            ("dropped", hub.dropped.values.reduce(0, +)),
            ("slow_closed", hub.closed[CloseReason.slowConsumer.code] ?? 0),
            ("local_p50_us", hub.localDelivery.percentile(50)), ("local_p99_us", hub.localDelivery.percentile(99)),
            ("relay_p50_us", own.relay.percentile(50)), ("relay_p99_us", own.relay.percentile(99)),
            ("loop_lag_p99_us", hub.loopLag.percentile(99)),
            ("redis_rtt_us", UInt64(max(0, own.redisRoundTripMicroseconds))),
            ("relay_published", own.relayPublished), ("relay_received", own.relayReceived),
            ("relay_dropped", own.relayDropped.values.reduce(0, +)), ("relay_gaps", own.relayGaps),
            ("healed", own.healed), ("unrecoverable", own.unrecoverable),
            ("relay_expected", own.relayExpected), ("relay_arrived", own.relayArrived),
            ("relay_echoed", own.relayEchoed), ("relay_duplicates", own.relayDuplicates),
            ("cpu_percent", UInt64(max(0, figures.cpuPercent.rounded()))),
            ("rss_bytes", figures.process.residentBytes), ("fds", UInt64(max(0, figures.process.openDescriptors))),
        ]
    }

    /// The figures as they are now, and a sample for the series. Before the lease: who sees that sees these.
    private func writeFigures() {
        let own = RedisArgument.string(keys.node(node))
        commands?.send(["HSET", own] + hashWords())
        commands?.send(["PEXPIRE", own, .integer(configuration.leaseMilliseconds)])
        guard configuration.seriesLength > 0 else { return }
        let series = RedisArgument.string(keys.series(of: node))
        let length = RedisArgument.integer(Int64(configuration.seriesLength))
        commands?.send(["XADD", series, "MAXLEN", "~", length, "*"] + seriesWords())
        commands?.send(["EXPIRE", series, 86_400])
    }

    private func hashWords() -> [RedisArgument] {
        let texts = [
            ("version", ConduitVersion.current), ("host", configuration.host), ("address", configuration.address),
            ("started_at", Timestamp.text(figures.startedAt)), ("state", nodeState.rawValue),
        ]
        return texts.flatMap { [.string($0.0), .string($0.1)] }
            + numbers().flatMap { [.string($0.0), .string(String($0.1))] }
    }

    private func seriesWords() -> [RedisArgument] {
        numbers().flatMap { [.string($0.0), .string(String($0.1))] }
    }

    /// Adds to the stream of events.
    func event(_ name: String, _ fields: [String]) {
        guard let commands, commands.isReady else { return }
        commands.send(
            [
                "XADD", .string(keys.events), "MAXLEN", "~", .integer(Int64(configuration.eventsLength)), "*", "event",
                .string(name), "node", .string(node.rawValue),
            ] + fields.map { .string($0) })
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
