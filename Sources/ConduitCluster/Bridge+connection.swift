import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

// From two links to a node that takes part, and back.
extension Bridge {
    /// Longest wait for the nodes that were there before, in milliseconds.
    private static let greetingMilliseconds: Int64 = 3_000
    /// How long confirmations may stop, beyond the timeout of a command.
    private static let subscribingMilliseconds: Int64 = 5_000
    /// Most topics in one SUBSCRIBE.
    private static let subscribeBatch = 512

    func linkReady() {
        guard phase == .offline, let commands, let subscriptions, commands.isReady, subscriptions.isReady else {
            return
        }
        // Before anything is written that could disturb another node.
        identify { [weak self] in self?.linkIdentified() }
    }

    private func linkIdentified() {
        guard phase == .offline, let commands, let subscriptions, commands.isReady, subscriptions.isReady else {
            return
        }
        phase = .subscribing
        subscribingSince = now
        loadScripts()
        probesBack = probesSent
        probeTimes = []
        // This node's own channels first: Redis confirms in order.
        let own = [keys.channel(.everyone), keys.channel(.control), keys.channel(.node(node))]
        subscriptions.subscribe(own)
        interest.connectionReady()
        // Redis confirms in order: when so many have come, everything that is wanted now is heard. What is wanted
        // later isn't waited for, or a busy node would never be done.
        backlog = own.count + interest.unconfirmed
        subscribeWanted()
        heartbeat()
    }

    func linkLost(_ which: String, _ error: RedisError) {
        guard phase != .closed else { return }
        let wasLive = phase == .live
        if which == "subscriptions" {
            for topic in interest.connectionLost() { tracker.pause(topic) }
            orderedSubscriptionsLost()
            presence.connectionLost()
            snapshots.clear()
            for room in Array(presence.rooms) where interest.state(of: .room(room)) == nil { forget(room) }
            serviceChannels = 0
            lostTopics.removeAll()
            catchUp.lost()
        } else {
            outbox.connectionLost()
            orderedCommandsLost()
            lease.connectionLost()
            abandonAssertion()
        }
        if phase != .offline, subscriptions?.isReady == true {
            // The other link lost its place in the sequence of steps; its subscriptions stay.
            presence.connectionLost()
            snapshots.clear()
        }
        phase = .offline
        owesLive = false
        answerAwaited()
        greeted = []
        expected = expected.union(directory.living).union(newcomers)
        guard wasLive else { return }
        logger.warning("the cluster is out of reach", metadata: [LogKey.reason: "\(which)", LogKey.error: "\(error)"])
        degraded()
    }

    /// The edge to degraded: said once.
    func degraded() {
        guard !toldDegraded else { return }
        toldDegraded = true
        let wall = WallClock.milliseconds
        lostAt = wall
        status.value = .degraded(since: wall)
        tellRooms(.degraded)
        ordered.allAreTold()
    }

    func tellRooms(_ state: RoomState) {
        for case .room(let room) in interest.topics where state == .degraded || !ordered.contains(room) {
            let mask = interest.shards(of: .room(room))
            if mask != 0 { handOff.add(.observers(room, EventEncoder.roomState(state, room: room)), to: mask) }
        }
        needsFlush()
    }

    // MARK: Subscriptions

    func subscribeWanted() {
        guard let subscriptions, subscriptions.isReady, phase != .offline, phase != .closed else { return }
        while true {
            let topics = interest.takeSubscriptions(limit: Self.subscribeBatch)
            if topics.isEmpty { break }
            if subscriptions.subscribe(topics.map(keys.channel)) != nil {
                // What was taken is not asked for: only a new connection puts that right.
                return subscriptions.forceReconnect(reason: "SUBSCRIBE was not taken")
            }
        }
        checkSubscribed()
    }

    func subscribed(_ channel: ByteBuffer) {
        guard let topic = channels.topic(of: channel) else { return }
        backlog -= 1
        subscribingSince = now
        switch topic {
        case .everyone, .control, .node:
            serviceChannels += 1
            if serviceSince == nil { serviceSince = now }
        case .room(let room):
            if interest.confirmed(topic, now: now) {
                // Before any message that came behind the confirmation.
                answerAwaited(room)
                orderedConfirmed(room)
                requestSnapshot(room)
            }
        case .user: interest.confirmed(topic, now: now)
        }
        if !lostTopics.isEmpty, lostTopics.remove(topic) != nil, lostTopics.isEmpty { askEverybody() }
        checkSubscribed()
    }

    func subscribeRefused(_ channels: [String], _ error: RedisError) {
        limitedLog.log(
            .error, "Redis refuses subscriptions; check the rights of the user",
            [LogKey.error: "\(error)", LogKey.count: "\(channels.count)"])
        drop(RelayDrop.subscribeRefused, UInt64(channels.count))
        backlog -= channels.count
        for channel in channels {
            guard let topic = keys.topic(ofChannel: channel) else { continue }
            interest.refused(topic, now: now)
            guard case .room(let room) = topic else { continue }
            answerAwaited(room)
            if interest.state(of: topic) == nil { forget(room) }
        }
        let isDeaf = channels.contains { channel in
            switch keys.topic(ofChannel: channel) {
            case .everyone, .control, .node: true
            case .room, .user, nil: false
            }
        }
        // This node's own channels, asked for again when their slot moved: without them it hears nothing.
        if isDeaf, phase != .subscribing, phase != .offline {
            return subscriptions?.forceReconnect(reason: "channels of this node were refused") ?? ()
        }
        checkSubscribed()
    }

    // MARK: Joins that wait

    /// A shard has a member more. Its first one is told when other nodes' messages reach the room: when Redis has
    /// confirmed the subscription, or at once when there is nothing to wait for.
    func joined(_ room: RoomName, shard: Int) {
        let topic = BusTopic.room(room)
        guard phase != .alone, (0..<InterestTable.maximumShards).contains(shard) else {
            interest.joined(topic, shard: shard)
            return
        }
        let bit: UInt64 = 1 << UInt64(shard)
        let isFirst = interest.shards(of: topic) & bit == 0
        interest.joined(topic, shard: shard)
        guard isFirst else { return }
        switch interest.state(of: topic) {
        case .wanted where phase == .live, .subscribing where phase == .live: awaited[room, default: 0] |= bit
        case .wanted, .subscribing, .refused, .live, .lingering, nil: handOff.add(.roomLive(room), to: bit)
        }
    }

    /// Lets the joins of a room be answered.
    func answerAwaited(_ room: RoomName) {
        guard let mask = awaited.removeValue(forKey: room) else { return }
        handOff.add(.roomLive(room), to: mask)
        needsFlush()
    }

    /// Lets all joins be answered: nobody waits for a bus that is away.
    func answerAwaited() {
        for room in Array(awaited.keys) { answerAwaited(room) }
    }

    func unsubscribeIdle(now: Int64) {
        let topics = interest.takeUnsubscriptions(now: now)
        guard !topics.isEmpty else { return }
        for topic in topics {
            tracker.pause(topic)
            if case .room(let room) = topic { forget(room) }
        }
        subscriptions?.unsubscribe(topics.map(keys.channel))
    }

    /// Confirmations that don't come, or a refusal of this node's own channels: only a new connection helps.
    func checkSubscribing(now: Int64) {
        guard phase == .subscribing, let redis = configuration.redis else { return }
        let patience = redis.commandTimeout.nanoseconds / 1_000_000 + Self.subscribingMilliseconds
        guard now - subscribingSince > patience else { return }
        subscriptions?.forceReconnect(reason: "subscriptions are not confirmed")
    }

    private func checkSubscribed() {
        guard phase == .subscribing, serviceChannels >= 3, backlog <= 0 else { return }
        phase = .asserting
        askEverybody()
        sweepOwnLeftovers()
        // The channel on which new ones are told is heard by now.
        readRevocations()
        assertEverything()
    }

    // MARK: Greeting

    /// This node's members are in Redis: say that it listens again, and wait for those who were there before.
    func greet() {
        guard phase == .asserting else { return }
        phase = .greeting(until: now + Self.greetingMilliseconds)
        publishNow(.control, .hello)
        checkGreeted()
    }

    func greetedBy(_ peer: NodeID) {
        guard directory.nodes[peer] != nil || expected.contains(peer) else { return }
        greeted.insert(peer)
        checkGreeted()
    }

    func checkGreeted() {
        guard case .greeting = phase, expected.isSubset(of: greeted) else { return }
        becomeLive()
    }

    func becomeLive() {
        phase = .live
        expected = []
        for room in presence.rooms { requestSnapshot(room) }
        runSnapshots()
        pump()
        logger.info("the cluster is in reach", metadata: [LogKey.node: "\(node)"])
        if toldDegraded {
            // A node that comes up before Redis has lost nothing.
            if hasBeenLive {
                let wall = WallClock.milliseconds
                let lost = lostAt ?? wall
                event("redis_lost", ["at", Timestamp.text(lost)])
                event("redis_back", ["away_ms", String(max(0, wall - lost))])
            }
            owesLive = true
            tellLive()
            tellOrderedLive()
        }
        hasBeenLive = true
        toldDegraded = false
        lostAt = nil
        status.value = .connected
        tellOwedRevocations()
        needsFlush()
    }
}
