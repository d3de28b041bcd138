import ConduitCore
import ConduitWire
import NIOCore

/// Writing: from a message to the sockets of this shard, and to the neighbours.
extension Shard {
    /// Delivers to the members of a room on this node and tells the bridge.
    func publish(_ message: ServerMessage, to room: RoomName, except excluded: Int32? = nil) {
        deliver(message, to: room, except: excluded)
        forEachNeighbour(.room(room, message))
        turnBroadcasts += 1
        tellBridge(.broadcast(room: room, message: message))
    }

    /// The same for a client that may be on any shard of this node.
    func publish(_ message: ServerMessage, to room: RoomName, except id: ClientID) {
        deliver(message, to: room, except: client(id)?.slot)
        forEachNeighbour(.roomExcept(room, message, id))
        turnBroadcasts += 1
        tellBridge(.broadcast(room: room, message: message))
    }

    /// Delivers to every client of this node and tells the bridge.
    func publishToEverybody(_ message: ServerMessage, except excluded: Int32? = nil) {
        deliverToAll(message, except: excluded)
        forEachNeighbour(.all(message))
        turnBroadcasts += 1
        tellBridge(.broadcastAll(message: message))
    }

    /// Delivers to a user or client wherever it is; with `replyTo` the bridge answers with the count.
    func send(_ message: ServerMessage, to target: SendTarget, replyTo: ReplyAddress?) {
        let delivered = deliver(message, to: target)
        turnBroadcasts += 1
        guard let replyTo else {
            forEachNeighbour(.send(target, message, nil))
            tellBridge(.send(target: target, message: message, pending: nil))
            return
        }
        deliveryNumber += 1
        let token = DeliveryToken(origin: index, number: deliveryNumber)
        forEachNeighbour(.send(target, message, token))
        let pending = PendingSend(
            token: token, delivered: delivered, awaitedShards: neighbours.count - 1, replyTo: replyTo)
        tellBridge(.send(target: target, message: message, pending: pending))
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
                if let client = client(id) { queue(message.frame, for: client) } else { drop("client_gone") }
            case .presenceReply(let id, let message):
                guard let client = client(id) else {
                    drop("client_gone")
                    continue
                }
                client.asksPresence = false
                queue(message.frame, for: client)
            case .roomLive(let room): confirmed(room)
            case .disconnect(let target, let reason):
                forEachSlot(of: target) { if let client = clients[Int($0)] { close(client, reason) } }
            }
        }
    }

    /// Queues an answer for one client.
    func queue(_ frame: ByteBuffer, for client: Client) {
        guard client.isOpen else { return }
        outbox.enqueue(outbox.add(frame), for: client.slot)
        client.queuedBytes += frame.readableBytes
        needsFlush()
    }

    private func deliver(_ message: ServerMessage, to room: RoomName, except excluded: Int32?) {
        let members = rooms.members(of: room)
        guard !members.isEmpty else { return }
        let entry = outbox.add(message.frame)
        for member in members where member.client != excluded { outbox.enqueue(entry, for: member.client) }
        needsFlush()
    }

    private func deliver(_ message: ServerMessage, toObserversOf room: RoomName) {
        guard rooms.hasObservers(room) else { return }
        let entry = outbox.add(message.frame)
        for member in rooms.members(of: room) where member.observes { outbox.enqueue(entry, for: member.client) }
        needsFlush()
    }

    private func deliverToAll(_ message: ServerMessage, except excluded: Int32?) {
        guard statistics.clients > 0 else { return }
        let entry = outbox.add(message.frame)
        for slot in clients.indices where Int32(slot) != excluded {
            if let client = clients[slot], client.isOpen { outbox.enqueue(entry, for: Int32(slot)) }
        }
        needsFlush()
    }

    private func deliver(_ message: ServerMessage, to target: SendTarget) -> Int {
        var count = 0
        forEachSlot(of: target) { slot in
            outbox.enqueue(outbox.add(message.frame), for: slot)
            count += 1
        }
        if count > 0 { needsFlush() }
        return count
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

    // MARK: Sockets

    /// Writes each touched client once.
    func writeOutbox() {
        while let write = outbox.next() {
            guard let client = clients[Int(write.client)], let context = client.context else {
                drop("client_gone", write.messages)
                continue
            }
            self.write(write, to: client, context)
        }
        outbox.endTurn()
    }

    private func write(_ write: TurnOutbox.Write, to client: Client, _ context: ChannelHandlerContext) {
        context.writeAndFlush(client.wrapOutboundOut(write.bytes), promise: nil)
        client.queuedBytes = 0
        client.writtenBytes &+= UInt64(write.bytes.readableBytes)
        statistics.deliveries += UInt64(write.messages)
        statistics.bytesOut += UInt64(write.bytes.readableBytes)
        // Asked only once the socket has stopped taking: the common case pays one load.
        if !context.channel.isWritable { checkPending(of: client, context) }
    }

    private func checkPending(of client: Client, _ context: ChannelHandlerContext) {
        let pending = pendingBytes(of: context)
        noteProgress(of: client, pending: pending, now)
        // What it asks for now would only wait behind that.
        pause(client)
        if pending > configuration.pendingBytes { close(client, .slowConsumer) }
    }

    /// Notes when the socket has last taken anything.
    func noteProgress(of client: Client, pending: Int, _ now: Int64) {
        let taken = client.writtenBytes &- UInt64(max(0, pending))
        if client.blockedSince == nil || taken != client.takenBytes { client.blockedSince = now }
        client.takenBytes = taken
    }

    /// Bytes that the channel holds because the socket takes none.
    func pendingBytes(of context: ChannelHandlerContext) -> Int {
        guard let options = context.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }
}
