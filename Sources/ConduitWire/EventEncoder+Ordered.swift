package import ConduitCore
package import NIOCore

/// Why what a client missed could not be replayed.
package enum RecoveryFailure: String, Sendable, CaseIterable {
    /// The log began anew: the client's offset means nothing in it.
    case epochChanged = "epoch_changed"
    /// The log has no more what came next.
    case trimmed
    /// More was missed than one resume replays.
    case limit
    /// The client has read further than the log goes: the log lost something.
    case offsetAhead = "offset_ahead"
}

// What is said of ordered rooms.
extension EventEncoder {
    /// Answers `join_room` in an ordered room.
    package static func roomJoined(
        _ room: RoomName, epoch: String, offset: UInt64, recovered: Bool, reason: RecoveryFailure?, id: RequestID?
    ) -> ServerMessage {
        envelope("room_joined", id, size: 128 + room.rawValue.utf8.count + epoch.utf8.count) {
            $0.writePlace(room, epoch, offset)
            $0.writeStaticString(recovered ? ",\"recovered\":true" : ",\"recovered\":false")
            if let reason {
                $0.writeStaticString(",\"reason\":")
                $0.writeJSONString(reason.rawValue)
            }
            $0.writeStaticString("}")
        }
    }

    /// Answers `broadcast` or `send` with an id once the message is in the log.
    ///
    /// - Parameters:
    ///   - isDuplicate: a message with the same key was stored before, at this offset.
    ///   - isSuppressed: nothing was stored: a version as high or higher was stored before.
    ///   - isStored: whether to say that it waits for a user; for `send`.
    package static func ack(
        offset: UInt64, epoch: String, isDuplicate: Bool = false, isSuppressed: Bool = false, isStored: Bool = false,
        id: RequestID
    ) -> ServerMessage {
        envelope("ack", id, size: 96 + epoch.utf8.count) {
            $0.writeStaticString("{\"offset\":")
            $0.writeDecimal(offset)
            $0.writeStaticString(",\"epoch\":")
            $0.writeJSONString(epoch)
            if isDuplicate { $0.writeStaticString(",\"duplicate\":true") }
            if isSuppressed { $0.writeStaticString(",\"suppressed\":true") }
            if isStored { $0.writeStaticString(",\"stored\":true") }
            $0.writeStaticString("}")
        }
    }

    /// Answers `history`; each message is a client envelope with its offset.
    package static func history(
        _ room: RoomName, epoch: String, offset: UInt64, messages: [ByteBuffer], id: RequestID?
    ) -> ServerMessage {
        let size = messages.reduce(128 + room.rawValue.utf8.count) { $0 + $1.readableBytes + 1 }
        return envelope("history", id, size: size) {
            $0.writePlace(room, epoch, offset)
            $0.writeStaticString(",\"messages\":[")
            for (index, message) in messages.enumerated() {
                if index > 0 { $0.writeStaticString(",") }
                $0.writeImmutableBuffer(message)
            }
            $0.writeStaticString("]}")
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func writePlace(_ room: RoomName, _ epoch: String, _ offset: UInt64) {
        writeStaticString("{\"room\":")
        writeJSONString(room.rawValue)
        writeStaticString(",\"epoch\":")
        writeJSONString(epoch)
        writeStaticString(",\"offset\":")
        writeDecimal(offset)
    }
}
