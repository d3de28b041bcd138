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
        client.lastSeen = now
        statistics.bytesIn += UInt64(bytes.readableBytes)
        parse(&bytes, from: client)
    }

    /// Takes messages until the bytes are used up or the client is not to be read from for now.
    private func parse(_ bytes: inout ByteBuffer, from client: Client) {
        var completed = false
        do throws(WebSocketError) {
            while true {
                if client.holds > 0 || client.isPaused { return keep(&bytes, for: client) }
                guard let event = try client.parser.next(from: &bytes, scratch: &scratch) else { break }
                if case .text = event { completed = true }
                handle(event, from: client)
                if client.queuedBytes > configuration.pendingBytes / 2, client.queuedTurn == turnNumber {
                    pause(client)
                }
            }
        } catch {
            logger.debug(
                "peer broke the protocol",
                metadata: [LogKey.client: "\(client.id)", LogKey.error: "\(error.detail)"])
            close(client, error.reason)
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
            queue(FrameEncoder.pong(payload), for: client)
        case .pong:
            break
        case .text(let message):
            guard client.isOpen else { return }
            statistics.messagesIn += 1
            handle(message, from: client)
        case .binary:
            // conduit.v1.msgpack is reserved; no protocol that is spoken here has binary messages.
            if client.isOpen { close(client, .unsupportedData) }
        }
    }
}
