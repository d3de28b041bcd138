import ConduitCore
import ConduitWire
import NIOCore

/// Writing: from a message to the sockets of this shard, and to the neighbours.
extension Shard {
    /// Delivers to the members of a room on this node and tells the bridge.
    func publish(_ message: ServerMessage, to room: RoomName, except excluded: Int32? = nil) {
        let message = compressible(message)
        if let number = countPublished(to: room) { deliver(message, toRoomAt: number, except: excluded) }
        pass(message, to: room)
    }

    /// The same for a room that has members on this shard.
    func publish(_ message: ServerMessage, toRoomAt number: Int32, except excluded: Int32?) {
        let message = compressible(message)
        rooms.countPublished(at: number)
        deliver(message, toRoomAt: number, except: excluded)
        if let room = rooms.name(at: number) { pass(message, to: room) }
    }

    /// Counts a message that was published here, and returns the room's number where it has one on this shard.
    @discardableResult
    func countPublished(to room: RoomName) -> Int32? {
        guard let number = rooms.number(of: room) else {
            rooms.countPublished(to: room)
            return nil
        }
        rooms.countPublished(at: number)
        return number
    }

    /// Passes a message on to whoever else may have members of a room.
    private func pass(_ message: ServerMessage, to room: RoomName) {
        turnBroadcasts += 1
        if isTracing { return passTraced(message, to: room) }
        if crossShard.count > 1 { forEachNeighbour(.room(room, message)) }
        if relay.relaysMessages { tellBridge(.broadcast(room: room, message: message)) }
    }

    /// The same on a node that traces.
    private func passTraced(_ message: ServerMessage, to room: RoomName) {
        if let publishing { beginDelivery(publishing, .room(room, message)) }
        if crossShard.count > 1 { forEachNeighbour(traced(.room(room, message))) }
        if relay.relaysMessages { tellBridge(traced(.broadcast(room: room, message: message))) }
    }

    /// The same for a client that may be on any shard of this node.
    func publish(_ message: ServerMessage, to room: RoomName, except id: ClientID) {
        let message = compressible(message)
        if let number = countPublished(to: room) { deliver(message, toRoomAt: number, except: client(id)?.slot) }
        if isTracing, let publishing { beginDelivery(publishing, .room(room, message)) }
        forEachNeighbour(traced(.roomExcept(room, message, id)))
        turnBroadcasts += 1
        tellBridge(traced(.broadcast(room: room, message: message)))
    }

    /// Delivers to every client of this node and tells the bridge.
    func publishToEverybody(_ message: ServerMessage, except excluded: Int32? = nil) {
        let message = compressible(message)
        deliverToAll(message, except: excluded)
        if isTracing, let publishing { beginDelivery(publishing, .all(message)) }
        forEachNeighbour(traced(.all(message)))
        turnBroadcasts += 1
        tellBridge(traced(.broadcastAll(message: message)))
    }

    /// Delivers to a user or client wherever it is; with `replyTo` the bridge answers with the count.
    func send(_ message: ServerMessage, to target: SendTarget, replyTo: ReplyAddress?) {
        let message = compressible(message)
        let delivered = deliver(message, to: target)
        turnBroadcasts += 1
        if isTracing, delivered > 0, let publishing { beginDelivery(publishing, .send(target, message, nil)) }
        guard let replyTo else {
            forEachNeighbour(traced(.send(target, message, nil)))
            tellBridge(traced(.send(target: target, message: message, pending: nil)))
            return
        }
        owes(replyTo)
        deliveryNumber += 1
        let token = DeliveryToken(origin: index, number: deliveryNumber)
        forEachNeighbour(traced(.send(target, message, token)))
        let pending = PendingSend(
            token: token, delivered: delivered, awaitedShards: neighbours.count - 1, replyTo: replyTo)
        tellBridge(traced(.send(target: target, message: message, pending: pending)))
    }

    /// A new message before it is shared: what its recipients may want compressed, they then compress once for all.
    @inline(__always)
    private func compressible(_ message: ServerMessage) -> ServerMessage {
        message.byteCount < compressesFrom ? message : message.compressible
    }

    /// What the bridge or a neighbour asks for.
    func perform(_ commands: [ShardCommand]) {
        beginTurn()
        for command in commands {
            switch command {
            case .room(let room, let message): deliver(message, to: room, except: nil)
            case .roomExcept(let room, let message, let id):
                deliver(message, to: room, except: client(id)?.slot)
            case .observers(let room, let message): deliver(message, toObserversOf: room)
            case .all(let message): deliverToAll(message, except: nil)
            case .send(let target, let message, let token):
                let count = deliver(message, to: target)
                if let token { tellBridge(.delivered(token: token, count: count)) }
            case .reply(let id, let message):
                guard let client = client(id), client.isOpen else {
                    drop("client_gone")
                    continue
                }
                queue(message.frame, for: client)
                answered(client)
            case .presenceReply(let id, let message):
                guard let client = client(id) else {
                    drop("client_gone")
                    continue
                }
                client.asksPresence = false
                queue(message.frame, for: client)
            case .historyReply(let id, let message):
                guard let client = client(id) else {
                    drop("client_gone")
                    continue
                }
                client.asksHistory = false
                queue(message.frame, for: client)
            case .admit(let id, let admission, let request): admit(id, admission, request)
            case .refuseJoin(let id, let room, let error, let request): refuseJoin(id, room, error, request)
            case .roomLive(let room): confirmed(room)
            case .disconnect(let target, let reason): disconnect(target, reason)
            case .revoked(let revocation): closeRevoked(revocation)
            case .traced(let context, let traced):
                beginDelivery(context, traced)
                perform([traced])
            }
        }
    }

    /// Queues an answer for one client.
    func queue(_ frame: ByteBuffer, for client: Client) {
        if client.windowBits != 0, frame.readableBytes >= compressesFrom, client.isOpen,
            let deflated = compressor?.deflated(frame, windowBits: client.windowBits)
        {
            return answer(client) { $0.writeImmutableBuffer(deflated) }
        }
        answer(client) { $0.writeImmutableBuffer(frame) }
    }

    /// The same with a message that several clients get one by one: it is compressed once for all where it may be.
    func queue(_ message: ServerMessage, for client: Client) {
        guard let forms = message.deflated, client.windowBits != 0, message.byteCount >= compressesFrom, client.isOpen,
            let compressor
        else { return queue(message.frame, for: client) }
        let frame = forms.frame(of: message.frame, windowBits: client.windowBits, by: compressor) ?? message.frame
        answer(client) { $0.writeImmutableBuffer(frame) }
    }

    /// Queues an answer for one client, which `write` encodes behind what was answered before: one whole frame.
    func answer(_ client: Client, _ write: (inout ByteBuffer) -> Void) {
        guard client.isOpen else { return }
        enqueue(for: client, write)
    }

    /// The same whatever the client's state: for close frames, which are its last.
    func enqueue(for client: Client, _ write: (inout ByteBuffer) -> Void) {
        if client.queuedTurn != turnNumber {
            client.queuedTurn = turnNumber
            client.queuedBytes = 0
        }
        client.queuedBytes += outbox.answer(client.slot, write)
        beginTurn()
        if outbox.isHeavy { writeOutbox() }
    }

    private func deliver(_ message: ServerMessage, to room: RoomName, except excluded: Int32?) {
        guard let number = rooms.number(of: room) else { return }
        deliver(message, toRoomAt: number, except: excluded)
    }

    private func deliver(_ message: ServerMessage, toRoomAt number: Int32, except excluded: Int32?) {
        let members = rooms.members(at: number)
        guard !members.isEmpty else { return }
        // Who is excluded need not be a member: others may publish too.
        let isLeftOut = excluded.map { rooms.contains($0, at: number) } ?? false
        rooms.countDelivered(isLeftOut ? members.count - 1 : members.count, at: number)
        // Frames of a room that may give way are told apart by what is written in them.
        let isPlain =
            slowRules != nil && (rooms.policy(at: number)?.slow ?? configuration.rooms.rest.slow) != .disconnect
        outbox.publish(
            message.frame, deflated: isPlain ? nil : message.deflated, room: number, members: members, except: excluded)
        delivered()
    }

    private func deliver(_ message: ServerMessage, toObserversOf room: RoomName) {
        guard rooms.hasObservers(room) else { return }
        outbox.publish(
            message.frame, deflated: message.deflated, to: rooms.members(of: room).lazy.filter(\.observes).map(\.client)
        )
        delivered()
    }

    private func deliverToAll(_ message: ServerMessage, except excluded: Int32?) {
        guard clients.count > 0 else { return }
        outbox.publishToEverybody(
            message.frame, deflated: message.deflated, clients.openSlots, except: excluded)
        delivered()
    }

    private func deliver(_ message: ServerMessage, to target: SendTarget) -> Int {
        var slots: ContiguousArray<Int32> = []
        forEachSlot(of: target) { slots.append($0) }
        guard !slots.isEmpty else { return 0 }
        outbox.publish(message.frame, deflated: message.deflated, to: slots)
        delivered()
        return slots.count
    }

    private func delivered() {
        beginTurn()
        if outbox.isHeavy { writeOutbox() }
    }

    private func forEachSlot(of target: SendTarget, _ body: (Int32) -> Void) {
        switch target {
        case .user(let user): for slot in users[user] ?? [] { body(slot) }
        case .client(let id): if let client = client(id), client.isOpen { body(client.slot) }
        }
    }

    private func forEachNeighbour(_ command: ShardCommand) {
        for neighbour in crossShard.indices where neighbour != index { crossShard[neighbour].append(command) }
    }
}
