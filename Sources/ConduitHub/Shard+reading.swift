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
        do throws(WebSocketError) {
            while let event = try client.parser.next(from: &bytes) { handle(event, from: client) }
        } catch {
            logger.debug(
                "peer broke the protocol",
                metadata: [LogKey.client: "\(client.id)", LogKey.error: "\(error.detail)"])
            close(client, error.reason)
        }
        if client.parser.hasUnfinishedMessage {
            if client.unfinishedSince == nil { client.unfinishedSince = client.lastSeen }
        } else {
            client.unfinishedSince = nil
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
