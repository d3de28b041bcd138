import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

/// The newest figures of the hub and the process, for the heartbeat.
struct NodeFigures {
    var hub = HubStatistics()
    var process = ProcessFigures.now()
    var cpuPercent = 0.0
    var isAsking = false
    var recent = RecentFigures()
    /// The busiest rooms as they stand in Redis; `nil` when that isn't known.
    var writtenBusiest: [BusyRoom]?
    let startedAt = WallClock.milliseconds
}

// What operators read in Redis: `p:node:<id>`, `p:series:<id>`, `p:busy:<id>`, `p:events`.
extension Bridge {
    func refreshFigures() {
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

    /// Moves the last minute on. Each heartbeat, whether Redis is there or not: a window that nobody has looked at for long
    /// holds nothing.
    func updateRecentFigures() { figures.recent.update(figures.hub, nodeStatistics?() ?? statistics(), now: now) }

    private func numbers() -> [(String, UInt64)] {
        let hub = figures.hub
        let own = nodeStatistics?() ?? statistics()
        let recent = figures.recent
        return [
            ("clients", UInt64(max(0, hub.clients))), ("users", UInt64(max(0, hub.users))),
            ("rooms", UInt64(max(0, hub.rooms))), ("subscriptions", UInt64(own.subscriptions)),
            ("presence_members", UInt64(own.presenceMembers)), ("messages_in", hub.messagesIn),
            ("deliveries", hub.deliveries), ("bytes_out", hub.bytesOut),
            ("dropped", hub.dropped.values.reduce(0, +)),
            ("slow_closed", hub.closed[CloseReason.slowConsumer.code] ?? 0),
            ("local_p50_us", recent.local.percentile(50)), ("local_p99_us", recent.local.percentile(99)),
            ("relay_p50_us", recent.relay.percentile(50)), ("relay_p99_us", recent.relay.percentile(99)),
            ("loop_lag_p99_us", recent.loopLag.percentile(99)),
            ("handshake_p99_us", recent.handshake.percentile(99)), ("ping_p99_us", recent.ping.percentile(99)),
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
    func writeFigures() {
        let numbers = numbers().flatMap { [RedisArgument.string($0.0), .string(String($0.1))] }
        let own = RedisArgument.string(keys.node(node))
        let lease = RedisArgument.integer(configuration.leaseMilliseconds)
        commands?.send(["HSET", own] + identityWords() + numbers)
        commands?.send(["PEXPIRE", own, lease])
        writeBusiest(lease)
        guard configuration.seriesLength > 0 else { return }
        let series = RedisArgument.string(keys.series(of: node))
        let length = RedisArgument.integer(Int64(configuration.seriesLength))
        commands?.send(["XADD", series, "MAXLEN", "~", length, "*"] + numbers)
        commands?.send(["EXPIRE", series, 86_400])
    }

    private func identityWords() -> [RedisArgument] {
        [
            "version", .string(ConduitVersion.current), "host", .string(configuration.host), "address",
            .string(configuration.address), "started_at", .string(Timestamp.text(figures.startedAt)), "state",
            .string(nodeState.rawValue), "accepts", .string(accepts?() ?? true ? "1" : "0"),
        ]
    }

    /// The rooms that most was published to here, by messages a second. Written anew when they have changed.
    private func writeBusiest(_ lease: RedisArgument) {
        let busiest = figures.hub.busiest
        if figures.writtenBusiest != busiest {
            figures.writtenBusiest = busiest
            let words = busiest.flatMap { busy in
                let tenths = (busy.perSecond * 10).rounded() / 10
                return [RedisArgument.string("\(tenths)"), .string(busy.room.rawValue)]
            }
            evaluate(.busiest, keys: [keys.busy(of: node)], [lease] + words) { [weak self] result in
                if case .failure = result { self?.figures.writtenBusiest = nil }
            }
            return
        }
        guard !busiest.isEmpty else { return }
        let key = RedisArgument.string(keys.busy(of: node))
        commands?.send(["PEXPIRE", key, lease]) { [weak self] result in
            // Redis has lost it, or it ran out while Redis was away.
            if case .success(let found) = result, found.integer == 0 { self?.figures.writtenBusiest = nil }
        }
    }

    // MARK: Events

    /// Adds to the stream of events.
    func event(_ name: String, _ fields: [String]) {
        guard let commands, commands.isReady else { return }
        commands.send(
            [
                "XADD", .string(keys.events), "MAXLEN", "~", .integer(Int64(configuration.eventsLength)), "*", "event",
                .string(name), "node", .string(node.rawValue),
            ] + fields.map { .string($0) })
    }

    /// The same for what clients cause: as often as it is allowed, and what is more is counted.
    private func frequentEvent(_ name: String, _ fields: @autoclosure () -> [String]) {
        guard commands?.isReady == true else { return }
        guard eventRate.take(now: now) else { return counters.eventsDropped[name, default: 0] += 1 }
        event(name, fields())
    }

    /// The first member of the cluster is in a room, or the last one is out.
    func roomEvent(_ name: String, _ room: RoomName) {
        guard configuration.roomEvents else { return }
        frequentEvent(name, ["room", room.rawValue])
    }

    func connectedEvent(_ client: ClientID, _ user: UserID?) {
        guard configuration.clientEvents else { return }
        frequentEvent("client_connected", ["client", client.rawValue] + words(of: user))
    }

    func disconnectedEvent(_ client: ClientID, _ user: UserID?, _ reason: CloseReason) {
        guard configuration.clientEvents else { return }
        frequentEvent(
            "client_disconnected",
            ["client", client.rawValue] + words(of: user) + ["code", "\(reason.code)", "reason", reason.text])
    }

    private func words(of user: UserID?) -> [String] { user.map { ["user", $0.rawValue] } ?? [] }
}
