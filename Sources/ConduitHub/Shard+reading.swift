import ConduitCore
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// Reading: from bytes to frames to requests.
extension Shard {
    /// Everything that was read from a client's socket, in any slices.
    func read(_ bytes: inout ByteBuffer, from client: Client) {
        beginTurn()
        turnReads += 1
        client.lastSeen = now
        statistics.bytesIn += UInt64(bytes.readableBytes)
        parse(&bytes, from: client)
        if isPolling { takeOver(client) }
    }

    /// The same for bytes in memory that is used again.
    func read(_ bytes: Span<UInt8>, from client: Client) {
        let taken = client.parser.hasUnfinishedMessage ? 0 : parseWholeTexts(bytes, from: client)
        if taken < bytes.count {
            var rest = ByteBuffer(copying: bytes.extracting(taken..<bytes.count))
            parse(&rest, from: client)
        } else {
            client.unfinishedSince = nil
        }
    }

    /// Takes messages until the bytes are used up or the client is not to be read from for now.
    private func parse(_ bytes: inout ByteBuffer, from client: Client) {
        var completed = false
        do throws(WebSocketError) {
            while true {
                // What is held comes first, also when the socket is read at its end.
                if client.holds > 0 || client.isPaused || client.heldBytes != nil {
                    return keep(&bytes, for: client)
                }
                let taken = parseWholeTexts(bytes.readableBytesUInt8Span, from: client)
                if taken > 0 {
                    completed = true
                    bytes.moveReaderIndex(forwardBy: taken)
                    continue
                }
                guard var event = try client.parser.next(from: &bytes) else { break }
                if case .deflated = event, client.isOpen || client.lateRooms != nil, let compressor {
                    event = try compressor.expanded(event, configuration.inflationLimits)
                }
                if case .text = event { completed = true }
                handle(event, from: client)
                pauseIfFlooded(client)
            }
        } catch {
            logger.debug(
                "peer broke the protocol",
                metadata: [LogKey.client: "\(client.id)", LogKey.error: "\(error.detail)"])
            if let limit = error.limit, client.isOpen { statistics.count(limit) }
            close(client, error.reason)
            client.parser.finish()
        }
        guard client.parser.hasUnfinishedMessage else {
            client.unfinishedSince = nil
            return
        }
        // The deadline is a message's own: who sends one after the other begins anew with each.
        if completed || client.unfinishedSince == nil {
            client.unfinishedSince = now
            clients.look(at: client, by: now + Int64(configuration.readTimeoutMilliseconds))
        }
    }

    /// The usual case: handles the texts that stand whole at the front of what was read, one after the other, in place.
    /// Returns how many bytes those were.
    private func parseWholeTexts(_ bytes: Span<UInt8>, from client: Client) -> Int {
        // Taken out for the time being: nobody else can come across it.
        var scratch = self.scratch
        self.scratch = []
        var taken = 0
        while client.isOpen, client.holds == 0, !client.isPaused,
            let (end, length) = client.parser.wholeText(in: bytes, from: taken, scratch: &scratch)
        {
            taken = end
            statistics.messagesIn += 1
            if let meter = client.meter, isOverRate(length, scratch.span.extracting(0..<length), client, meter) {
                pauseIfFlooded(client)
                continue
            }
            handle(scratch.span.extracting(0..<length), from: client)
            pauseIfFlooded(client)
        }
        self.scratch = scratch.count <= Self.keptScratch ? scratch : []
        return taken
    }

    /// Who asks for more than its socket may owe it is not read from until that is written.
    private func pauseIfFlooded(_ client: Client) {
        if client.queuedBytes > configuration.pendingBytes / 2, client.queuedTurn == turnNumber { pause(client) }
    }

    /// Memory for unmasking that is kept between reads.
    private static let keptScratch = 256 << 10

    // MARK: Not reading for a while

    /// Keeps what was read but not looked at; little, since nothing more is read.
    private func keep(_ bytes: inout ByteBuffer, for client: Client) {
        guard bytes.readableBytes > 0 else { return }
        if client.heldBytes == nil {
            client.heldBytes = bytes
        } else {
            client.heldBytes?.writeBuffer(&bytes)
        }
        bytes.moveReaderIndex(to: bytes.writerIndex)
    }

    /// Stops reading from a client whose answers pile up: it goes on when they are written and the socket takes more.
    func pause(_ client: Client) {
        guard !client.isPaused else { return }
        client.isPaused = true
        stopReading(client)
        paused.append(client)
        beginTurn()
    }

    /// At the end of a turn: goes on with those whose sockets took everything. The others wait for theirs.
    func resumePaused() {
        guard !paused.isEmpty else { return }
        let all = paused
        paused.removeAll(keepingCapacity: true)
        for client in all where client.context?.channel.isWritable == true { resume(client) }
    }

    func resume(_ client: Client) {
        guard client.isPaused else { return }
        client.isPaused = false
        startReading(client)
    }

    func stopReading(_ client: Client) {
        try? client.context?.channel.syncOptions?.setOption(.autoRead, value: false)
    }

    /// Goes on where it stopped, in a turn of its own: who has much to say must not hold up the others.
    func startReading(_ client: Client) {
        guard client.holds == 0, !client.isPaused else { return }
        // By level, so that nothing which came meanwhile is missed.
        client.isPolled = false
        eventLoop.assumeIsolated().execute {
            guard client.context != nil, client.holds == 0, !client.isPaused else { return }
            self.beginTurn()
            if var bytes = client.heldBytes.take() { self.parse(&bytes, from: client) }
            guard client.holds == 0, !client.isPaused else { return }
            try? client.context?.channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }

    private func handle(_ event: WebSocketFrameParser.Event, from client: Client) {
        switch event {
        case .close(let code, _):
            peerCloses(client, code: code)
        case .ping(let payload):
            if !isOverRate(payload, client) { queue(FrameEncoder.pong(payload), for: client) }
        case .pong(let payload):
            // The answer to a ping of ours costs nothing. Any other is a sign of life and measures nothing.
            guard client.owesPong, payload.readableBytes == MemoryLayout<UInt32>.size,
                payload.getInteger(at: payload.readerIndex) == client.pingNumber
            else {
                _ = isOverRate(payload, client)
                return
            }
            statistics.pingRoundTrip.record(microseconds: eventLoop.now.microseconds - client.pingedAt)
            client.pingedAt = 0
        case .text(let message):
            let bytes = message.readableBytesUInt8Span
            guard client.isOpen else { return takeLate(bytes, from: client) }
            statistics.messagesIn += 1
            if let meter = client.meter, isOverRate(bytes.count, bytes, client, meter) { return }
            handle(bytes, from: client)
        case .binary, .deflated:
            // conduit.v1.msgpack is reserved; no protocol that is spoken here has binary messages.
            guard client.isOpen else { return drop("after_close") }
            close(client, .unsupportedData)
        }
    }
}
