import ConduitCore
import ConduitTelemetry
import ConduitWire
import Logging
package import NIOCore

/// Owner of the clients of one event loop, and of their memberships. Loop-bound; reached from elsewhere by ``ShardRef``.
///
/// Whatever it tells anybody in a loop turn (its own clients, the other shards, the bridge) is collected and leaves at
/// the end of the turn: each client is written to once, each neighbour gets one batch.
package final class Shard {
    let index: Int
    let node: NodeID
    package let eventLoop: any EventLoop
    let configuration: HubConfiguration
    let router: MessageRouter
    let hooks: HubHooks
    /// The way to the bridge; set before the first client comes.
    var relay: any HubRelay
    let logger: Logger
    /// What the sockets of this loop are read into.
    package let receivePool: ReceivePool
    /// The doors to all shards of the node, this one too; set once by the hub.
    var neighbours: [ShardRef] = []

    var clients: ContiguousArray<Client?> = []
    private var freeSlots: ContiguousArray<Int32> = []
    private var slots: [ClientID: Int32] = [:]
    var users: [UserID: Set<Int32>] = [:]
    var rooms: RoomTable
    /// Rooms whose joins wait for the other nodes' messages.
    var awaitedRooms: [RoomName: AwaitedRoom] = [:]

    var outbox = TurnOutbox()
    /// Clients that are to be read from again at the end of the turn.
    var paused: [Client] = []
    var crossShard: [[ShardCommand]] = []
    var events: [HubEvent] = []
    private var isFlushScheduled = false
    /// When the first message of this turn was read (monotonic, µs), and how many were delivered in it.
    var turnStart: Int64 = 0
    var turnBroadcasts: UInt64 = 0

    var statistics = HubStatistics()
    var deliveryNumber: UInt64 = 0
    var generator = SystemRandomNumberGenerator()
    var sweeper: Scheduled<Void>?
    var sweepPosition = 0
    /// When the next sweep is due (monotonic, µs).
    var expectedSweep: Int64 = 0
    /// Set when the node stops: no new clients.
    var isStopping = false

    init(
        index: Int, node: NodeID, eventLoop: any EventLoop, configuration: HubConfiguration, router: MessageRouter,
        hooks: HubHooks, relay: any HubRelay, logger: Logger
    ) {
        self.index = index
        self.node = node
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.router = router
        self.hooks = hooks
        self.relay = relay
        self.logger = logger
        self.receivePool = ReceivePool(bufferBytes: configuration.readBufferBytes)
        self.rooms = RoomTable(
            roomsPerClient: configuration.roomsPerClient, membersPerRoom: configuration.membersPerRoom)
    }

    /// Monotonic milliseconds: what every time of a client is measured with.
    var now: Int64 { Int64(eventLoop.now.uptimeNanoseconds / 1_000_000) }

    // MARK: Clients

    /// Registers a connection that was upgraded on this loop and puts its handler into the channel.
    ///
    /// - Parameters:
    ///   - leftover: what the client sent right behind its handshake.
    ///   - observer: is told when the connection ends, unless this throws.
    package func admit(
        _ channel: any Channel, identity: Identity, leftover: ByteBuffer? = nil,
        observer: (any ConnectionObserver)? = nil
    ) throws {
        guard !isStopping else { throw ChannelError.eof }
        let slot = freeSlots.popLast() ?? Int32(clients.count)
        if Int(slot) == clients.count { clients.append(nil) }
        let now = self.now
        // The first ping comes early by chance, so that clients who came together are not pinged together.
        let interval = Int64(configuration.pingIntervalMilliseconds)
        let client = Client(
            id: ClientID(node: node, using: &generator), identity: identity, slot: slot, shard: self, now: now,
            wallClock: WallClock.milliseconds,
            firstPing: now + Int64.random(in: (interval + 1) / 2...max(interval, 1), using: &generator))
        clients[Int(slot)] = client
        slots[client.id] = slot
        if let user = identity.user { users[user, default: []].insert(slot) }
        statistics.clients += 1
        statistics.accepted += 1
        tellBridge(.connected(client: client.id, user: identity.user))
        do {
            try channel.pipeline.syncOperations.addHandler(client)
        } catch {
            connectionEnded(client)
            throw error
        }
        client.observer = observer
        if let onConnect = hooks.onConnect { onConnect(handle(of: client)) }
        if var leftover, leftover.readableBytes > 0 { read(&leftover, from: client) }
    }

    /// The connection is gone: everything that names it is removed. Safe to be called twice.
    func connectionEnded(_ client: Client) {
        if case .closed = client.state { return }
        retire(client)
        client.state = .closed
        client.observer?.connectionEnded()
        client.observer = nil
        let reason = client.closeReason ?? .normal
        let lost = outbox.forget(client.slot)
        if lost > 0 { drop("client_gone", lost) }
        clients[Int(client.slot)] = nil
        slots[client.id] = nil
        freeSlots.append(client.slot)
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
    func retire(_ client: Client) {
        for room in rooms.removeClient(client.slot) {
            tellBridge(.left(room: room, client: client.id, reason: .disconnected))
        }
        if let user = client.identity.user {
            users[user]?.remove(client.slot)
            if users[user]?.isEmpty == true { users[user] = nil }
        }
    }

    func client(_ id: ClientID) -> Client? {
        slots[id].flatMap { clients[Int($0)] }
    }

    /// The ids of all clients, in no order.
    var ids: some Collection<ClientID> { slots.keys }

    func handle(of client: Client) -> ClientHandle {
        ClientHandle(id: client.id, user: client.identity.user, shard: neighbours[index])
    }

    /// Counts messages that somebody does not get.
    func drop(_ reason: String, _ count: Int = 1) { statistics.dropped[reason, default: 0] += UInt64(count) }

    // MARK: The turn

    /// Something came that may be delivered: the time of delivery is measured from the first of a turn.
    func beginTurn() {
        if turnBroadcasts == 0 { turnStart = eventLoop.now.microseconds }
    }

    /// Makes sure that ``endTurn()`` runs after the reads of this loop turn.
    func needsFlush() {
        guard !isFlushScheduled else { return }
        isFlushScheduled = true
        eventLoop.assumeIsolated().execute { self.endTurn() }
    }

    func tellBridge(_ event: HubEvent) {
        events.append(event)
        needsFlush()
    }

    private func endTurn() {
        isFlushScheduled = false
        writeOutbox()
        resumePaused()
        if turnBroadcasts > 0 {
            let elapsed = eventLoop.now.microseconds - turnStart
            statistics.localDelivery.record(microseconds: elapsed, count: turnBroadcasts)
            turnBroadcasts = 0
        }
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
}

extension NIODeadline {
    var microseconds: Int64 { Int64(uptimeNanoseconds / 1_000) }
}

@available(*, unavailable)
extension Shard: Sendable {}
