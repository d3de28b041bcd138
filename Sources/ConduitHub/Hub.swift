public import ConduitCore
import ConduitTelemetry
import ConduitWire
package import Logging
package import NIOCore
import Tracing

/// The Sendable door to everything local to one node: its shards, their clients and rooms.
///
/// One shard an event loop; a client lives and dies on the loop that accepted it. The verbs either hand work to the
/// loops and return at once (broadcasts, sends, disconnects) or ask all loops and wait (counts, statistics).
public final class Hub: Sendable {
    /// This node's name.
    public let node: NodeID
    /// What the shards were made with; what they hold to now may be other limits (``reload(_:authorizes:)``).
    package let configuration: HubConfiguration
    /// The tokens that are good no more.
    package let revocations: Revocations
    let shards: [ShardRef]
    private let names = NameCount()
    /// What writes the spans of messages; `nil` where nobody traces.
    package let tracer: MessageTracer?
    /// Counts whom all shards together send to other nodes.
    let shedLimiter = ShedLimiter()

    private init(
        node: NodeID, configuration: HubConfiguration, shards: [ShardRef], revocations: Revocations,
        tracer: MessageTracer?
    ) {
        self.tracer = tracer
        self.node = node
        self.configuration = configuration
        self.revocations = revocations
        self.shards = shards
    }

    /// Makes one shard on each of the loops.
    package static func make(
        node: NodeID, eventLoops: [any EventLoop], configuration: HubConfiguration = HubConfiguration(),
        router: MessageRouter = MessageRouter(), hooks: HubHooks = HubHooks(), relay: any HubRelay = NoRelay(),
        tracer: MessageTracer? = nil, logger: Logger
    ) async throws -> Hub {
        let revocations = Revocations(ageMilliseconds: configuration.revocationAgeMilliseconds)
        var shards: [ShardRef] = []
        let pendingTotal = PendingTotal(shards: eventLoops.count)
        for (index, loop) in eventLoops.enumerated() {
            let shard = loop.submit {
                ShardRef(
                    Shard(
                        index: index, node: node, eventLoop: loop, configuration: configuration, router: router,
                        hooks: hooks, relay: relay, revocations: revocations, pendingTotal: pendingTotal,
                        tracer: tracer, logger: logger))
            }
            shards.append(try await shard.get())
        }
        let all = shards
        for shard in all {
            try await shard.eventLoop.submit { shard.loopBound.start(neighbours: all) }.get()
        }
        return Hub(
            node: node, configuration: configuration, shards: all, revocations: revocations, tracer: tracer)
    }

    /// Sets the way to the other nodes. Call before the first client is admitted.
    package func connect(to relay: any HubRelay) async throws {
        for shard in shards { try await shard.eventLoop.submit { shard.loopBound.relay = relay }.get() }
    }

    /// Other limits and policies from now on, for the clients who are here too; one turn of each loop. What was read once
    /// stays: compression, the read buffer, how long revocations are remembered.
    ///
    /// - Parameter authorizes: what the application's hook is asked from now on; `nil` for what it was.
    package func reload(_ configuration: HubConfiguration, authorizes: Set<AuthorizationQuestion.Action>? = nil) async {
        for shard in shards { await shard.query { $0.reload(configuration, authorizes: authorizes) } }
    }

    /// How many shards there are.
    package var shardCount: Int { shards.count }

    /// The shard of a loop; only on that loop.
    package func shard(on eventLoop: any EventLoop) -> Shard? {
        shards.first { $0.eventLoop === eventLoop }?.loopBound
    }

    /// What the sockets of a loop are read into; only on that loop.
    package func receivePool(on eventLoop: any EventLoop) -> ReceivePool? { shard(on: eventLoop)?.receivePool }

    /// The least bytes of messages that are compressed for whoever takes them so; `Int.max` where nobody does.
    package var compressesFrom: Int { configuration.compression?.threshold ?? .max }

    /// Hands a batch to one shard: one `execute`.
    package func perform(_ commands: [ShardCommand], onShard index: Int) {
        guard shards.indices.contains(index) else { return }
        shards[index].execute { $0.perform(commands) }
    }

    /// The same; `done` is called on the shard's loop when the batch was carried out.
    package func perform(_ commands: [ShardCommand], onShard index: Int, done: @escaping @Sendable () -> Void) {
        guard shards.indices.contains(index) else { return done() }
        shards[index].execute { shard in
            shard.perform(commands)
            done()
        }
    }

    /// Hands the same batch to every shard.
    package func performOnAllShards(_ commands: [ShardCommand]) {
        for shard in shards { shard.execute { $0.perform(commands) } }
    }

    // MARK: Messages

    /// Sends an event to every member of a room, on every node.
    ///
    /// - Parameters:
    ///   - type: the event's type; none of the protocol's own.
    ///   - data: the event's data.
    ///   - room: the room; nothing happens where it has no member.
    ///   - excluded: a client of this node that shall not get it.
    ///   - key: what it is a state of, 1 to 255 bytes: in rooms that conflate a slow member gets the newest of each key
    ///     only; in ordered rooms a repeated publication with the same key is one.
    /// - Throws: ``RequestError`` with `reserved_type` or `bad_request` for a type that can't be sent.
    public func broadcast(
        _ type: String, _ data: RawJSON = .null, to room: RoomName, except excluded: ClientID? = nil,
        key: String? = nil
    ) throws(RequestError) {
        try ReservedTypes.check(eventType: type)
        if let key, !(1...Command.maximumKeyBytes).contains(key.utf8.count) {
            throw RequestError(.badRequest, "key is not 1 to \(Command.maximumKeyBytes) bytes")
        }
        let plain = EventEncoder.event(type: type, payload: data.buffer, room: room)
        let span = tracer?.beginPublish(room: room)
        shards[0].execute { shard in
            shard.beginTurn()
            shard.publishing = span?.context
            defer { shard.endPublish(span) }
            let conflates = key != nil && shard.configuration.rooms[room].slow == .conflate
            let message =
                conflates ? EventEncoder.event(type: type, payload: data.buffer, room: room, key: key) : plain
            if shard.hasPolicies, shard.configuration.rooms[room].mode == .ordered {
                shard.publishOrdered(OrderedPublish(room: room, json: message.json, key: key, excluded: excluded))
            } else if let excluded {
                shard.publish(message, to: room, except: excluded)
            } else {
                shard.publish(message, to: room)
            }
        }
    }

    /// Sends an event to every client of the cluster.
    ///
    /// - Throws: ``RequestError`` with `reserved_type` or `bad_request` for a type that can't be sent.
    public func broadcastToAll(_ type: String, _ data: RawJSON = .null) throws(RequestError) {
        try ReservedTypes.check(eventType: type)
        let message = EventEncoder.event(type: type, payload: data.buffer)
        let span = tracer?.beginPublish()
        shards[0].execute { shard in
            shard.beginTurn()
            shard.publishing = span?.context
            defer { shard.endPublish(span) }
            shard.publishToEverybody(message)
        }
    }

    /// Sends an event to every connection of a user, on every node.
    ///
    /// - Throws: ``RequestError`` with `reserved_type` or `bad_request` for a type that can't be sent.
    public func send(_ type: String, _ data: RawJSON = .null, to user: UserID) throws(RequestError) {
        try send(type, data, to: .user(user))
    }

    /// Sends an event to one client, on whichever node it is.
    ///
    /// - Throws: ``RequestError`` with `reserved_type` or `bad_request` for a type that can't be sent.
    public func send(_ type: String, _ data: RawJSON = .null, to client: ClientID) throws(RequestError) {
        try send(type, data, to: .client(client))
    }

    private func send(_ type: String, _ data: RawJSON, to target: SendTarget) throws(RequestError) {
        try ReservedTypes.check(eventType: type)
        let message = EventEncoder.event(type: type, payload: data.buffer)
        let span = tracer?.beginPublish()
        shards[0].execute { shard in
            shard.beginTurn()
            shard.publishing = span?.context
            defer { shard.endPublish(span) }
            if case .user(let user) = target, let inbox = try? shard.inbox(of: user) {
                let stored = EventEncoder.event(type: type, payload: data.buffer, room: inbox)
                shard.publishOrdered(OrderedPublish(room: inbox, json: stored.json, isInbox: true))
                return
            }
            shard.send(message, to: target, replyTo: nil)
        }
    }

    // MARK: Clients

    /// The door to a client of this node; `nil` when there is none of that id.
    public func client(_ id: ClientID) async -> ClientHandle? {
        for shard in shards {
            let found = await shard.query { shard in shard.client(id).map { shard.handle(of: $0) } }
            if case .some(.some(let handle)) = found { return handle }
        }
        return nil
    }

    /// Open connections on this node.
    public func clientCount() async -> Int { await statistics().clients }

    /// Ends the connections of a user on this node.
    public func disconnect(_ user: UserID, _ reason: CloseReason = .forceDisconnect) {
        performOnAllShards([.disconnect(.user(user), reason)])
    }

    /// Ends a connection on this node.
    public func disconnect(_ client: ClientID, _ reason: CloseReason = .forceDisconnect) {
        performOnAllShards([.disconnect(.client(client), reason)])
    }

    // MARK: Rooms and figures

    /// The rooms of this node.
    public var rooms: RoomManager { RoomManager(shards: shards, hub: self) }

    /// Rooms that exist on this node.
    public func roomCount() async -> Int { await rooms.count() }

    /// Figures of all shards together.
    public func statistics() async -> HubStatistics {
        var sum = HubStatistics()
        var parts: [Shard.Snapshot] = []
        for shard in shards {
            guard let part = await shard.query({ $0.snapshot() }) else { continue }
            sum.merge(part.statistics)
            parts.append(part)
        }
        if sum.busiest.count > HubStatistics.busiestCount {
            sum.busiest.removeLast(sum.busiest.count - HubStatistics.busiestCount)
        }
        let counted = await names.count(parts, of: shards, namespaces: configuration.rooms)
        sum.rooms = counted.rooms
        sum.users = counted.users
        for (name, rooms) in counted.roomsByNamespace { sum.namespaces[name]?.rooms = rooms }
        (sum.revocations, sum.revocationsDropped) = revocations.figures
        return sum
    }

    // MARK: The end

    /// Closes the doors: the loops are about to stop. Every verb returns at once from now on, empty-handed.
    package func end() { for shard in shards { shard.end() } }

    /// Ends every connection with `reason` and returns when all are gone or the deadline has passed.
    ///
    /// Those that are left are told at once; ``shed(count:perSecond:reason:delay:by:)`` before it sends them away in order.
    /// Clients that speak a named protocol get a `reconnect` event first, with a delay up to `spread`.
    /// - Returns: how many connections had to be cut.
    @discardableResult
    package func shutdown(
        _ reason: CloseReason = .shutdown, within deadline: TimeAmount, spread: TimeAmount = .seconds(5)
    ) async -> Int {
        // One end for all shards, whichever is waited for first.
        let end = NIODeadline.now() + deadline
        let spread = min(spread, deadline).nanoseconds / 1_000_000
        // Two thirds of the time are left for the answers to the close frames.
        let hold = min(Shard.answerTime, .nanoseconds(deadline.nanoseconds / 3))
        let done = shards.map { shard in
            shard.eventLoop.flatSubmit {
                shard.loopBound.beginShutdown(reason, spreadMilliseconds: spread, hold: hold)
                return shard.loopBound.whenEmpty(until: end)
            }
        }
        var cut = 0
        for future in done { cut += (try? await future.get()) ?? 0 }
        return cut
    }
}
