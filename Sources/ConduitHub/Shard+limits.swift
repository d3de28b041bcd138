import ConduitCore
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// What one client may say, and how names may be written.
extension Shard {
    /// Counts a message or control frame of so many bytes. Over the client's limit it is answered with `rate_limited`, and
    /// who goes on and on is closed; then nothing else is to be done with it.
    ///
    /// - Parameter request: the message, so that the answer can name what it answers; empty for control frames.
    func isOverRate(_ count: Int, _ request: Span<UInt8>, _ client: Client, _ meter: Meter) -> Bool {
        guard let early = meter.take(count, now: now) else { return false }
        guard client.isOpen else { return true }
        let error = RequestError(
            .rateLimited, "too many messages or bytes", retryAfterMilliseconds: Int(clamping: early.milliseconds),
            limit: early.limit)
        let command =
            request.isEmpty ? nil : try? CommandDecoder.decode(request, maximumDepth: configuration.jsonDepth)
        answer(error, to: client, id: command?.id(in: request), type: command?.type(in: request))
        if meter.strike(now: now) {
            logger.debug("client over its rate", metadata: [LogKey.client: "\(client.id)"])
            close(client, .tooManyRequests)
        }
        return true
    }

    /// The same for control frames.
    func isOverRate(_ controlFrame: ByteBuffer, _ client: Client) -> Bool {
        guard let meter = client.meter else { return false }
        return isOverRate(controlFrame.readableBytes, ByteBuffer().readableBytesUInt8Span, client, meter)
    }

    /// Checks a name by which a client may make a room exist here.
    func checkName(of room: RoomName) throws(RequestError) {
        guard room.rawValue.utf8.count <= configuration.roomNameBytes else {
            throw RequestError(
                .limitExceeded, "the room's name is over \(configuration.roomNameBytes) bytes", limit: .roomNameBytes)
        }
    }
}
