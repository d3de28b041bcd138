import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// One node's side of the bus: what leaves for other nodes, what comes from them, who is in which room everywhere.
///
/// Loop-bound: owned by its ``BridgeRef`` and used on one event loop only. It holds the values that decide
/// (`InterestTable`, `PresenceTable`, `RelayOutbox`, …) and does what they say; the extensions go by topic. Without
/// Redis it serves rosters and counts of this node alone.
final class Bridge {
    /// How far the connection to the others is.
    enum Phase: Equatable {
        /// No Redis is configured.
        case alone
        /// A link is missing.
        case offline
        /// Both links are there; confirmations of SUBSCRIBE are awaited.
        case subscribing
        /// This node's members are being written.
        case asserting
        /// The nodes that were known before are awaited, until a time, so that nothing is published into the void.
        case greeting(until: Int64)
        /// Messages cross.
        case live
        /// The end.
        case closed
    }

    let node: NodeID
    let incarnation: UInt64
    /// Policies of rooms may change while it runs; everything else stays.
    private(set) var configuration: ClusterConfiguration
    let keys: ClusterKeys
    let eventLoop: any EventLoop
    let logger: Logger
    /// Lines that other nodes, clients or a Redis that refuses can cause again and again.
    let limitedLog: LimitedLogger
    /// What writes the spans of messages; `nil` where nobody traces.
    let tracer: MessageTracer?
    let sink: any ShardSink
    let status: StatusCell
    let owedEvents: OwedEvents
    let commands: (any RedisTransport)?
    let subscriptions: (any RedisTransport)?

    var phase: Phase
    var interest: InterestTable
    var handOff: HandOff
    /// Shards with joins that are answered when the room's subscription is confirmed, as bits.
    var awaited: [RoomName: UInt64] = [:]
    private let sharedSends: SharedSends
    /// Counted deliveries: the same for all bridges of the node.
    var sends: PendingSends {
        get { sharedSends.value }
        _modify { yield &sharedSends.value }
    }
    /// What all bridges of the node have counted, where there are several.
    var nodeStatistics: (() -> ClusterStatistics)?
    /// Whether the node takes clients; asked with each heartbeat.
    var accepts: (@Sendable () -> Bool)?
    var counters = ClusterStatistics()
    var dropped: [String: UInt64] = [:]

    // Relay out and in.
    var outbox: RelayOutbox
    var source = SequenceSource()
    var tracker = SequenceTracker()
    var channels: ChannelTable
    var pacer: PublishPacer
    /// Messages that were collected in this turn.
    var turnMessages = 0
    /// A timer is set for what is held.
    var holdTimer = false
    let ownMark: NodeEnvelopeMark
    /// What this node has sent, for those who missed it.
    var recent: RecentMessages
    /// Those who missed something.
    var answers = RepairAnswers()
    /// What this node has missed.
    var catchUp: CatchUp
    /// Subscriptions that were lost singly and aren't confirmed again.
    var lostTopics: Set<BusTopic> = []
    /// Since when this node's own channels are followed.
    var serviceSince: Int64?
    /// When everything was forgotten that the tracker knew.
    var forgottenAt: Int64 = 0
    var trackerResets: UInt64 = 0
    /// Milliseconds in which this loop has worked.
    var awake: Int64 = 0
    var lastTick: Int64 = 0
    /// Audits that are being answered.
    var audits = 0
    /// Nodes that have gone while this one was there.
    var nodesGone: UInt64 = 0
    /// Rooms are to be told that they are live when nobody owes an answer.
    var owesLive = false
    var handedOff: [(sentAt: Int64, messages: Int)] = []

    // Ordered rooms.
    var ordered = OrderedRooms()
    var orderedPublishes: OrderedPublishes
    var orderedJoins: OrderedJoins
    var orderedLag = OrderedLag()
    /// Rooms with joins of this turn.
    var orderedToAdmit: Set<RoomName> = []
    /// Rooms whose positions are still to be compared.
    var orderedToCheck: [RoomName] = []
    var orderedCheckedAt: Int64 = 0
    var orderedTouchedAt: Int64 = 0
    /// Histories that are being read.
    var histories = 0

    // Presence.
    var presence: PresenceTable
    var diffs: PresenceDiffCoalescer
    var diffTimer = false
    /// Places in rosters of members whose connections broke.
    var grace = PresenceGrace()
    /// What keeps rosters right.
    var care: PresenceCare
    var presenceTurn: [RoomName: PresenceTurn] = [:]
    /// Members who left and whose HDEL isn't confirmed.
    var tombstones = Tombstones()
    /// Members who joined while Redis was away.
    var unasserted: [RoomName: Set<ClientID>] = [:]
    var assertedRooms: Set<RoomName> = []
    var assertion: Assertion?
    var assertions: UInt64 = 0
    /// When to say everything again because Redis refused a part.
    var assertAgainAt: Int64?
    var snapshots = SnapshotQueue()
    var queries: [RoomName: [WaitingQuery]] = [:]
    var queryCount = 0
    /// Rosters of rooms that this node doesn't follow, being read for those who asked.
    var scans = RosterScans()

    // Revocations.
    /// Whether what belongs to no room and no user goes over this bridge.
    var isCommon = true
    /// Those that were said here and not to the others, who were out of reach.
    var owedRevocations: [Revocation] = []
    /// When they were told last; they are told again when that didn't get through.
    var owedRevocationsToldAt: Int64 = 0
    /// Which reading of those in Redis is under way, and when the last one was complete.
    var revocationScan: RevocationScan?
    var revocationsReadAt: Int64?

    // Surveys.
    /// Questions of this node that aren't answered by everybody.
    var surveys = SurveyTable()
    /// Questions that this node is finding the answer to.
    var surveysAnswered = 0
    /// How many members rooms have on all nodes: of several bridges each knows its own rooms.
    var rosterCounts: (([RoomName]) -> [Int])?

    // Registry.
    var directory: NodeDirectory
    var figures = NodeFigures()
    /// What clients may cause in the stream of events.
    var eventRate: TokenBucket
    var nodeState = NodeState.starting
    var registered = false
    /// Whether this process may go by the node's id.
    var lease = LeaseClaim()
    var isIdentifying = false
    /// Redis has refused to write the newest lease, and whether it refuses leases or heartbeats.
    var leaseIsRefused = false
    var heartbeatIsRefused = false
    /// Whose lease has run out isn't taken for dead before: Redis may have refused to renew it.
    var claimsFrom: Int64 = 0
    var toldWaiting = false
    /// Another running node goes by the same id: called once, before the bridge ends.
    var onConflict: ((NodeIDConflict) -> Void)?
    /// What the node is told to do, by whoever may.
    var onOrder: ((NodeOrder) -> Void)?
    /// The traces of this node are being removed: nothing may renew them.
    var isLeaving = false
    var swept = false
    /// Dead nodes whose clean-up this node asked for; `true` when Redis let it.
    var cleaning: [NodeID: Bool] = [:]
    var greeted: Set<NodeID> = []
    var expected: Set<NodeID> = []
    /// Nodes that said hello and that no list of nodes has shown yet.
    var newcomers: Set<NodeID> = []
    var lostAt: Int64?
    var toldDegraded = false
    var hasBeenLive = false
    var probesSent: UInt64 = 0
    var probesBack: UInt64 = 0
    /// When the probes that are under way were sent.
    var probeTimes: [(number: UInt64, time: Int64)] = []
    /// When the newest probe was sent that came back: what was published before it has arrived.
    var provenAt: Int64?
    var scriptDigests: [String: String] = [:]

    /// Confirmations of the channels that every node listens to.
    var serviceChannels = 0
    /// Confirmations that are missing of what was wanted when the links became ready.
    var backlog = 0
    /// When the last confirmation came.
    var subscribingSince: Int64 = 0

    private var flushScheduled = false

    init(
        node: NodeID, configuration: ClusterConfiguration, eventLoop: any EventLoop, sink: any ShardSink,
        status: StatusCell, owedEvents: OwedEvents, sends: SharedSends = SharedSends(),
        tracer: MessageTracer? = nil, logger: Logger
    ) {
        self.node = node
        self.incarnation = UInt64(clamping: WallClock.microseconds)
        self.configuration = configuration
        self.keys = ClusterKeys(prefix: configuration.prefix)
        self.channels = ChannelTable(keys: keys)
        self.pacer = PublishPacer(longestHold: configuration.publishHoldMicroseconds)
        self.ownMark = NodeEnvelopeMark(origin: node, incarnation: incarnation)
        self.eventLoop = eventLoop
        self.sink = sink
        self.status = status
        self.owedEvents = owedEvents
        self.sharedSends = sends
        self.logger = logger
        self.limitedLog = LimitedLogger(logger)
        self.tracer = tracer
        self.phase = configuration.redis == nil ? .alone : .offline
        self.interest = InterestTable(lingerMilliseconds: configuration.lingerMilliseconds)
        self.handOff = HandOff(shards: sink.shardCount, compressesFrom: sink.compressesFrom)
        self.outbox = RelayOutbox(
            byteLimit: configuration.outboxBytes, ageMilliseconds: configuration.outboxAgeMilliseconds)
        self.recent = RecentMessages(
            byteLimit: configuration.ringBytes, ageMilliseconds: configuration.ringAgeMilliseconds)
        self.catchUp = CatchUp(
            memoryMilliseconds: configuration.ringAgeMilliseconds,
            patienceMilliseconds: configuration.repairMilliseconds)
        self.orderedPublishes = OrderedPublishes(byteLimit: configuration.outboxBytes)
        self.orderedJoins = OrderedJoins(byteLimit: configuration.replayBytes, compressesFrom: sink.compressesFrom)
        self.presence = PresenceTable(own: node)
        self.diffs = PresenceDiffCoalescer(intervalMilliseconds: configuration.presenceDiffMilliseconds)
        self.care = PresenceCare(heartbeatMilliseconds: configuration.heartbeatMilliseconds)
        self.eventRate = TokenBucket(
            perSecond: configuration.eventsPerSecond, burst: configuration.eventsPerSecond,
            now: Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000))
        self.directory = NodeDirectory(own: node, leaseMilliseconds: configuration.leaseMilliseconds)
        if var redis = configuration.redis {
            redis.clientName = redis.clientName ?? "conduit-\(node)"
            let transports = redis.makeTransports(eventLoop: eventLoop, logger: logger)
            commands = transports.commands
            subscriptions = transports.subscriptions
        } else {
            commands = nil
            subscriptions = nil
        }
    }

    /// The command by which scripts publish into a channel: `PUBLISH`, or `SPUBLISH` in a Redis Cluster.
    var publishWord: String { commands?.publishWord ?? "PUBLISH" }

    /// Milliseconds that never go back.
    var now: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Whether commands about presence can be written: the assertion covers what happened before.
    var canAssert: Bool {
        switch phase {
        case .asserting, .greeting, .live: true
        case .alone, .offline, .subscribing, .closed: false
        }
    }

    /// Other policies of rooms from now on, and how much a client that comes back is given at once.
    func reload(rooms: RoomPolicies, replayBytes: Int) {
        configuration.rooms = rooms
        configuration.replayBytes = replayBytes
        orderedJoins.byteLimit = replayBytes
    }

    // MARK: Life

    func start() {
        every(.milliseconds(50)) { $0.tick() }
        guard let commands, let subscriptions else { return }
        commands.onReady = { [weak self] in self?.linkReady() }
        commands.onPublished = { [weak self] in self?.published($0) }
        commands.onLost = { [weak self] in self?.linkLost("commands", $0) }
        subscriptions.onReady = { [weak self] in self?.linkReady() }
        subscriptions.onLost = { [weak self] in self?.linkLost("subscriptions", $0) }
        subscriptions.onMessage = { [weak self] in self?.received($0, $1) }
        subscriptions.onSubscribed = { [weak self] in self?.subscribed($0) }
        subscriptions.onSubscribeRefused = { [weak self] in self?.subscribeRefused($0, $1) }
        subscriptions.onChannelsLost = { [weak self] in self?.channelsLost($0) }
        commands.start()
        subscriptions.start()
        every(.milliseconds(max(50, configuration.heartbeatMilliseconds))) { $0.heartbeat() }
        // A Redis that isn't there at the start is the same as one that went away.
        eventLoop.assumeIsolated().scheduleTask(in: .seconds(2)) { [weak self] in
            guard let self, self.status.value == .connecting else { return }
            if !self.toldWaiting {
                self.logger.warning("Redis is not reached; this node works alone until it is")
            }
            self.degraded()
        }
    }

    /// Does something again and again, as long as the bridge lives.
    private func every(_ delay: TimeAmount, _ body: @escaping (Bridge) -> Void) {
        eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            guard let self, self.phase != .closed else { return }
            body(self)
            self.every(delay, body)
        }
    }

    private func tick() {
        let now = now
        outbox.tick(now: now)
        recent.tick(now: now)
        catchUpTick(now: now)
        for finished in sends.sweep(now: now) { finish(finished) }
        sweepQueries(now: now)
        tendPresence(now: now)
        unsubscribeIdle(now: now)
        interest.retryRefused(now: now)
        checkSubscribing(now: now)
        tickOrdered(now: now)
        tellLengthenedRevocations()
        if let again = assertAgainAt, again <= now, assertion == nil, canAssert, !isLeaving { assertEverything() }
        if case .greeting(let until) = phase, until <= now { becomeLive() }
        needsFlush()
    }

    // MARK: From the shards

    /// One batch of one shard, in the order in which things happened there.
    func take(_ events: [HubEvent], fromShard shard: Int) {
        for event in events {
            switch event {
            case .connected(let client, let user):
                if let user { interest.joined(.user(user), shard: shard) }
                connectedEvent(client, user)
            case .disconnected(let client, let user, let reason):
                if let user { interest.left(.user(user), shard: shard, now: now) }
                disconnectedEvent(client, user, reason)
            case .joined(let room, let member):
                joined(room, shard: shard)
                localJoined(member, room)
            case .left(let room, let client, let reason):
                if keepsPlace(of: client, in: room, reason, shard: shard) { continue }
                left(room, client, reason, shard: shard)
            case .sentAway(let room, let client):
                if keepsPlace(ofSentAway: client, in: room, shard: shard) { continue }
                left(room, client, .disconnected, shard: shard)
            case .broadcast(let room, let message): relay(.room(room), .broadcast) { $0.append(message.json) }
            case .broadcastAll(let message): relay(.everyone, .broadcast) { $0.append(message.json) }
            case .send(let target, let message, let pending): relaySend(target, message, pending)
            case .delivered(let token, let count):
                if let finished = sends.delivered(token, count: count, now: now) { finish(finished) }
            case .presenceQuery(let query): answer(query)
            case .publishOrdered(let publish): publishOrdered(publish)
            case .joinOrdered(let join): joinOrdered(join, shard: shard)
            case .admitted(let room, let member):
                let isFollowed = presence.follows(room)
                localJoined(member, room)
                // The subscription was confirmed before anybody was let in: nothing was followed then.
                if !isFollowed, interest.isConfirmed(.room(room)) { requestSnapshot(room) }
            case .joinAbandoned(let room): joinAbandoned(room, shard: shard)
            case .historyQuery(let query): answer(query)
            case .traced(let context, let event): take(event, in: context, fromShard: shard)
            }
        }
        needsFlush()
    }

    private func left(_ room: RoomName, _ client: ClientID, _ reason: LeaveReason, shard: Int) {
        localLeft(client, room, reason)
        interest.left(.room(room), shard: shard, now: now)
        if interest.state(of: .room(room)) == nil {
            answerAwaited(room)
            forget(room)
        }
    }

    // MARK: The end of a turn

    /// Makes sure that what this turn brings leaves together, after the reads of the turn.
    func needsFlush() {
        guard !flushScheduled else { return }
        flushScheduled = true
        eventLoop.assumeIsolated().execute {
            self.flushScheduled = false
            self.flush()
        }
    }

    /// `isUrgent`: nothing is held for the sake of a fuller flush.
    func flush(isUrgent: Bool = false) {
        flushPresence()
        flushRelay(isUrgent: isUrgent)
        subscribeWanted()
        admitNewcomers()
        flushOrdered()
        pump()
        handOff.flush(to: sink)
        guard !handedOff.isEmpty else { return }
        let now = WallClock.microseconds
        for (sentAt, messages) in handedOff {
            counters.relay.record(
                microseconds: max(0, now.subtractingReportingOverflow(sentAt).partialValue), count: UInt64(messages))
        }
        handedOff.removeAll(keepingCapacity: true)
    }

    // MARK: Figures

    func drop(_ reason: String, _ count: UInt64 = 1) { dropped[reason, default: 0] += count }

    func statistics() -> ClusterStatistics {
        var result = counters
        result.status = status.value
        result.relayDropped = dropped
        let bounded = [
            (RelayDrop.outboxBytes, outbox.droppedForBytes), (RelayDrop.outboxAge, outbox.droppedForAge),
            (RelayDrop.shardBusy, handOff.dropped), (RelayDrop.bridgeBusy, owedEvents.dropped),
        ]
        for (reason, count) in bounded where count > 0 { result.relayDropped[reason] = count }
        result.subscriptions = phase == .alone ? 0 : interest.count
        result.presenceMembers = presence.memberCount
        result.presenceRepaired = care.repaired
        result.outboxBytes = outbox.bytes
        result.nodes = directory.living.count + 1
        let connections = (commands?.connections ?? 0, subscriptions?.connections ?? 0)
        result.reconnects = UInt64(max(0, connections.0 - 1) + max(0, connections.1 - 1))
        return result
    }
}

@available(*, unavailable)
extension Bridge: Sendable {}
