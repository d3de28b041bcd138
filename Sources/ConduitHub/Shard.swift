import ConduitCore
import ConduitTelemetry
package import ConduitWire
import Logging
package import NIOCore
import Tracing

/// Owner of the clients of one event loop, and of their memberships. Loop-bound; reached from elsewhere by ``ShardRef``.
///
/// Whatever it tells anybody in a loop turn (its own clients, the other shards, the bridge) is collected and leaves at
/// the end of the turn: each client is written to once, each neighbour gets one batch.
package final class Shard {
    let index: Int
    let node: NodeID
    package let eventLoop: any EventLoop
    /// Replaced as a whole by ``reload(_:authorizes:)``.
    ///
    /// Not yielded as the values below: in conditions that are cut short, Swift 6.3 destroys what was never read.
    var configuration: HubConfiguration {
        get { unsafe storedConfiguration }
        set { unsafe storedConfiguration = newValue }
    }
    let router: MessageRouter
    let hooks: HubHooks
    /// The way to the bridge; set before the first client comes.
    var relay: any HubRelay
    let logger: Logger
    /// What the sockets of this loop are read into.
    package let receivePool: ReceivePool
    /// The doors to all shards of the node, this one too; set once by the hub.
    var neighbours: [ShardRef] = []

    var clients: ClientTable {
        _read { yield unsafe storedClients }
        _modify { yield unsafe &storedClients }
    }
    var users: [UserID: Set<Int32>] = [:]
    var rooms: RoomTable {
        _read { yield unsafe storedRooms }
        _modify { yield unsafe &storedRooms }
    }
    /// Whether rooms differ from the defaults: only then is a room's policy looked at for each message.
    var hasPolicies: Bool {
        get { unsafe storedHasPolicies }
        set { unsafe storedHasPolicies = newValue }
    }
    /// What becomes of messages for slow members; `nil` where all of those are closed.
    var slowRules: SlowRules?
    /// What waits for slow clients on all shards together.
    let pendingTotal: PendingTotal
    /// Slots of clients for whom something waits.
    var stalled: Set<Int32> = []
    /// Whether clients are about to be closed since too much waits on the node.
    var isRelieving = false
    /// Clients that wait to be let into ordered rooms.
    var pendingJoins: [PendingJoin: PendingMember] = [:]
    /// Rooms whose joins wait for the other nodes' messages.
    var awaitedRooms: [RoomName: AwaitedRoom] = [:]

    /// What writes the spans of messages; `nil` where nobody traces.
    let tracer: MessageTracer?
    /// The same as a bit: what every message asks.
    let isTracing: Bool
    /// The span in which the message at hand is published.
    var publishing: ServiceContext?
    /// Traces that clients may begin.
    var traceBudget: TokenBucket?
    /// Deliveries whose messages are not written to everybody.
    var deliverySpans: [any TraceSpan] = []
    /// Lines that clients can cause.
    let limitedLog: LimitedLogger

    /// The tokens that are good no more; shared with all of the node.
    let revocations: Revocations
    /// Whether somebody else is asked about joining and publishing.
    var asksToJoin: Bool
    var asksToPublish: Bool
    /// What was asked of the application and is not answered.
    var questions: [UInt64: PendingQuestion] = [:]
    var questionNumber: UInt64 = 0

    var outbox: Outbox {
        _read { yield unsafe storedOutbox }
        _modify { yield unsafe &storedOutbox }
    }
    /// What compresses and expands for clients who take messages so; `nil` where nobody may.
    let compressor: MessageCompressor?
    /// Messages of fewer bytes are compressed for nobody.
    let compressesFrom: Int
    /// Whether the outbox is being written.
    var isWriting = false
    /// Lets the loop look at its sockets between two slices of a very large fan-out.
    var yield: LoopYield?
    /// Where the message at hand is unmasked, whoever sent it.
    var scratch: [UInt8] {
        _read { yield unsafe storedScratch }
        _modify { yield unsafe &storedScratch }
    }
    /// Clients that are to be read from again at the end of the turn.
    var paused: [Client] = []
    var crossShard: [[ShardCommand]] = []
    var events: [HubEvent] = []
    /// When this turn began, while there is one.
    private var turnStart: NIODeadline?
    /// Reads from clients' sockets in this turn.
    var turnReads = 0
    /// Sockets that a flooded shard reads from past NIO; `nil` where there is no such thing.
    let poll = ReadyPoll()
    /// Whether it does so now, and the clients that NIO doesn't read from meanwhile.
    var isPolling = false
    var polled: Set<Int32> = []
    /// Those of them from whom the shard hasn't read yet.
    var newlyPolled: [Int32] = []
    /// Turns in a row that brought next to nothing while polling.
    var quietTurns = 0
    /// Where sockets are read into.
    var received = [UInt8](repeating: 0, count: 64 << 10)
    /// Turns that have ended.
    var turnNumber: UInt64 = 0
    /// How many messages were delivered in this one.
    var turnBroadcasts: UInt64 = 0
    /// Turns whose messages are not written to everybody, with their number.
    private var deliveries: [(start: NIODeadline, count: UInt64)] = []

    var statistics: HubStatistics {
        _read { yield unsafe storedStatistics }
        _modify { yield unsafe &storedStatistics }
    }
    var deliveryNumber: UInt64 = 0
    var generator = SystemRandomNumberGenerator()
    /// Rises with each user who comes or goes, as far as this shard is concerned.
    var userChanges: UInt64 = 0
    /// The rooms that most was published to in the last window, and when the running one began (monotonic, ms).
    var busiest: [BusyRoom] = []
    var trafficSince: Int64 = 0
    var sweeper: Scheduled<Void>?
    var sweepPosition = 0
    /// When the next sweep is due (monotonic, µs).
    var expectedSweep: Int64 = 0
    /// Set when the node stops: no new clients.
    var isStopping = false
    /// Clients are being sent to other nodes, by the order of this number.
    var shedding: Shedding?
    /// Those who were told to go and whose messages are still published: no more than there are clients, none in usual times.
    var lateClients: Set<Int32> = []
    /// Clients that were told to go, or have said so, and whose connections aren't closed yet.
    var closingCount = 0
    /// Clients that are served.
    var openCount: Int { clients.count - closingCount }
    var shedNumber: UInt64 = 0

    // What every message touches. Unsafe: that no two accesses overlap is not checked at run time, which would cost
    // several look-ups in thread-local storage for each of them. They don't: only this loop comes here, and what is
    // called while one of these values is being changed (encoders, `send`) never comes back to the shard.
    @exclusivity(unchecked) private var storedConfiguration: HubConfiguration
    @exclusivity(unchecked) private var storedHasPolicies: Bool
    @exclusivity(unchecked) private var storedClients = ClientTable()
    @exclusivity(unchecked) private var storedRooms: RoomTable
    @exclusivity(unchecked) private var storedOutbox: Outbox
    @exclusivity(unchecked) private var storedScratch: [UInt8] = []
    @exclusivity(unchecked) private var storedStatistics = HubStatistics()

    init(
        index: Int, node: NodeID, eventLoop: any EventLoop, configuration: HubConfiguration, router: MessageRouter,
        hooks: HubHooks, relay: any HubRelay, revocations: Revocations = Revocations(),
        pendingTotal: PendingTotal = PendingTotal(shards: 1), tracer: MessageTracer? = nil, logger: Logger
    ) {
        self.index = index
        self.node = node
        self.eventLoop = eventLoop
        unsafe self.storedConfiguration = configuration
        self.router = router
        self.hooks = hooks
        self.relay = relay
        self.revocations = revocations
        self.asksToJoin = hooks.authorize != nil && hooks.authorizes.contains(.join)
        self.asksToPublish = hooks.authorize != nil && hooks.authorizes.contains(.publish)
        self.logger = logger
        self.limitedLog = LimitedLogger(logger)
        self.tracer = tracer
        self.isTracing = tracer != nil
        self.traceBudget = tracer?.budget
        self.slowRules = SlowRules(configuration.rooms)
        self.pendingTotal = pendingTotal
        unsafe self.storedHasPolicies = configuration.rooms != RoomPolicies()
        let compressor = configuration.compression?.makeCompressor()
        self.compressor = compressor
        self.compressesFrom = compressor?.threshold ?? .max
        // No client's share of a turn is more than it may be owed.
        unsafe self.storedOutbox = Outbox(heavyBytes: configuration.pendingBytes, compressor: compressor)
        self.receivePool = ReceivePool(bufferBytes: configuration.readBufferBytes)
        unsafe self.storedRooms = RoomTable(
            roomsPerClient: configuration.roomsPerClient, membersPerRoom: configuration.membersPerRoom,
            policies: configuration.rooms)
    }

    /// Monotonic milliseconds: what every time of a client is measured with. The clock is read once a turn.
    var now: Int64 { Int64((turnStart ?? eventLoop.now).uptimeNanoseconds / 1_000_000) }

    // MARK: Clients

    /// Registers a connection that was upgraded on this loop and puts its handler into the channel.
    ///
    /// - Parameters:
    ///   - leftover: what the client sent right behind its handshake.
    ///   - deflate: what was agreed on about compression, if anything.
    ///   - isPlain: whether bytes go to the socket as they are: no other handler of the channel changes them.
    ///   - handshakeMicroseconds: how long it has taken to get here from accept.
    ///   - observer: is told when the connection ends, unless this throws.
    ///   - address: where the client comes from, for operators.
    package func admit(
        _ channel: any Channel, identity: Identity, leftover: ByteBuffer? = nil,
        deflate: DeflateParameters? = nil, isPlain: Bool = true, handshakeMicroseconds: Int64? = nil,
        observer: (any ConnectionObserver)? = nil, address: RemoteAddress = .unknown
    ) throws {
        guard !isStopping else { throw ChannelError.eof }
        let now = self.now
        // The first ping comes early by chance, so that clients who came together are not pinged together.
        let interval = Int64(configuration.pingIntervalMilliseconds)
        let client = Client(
            id: ClientID(node: node, using: &generator), identity: identity, slot: clients.reserve(),
            windowBits: compressor == nil ? 0 : deflate?.serverWindowBits ?? 0, shard: self, now: now,
            wallClock: WallClock.milliseconds,
            firstPing: now + Int64.random(in: (interval + 1) / 2...max(interval, 1), using: &generator),
            address: address)
        client.grants = grants(of: identity)
        clients.insert(client, due: client.nextDue(configuration))
        outbox.arrived(client.slot, windowBits: client.windowBits)
        if let user = identity.user {
            if users[user] == nil { userChanges &+= 1 }
            users[user, default: []].insert(client.slot)
        }
        statistics.clients += 1
        statistics.accepted += 1
        tellBridge(.connected(client: client.id, user: identity.user))
        do {
            try channel.pipeline.syncOperations.addHandler(client)
            if isPlain {
                client.descriptor =
                    try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                        of: NIOBSDSocket.Handle.self
                    ) { $0 } ?? ClientTable.noDescriptor
                if client.descriptor >= 0 { poll?.watch(client.descriptor, slot: client.slot) }
            }
        } catch {
            connectionEnded(client)
            throw error
        }
        client.observer = observer
        if let handshakeMicroseconds { statistics.handshake.record(microseconds: handshakeMicroseconds) }
        if let onConnect = hooks.onConnect { onConnect(handle(of: client)) }
        // Revoked while its handshake was under way.
        if revocations.isRevoked(identity) { close(client, .invalidToken) }
        if !identity.rooms.isEmpty { joinOwnRooms(client) }
        // Behind the handshake's answer, which is written when this returns.
        if let leftover, leftover.readableBytes > 0 {
            client.heldBytes = leftover
            startReading(client)
        }
    }

    /// The connection is gone: everything that names it is removed. Safe to be called twice.
    func connectionEnded(_ client: Client) {
        if case .closed = client.state { return }
        retire(client)
        client.observer?.connectionEnded()
        client.observer = nil
        forgetBacklog(of: client, "client_gone")
        let reason = client.closeReason ?? .normal
        let lost = outbox.forget(client.slot)
        if lost > 0 { drop("client_gone", lost) }
        if client.heldBytes != nil { drop("unread") }
        refuseLateMessages(of: client)
        abandonQuestions(of: client)
        clients.remove(client)
        if !client.isOpen { closingCount -= 1 }
        client.state = .closed
        statistics.clients -= 1
        statistics.closed[reason.code, default: 0] += 1
        tellBridge(.disconnected(client: client.id, user: client.identity.user, reason: reason))
        if let onDisconnect = hooks.onDisconnect { onDisconnect(handle(of: client), reason) }
        logger.debug(
            "client gone",
            metadata: [
                LogKey.client: "\(client.id)", LogKey.code: "\(reason.code)", LogKey.reason: "\(reason.text)",
            ])
    }

    /// Takes a client out of its rooms and its user's connections: from now on nothing is delivered to it.
    /// `isSentAway`: it is expected on another node; so is one that was told to go and ends it before its answers have come.
    func retire(_ client: Client, isSentAway: Bool = false) {
        let isSentAway = isSentAway || client.leavesWith != nil && (client.closeReason ?? .normal) == .normal
        note(0, for: client)
        outbox.retired(client.slot)
        for number in rooms.numbers(of: client.slot) {
            outbox.left(client.slot, room: number, isEmpty: rooms.members(at: number).count == 1)
        }
        for room in rooms.removeClient(client.slot) {
            tellBridge(
                isSentAway
                    ? .sentAway(room: room, client: client.id)
                    : .left(room: room, client: client.id, reason: .disconnected))
        }
        if let user = client.identity.user {
            users[user]?.remove(client.slot)
            if users[user]?.isEmpty == true {
                users[user] = nil
                userChanges &+= 1
            }
        }
    }

    func client(_ id: ClientID) -> Client? { clients[id] }

    /// The ids of all clients, in no order.
    var ids: some Collection<ClientID> { clients.ids }

    func handle(of client: Client) -> ClientHandle {
        ClientHandle(id: client.id, user: client.identity.user, shard: neighbours[index])
    }

    /// Counts messages that somebody does not get.
    func drop(_ reason: String, _ count: Int = 1) { statistics.dropped[reason, default: 0] += UInt64(count) }

    // MARK: The turn

    /// Something came: what it brings leaves when all sockets of this turn were read.
    func beginTurn() {
        guard turnStart == nil else { return }
        turnStart = eventLoop.now
        eventLoop.assumeIsolated().execute { self.endTurn() }
    }

    func tellBridge(_ event: HubEvent) {
        events.append(event)
        beginTurn()
    }

    /// Everything that this turn has brought leaves.
    private func endTurn() {
        if turnBroadcasts > 0, let turnStart { deliveries.append((turnStart, turnBroadcasts)) }
        turnBroadcasts = 0
        adaptPolling()
        // Before anything is written: what writing brings about is the next turn's.
        turnStart = nil
        turnNumber &+= 1
        writeOutbox()
        resumePaused()
        recordDeliveries()
        for neighbour in crossShard.indices where !crossShard[neighbour].isEmpty {
            let batch = crossShard[neighbour]
            crossShard[neighbour] = []
            neighbours[neighbour].execute { $0.perform(batch) }
        }
        if !events.isEmpty {
            let batch = events
            events = []
            relay.relay(batch, fromShard: index)
        }
    }

    /// Counts how long messages took whose last recipient was written to.
    private func recordDeliveries() {
        if isTracing, !outbox.hasBulk { endDeliverySpans() }
        guard !deliveries.isEmpty, !outbox.hasBulk else { return }
        let now = eventLoop.now
        for (start, count) in deliveries {
            statistics.localDelivery.record(microseconds: (now - start).nanoseconds / 1_000, count: count)
        }
        deliveries.removeAll(keepingCapacity: true)
    }
}

extension NIODeadline {
    var microseconds: Int64 { Int64(uptimeNanoseconds / 1_000) }
}

@available(*, unavailable)
extension Shard: Sendable {}
