import ConduitCore
import ConduitWire
import NIOCore

/// From the outbox to the sockets: each touched client once a turn, directly where its socket takes it.
extension Shard {
    /// Members of a very large room that are served before the loop looks at its sockets again: about 2 ms.
    private static let slice = 256

    /// Writes what this turn has brought. Members of very large rooms get theirs in slices, so that nobody else's
    /// messages wait for all of them.
    func writeOutbox() {
        // Writing may close a client, and closing queues a frame: that is written by the loop below, not inside of it.
        guard !isWriting else { return }
        isWriting = true
        outbox.seal()
        var rest = outbox.isHeavy ? Int.max : Self.slice
        while true {
            while let write = outbox.nextUrgent() { self.write(write) }
            guard rest > 0, let write = outbox.nextBulk() else { break }
            self.write(write)
            rest -= 1
        }
        outbox.reset()
        isWriting = false
        if outbox.hasBulk { yield?.schedule() }
    }

    private func write(_ write: Outbox.Write) {
        let slot = Int(write.client)
        let descriptor = clients.descriptors[slot]
        guard descriptor >= 0 else { return writeThroughChannel(write) }
        switch DirectSend.send(write.bytes, to: descriptor) {
        case .sent(write.bytes.readableBytes): count(write)
        case .sent(let count): stalled(write, taken: count)
        case .failed: failed(write)
        }
    }

    private func count(_ write: Outbox.Write) {
        statistics.deliveries += UInt64(write.messages)
        statistics.bytesOut += UInt64(write.bytes.readableBytes)
    }

    /// The socket is full: the rest goes through the channel, and all that follows until the channel holds nothing.
    private func stalled(_ write: Outbox.Write, taken count: Int) {
        clients.descriptors[Int(write.client)] = ClientTable.noDescriptor
        guard let client = clients[write.client], let context = client.context else {
            return drop("client_gone", write.messages)
        }
        if let slowRules, client.isOpen { return wait(write, taken: count, slowRules, client, context) }
        self.count(write)
        var rest = write.bytes
        rest.moveReaderIndex(forwardBy: count)
        hand(rest, to: client, context)
        watchBlocked(client)
    }

    private func failed(_ write: Outbox.Write) {
        drop("client_gone", write.messages)
        clients.descriptors[Int(write.client)] = ClientTable.noDescriptor
        clients[write.client]?.context?.close(promise: nil)
    }

    private func writeThroughChannel(_ write: Outbox.Write) {
        guard let client = clients[write.client], let context = client.context else {
            return drop("client_gone", write.messages)
        }
        let pending = pendingBytes(of: context)
        // What the channel held is written: from now on directly again.
        if client.descriptor >= 0, pending == 0, client.backlog == nil {
            clients.descriptors[Int(write.client)] = client.descriptor
            return self.write(write)
        }
        if let slowRules, client.isOpen, mustWait(write, client, context, pending: pending) {
            return wait(write, taken: 0, slowRules, client, context)
        }
        // What a client may be owed is bounded before it is handed over; a close frame always fits.
        if client.isOpen, pending > 0, pending + write.bytes.readableBytes > configuration.pendingBytes {
            drop("slow_consumer", write.messages)
            return closeSlow(client, .pendingBytes)
        }
        handOverAll(client, context)
        count(write)
        hand(write.bytes, to: client, context)
        if pending > 0 { watchBlocked(client) }
    }

    func hand(_ bytes: ByteBuffer, to client: Client, _ context: ChannelHandlerContext) {
        // A small piece must not keep all of what it was cut from, which others were answered in.
        let isPiece = bytes.storageCapacity > 2 * bytes.readableBytes + 4096
        context.writeAndFlush(client.wrapOutboundOut(isPiece ? bytes.detached : bytes), promise: nil)
        client.writtenBytes &+= UInt64(bytes.readableBytes)
        // Asked only once the socket has stopped taking: the common case pays one load.
        if !context.channel.isWritable { checkPending(of: client, context) }
    }

    private func checkPending(of client: Client, _ context: ChannelHandlerContext) {
        let pending = pendingBytes(of: context)
        watchBlocked(client)
        // What it asks for now would only wait behind that.
        pause(client)
        // A backlog has its own bound.
        if pending > configuration.pendingBytes, client.backlog == nil { closeSlow(client, .pendingBytes) }
    }

    /// A client's socket takes nothing: from now on it is looked at often.
    func watchBlocked(_ client: Client) {
        guard let context = client.context else { return }
        let pending = pendingBytes(of: context)
        note(pending + (client.backlog?.bytes ?? 0), for: client)
        guard pending > 0 || !context.channel.isWritable else { return }
        noteProgress(of: client, pending: pending, now)
        clients.look(at: client, by: now + Self.blockedInterval)
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
