import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// Clients that read more slowly than they are sent to.
extension Shard {
    /// What is handed to a channel at once of what waits for it.
    private static let piece = 16 << 10
    /// While a channel with a backlog holds less than the first it is given more, up to the second.
    private static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 4 << 10, high: 16 << 10)

    /// Whether what a client is to be sent must wait in its backlog.
    func mustWait(_ write: Outbox.Write, _ client: Client, _ context: ChannelHandlerContext, pending: Int) -> Bool {
        client.backlog != nil || pending > 0 || !context.channel.isWritable
            // Where the channel is all there is (TLS), no more goes into it than it is known to take.
            || (client.descriptor < 0 && write.bytes.readableBytes > Self.piece)
    }

    /// Puts what a client is to be sent behind what waits for it already, by the rules of its rooms.
    ///
    /// - Parameter taken: how many of the bytes the socket has taken.
    func wait(
        _ write: Outbox.Write, taken: Int, _ rules: SlowRules, _ client: Client, _ context: ChannelHandlerContext
    ) {
        var rest = write.bytes
        if taken > 0 {
            // What the socket has begun to take has to be finished.
            let end = OutgoingFrame.end(in: rest.readableBytesUInt8Span, behind: taken)
            statistics.deliveries += UInt64(end.frames)
            statistics.bytesOut += UInt64(end.offset)
            if var begun = rest.readSlice(length: end.offset) {
                begun.moveReaderIndex(forwardBy: taken)
                if begun.readableBytes > 0 { hand(begun, to: client, context) }
            }
        }
        guard client.isOpen else { return drop("client_gone", write.messages) }
        let backlog = client.backlog ?? Backlog(rules: rules, limit: configuration.pendingBytes)
        if client.backlog == nil {
            client.backlog = backlog
            try? context.channel.syncOptions?.setOption(.writeBufferWaterMark, value: Self.waterMark)
        }
        let lost = rest.readableBytes > 0 ? backlog.add(rest, before: pendingBytes(of: context)) : 0
        let drops = backlog.takeDrops()
        if drops != Backlog.Drops() {
            drop("drop_oldest", drops.oldest)
            drop("drop_newest", drops.newest)
            drop("conflate", drops.conflated)
        }
        if lost > 0 {
            drop("slow_consumer", lost)
            return closeSlow(client, .pendingBytes)
        }
        feed(client)
    }

    /// Hands a client's channel what waits for it, as long as that takes more.
    func feed(_ client: Client) {
        guard let backlog = client.backlog, let context = client.context, !client.isFed else { return }
        client.isFed = true
        var took = false
        while context.channel.isWritable, client.backlog === backlog, let next = backlog.next(atMost: Self.piece) {
            took = true
            hand(next, to: client, context)
        }
        client.isFed = false
        guard client.backlog === backlog else { return }
        if backlog.hasGaps, took || (backlog.isEmpty && context.channel.isWritable) {
            tellGaps(of: backlog, to: client)
        }
        if backlog.isEmpty, !backlog.hasGaps { client.backlog = nil }
        watchBlocked(client)
    }

    /// Hands over all that waits: a close frame follows.
    func handOverAll(_ client: Client, _ context: ChannelHandlerContext) {
        guard let backlog = client.backlog else { return }
        client.backlog = nil
        while let next = backlog.next(atMost: .max) { hand(next, to: client, context) }
    }

    private func hand(
        _ next: (bytes: ByteBuffer, messages: Int), to client: Client, _ context: ChannelHandlerContext
    ) {
        statistics.deliveries += UInt64(next.messages)
        statistics.bytesOut += UInt64(next.bytes.readableBytes)
        hand(next.bytes, to: client, context)
    }

    /// Tells a client that its socket takes bytes again what it has missed, behind what waits for it.
    private func tellGaps(of backlog: Backlog, to client: Client) {
        for gap in backlog.takeGaps() {
            guard let room = OutgoingFrame.roomName(gap.room.span), rooms.observes(client.slot, in: room) else {
                continue
            }
            queue(EventEncoder.roomState(.gap, missed: gap.missed, room: room).frame, for: client)
        }
    }

    /// The connection is gone, and what waited for it too.
    func forgetBacklog(of client: Client, _ reason: String) {
        guard let backlog = client.backlog.take() else { return }
        if backlog.count > 0 { drop(reason, backlog.count) }
    }

    // MARK: How much waits

    /// Why a slow consumer was closed.
    enum SlowReason: String, CaseIterable {
        /// More waits than may.
        case pendingBytes = "pending_bytes"
        /// Its socket has taken nothing for too long.
        case writeTimeout = "write_timeout"
        /// Too much waits on the node, and most of it for this client.
        case nodePending = "node_pending"
    }

    func closeSlow(_ client: Client, _ reason: SlowReason) {
        guard client.isOpen else { return }
        statistics.slowClosed[reason.rawValue, default: 0] += 1
        close(client, .slowConsumer)
    }

    /// Bytes that wait for a client: in its channel and in its backlog.
    func waiting(for client: Client) -> Int {
        (client.context.map { pendingBytes(of: $0) } ?? 0) + (client.backlog?.bytes ?? 0)
    }

    /// Notes how much waits for a client. A client that is being closed doesn't count: it is gone in two seconds.
    func note(_ bytes: Int, for client: Client) {
        let bytes = client.isOpen ? bytes : 0
        let before = client.pendingBytes
        guard bytes != before else { return }
        client.pendingBytes = bytes
        pendingTotal.add(bytes - before)
        if bytes == 0 { stalled.remove(client.slot) } else if before == 0 { stalled.insert(client.slot) }
        guard bytes > before else { return }
        pendingTotal.raise(to: bytes, by: index)
        let most = configuration.nodePendingBytes
        guard most > 0, pendingTotal.bytes > most, !isRelieving else { return }
        isRelieving = true
        // Not within whatever is being written.
        eventLoop.assumeIsolated().execute { self.relieve() }
    }

    /// Closes those clients of the node for whom most waits until little enough does.
    func relieve() {
        let most = configuration.nodePendingBytes
        // What was noted may have been written by now.
        for client in stalled.compactMap({ clients[$0] }) { note(waiting(for: client), for: client) }
        isRelieving = false
        guard most > 0, pendingTotal.bytes > most else { return }
        let all = stalled.compactMap { clients[$0] }.filter(\.isOpen).sorted { $0.pendingBytes > $1.pendingBytes }
        var rest = all[...]
        while pendingTotal.bytes > most {
            pendingTotal.set(rest.first?.pendingBytes ?? 0, by: index)
            guard let place = pendingTotal.heaviestShard else { return }
            guard place == index, let client = rest.popFirst() else {
                if neighbours.indices.contains(place) { neighbours[place].execute { $0.relieve() } }
                return
            }
            forgetBacklog(of: client, "node_pending")
            closeSlow(client, .nodePending)
        }
        pendingTotal.set(rest.first?.pendingBytes ?? 0, by: index)
    }
}
