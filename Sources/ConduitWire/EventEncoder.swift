package import ConduitCore
package import NIOCore

/// Encodes what the server says: appends bytes to one buffer, once per event, whoever many get it.
package enum EventEncoder {
    /// Any envelope; `data` is raw JSON.
    package static func envelope(
        type: String, data: ByteBuffer, id: RequestID? = nil, room: RoomName? = nil, offset: UInt64? = nil
    ) -> ServerMessage {
        let size = 64 + data.readableBytes + type.utf8.count + (room?.rawValue.utf8.count ?? 0)
        return envelope(type, id, room, offset, size: size) { $0.writeImmutableBuffer(data) }
    }

    /// A broadcast or send as its recipients read it; `payload` is raw JSON.
    package static func event(
        type: String, payload: ByteBuffer, room: RoomName? = nil, offset: UInt64? = nil
    ) -> ServerMessage {
        envelope(type: type, data: payload, room: room, offset: offset)
    }

    /// Answers `ping`; `timestamp` is the raw JSON of its data.
    package static func pong(timestamp: ByteBuffer, id: RequestID?) -> ServerMessage {
        envelope("pong", id, size: 48 + timestamp.readableBytes) {
            $0.writeStaticString("{\"timestamp\":")
            $0.writeImmutableBuffer(timestamp)
            $0.writeStaticString("}")
        }
    }

    /// Answers `echo`: the raw JSON of its data as a string.
    package static func echo(original: ByteBuffer, id: RequestID?) -> ServerMessage {
        envelope("echo", id, size: 64 + original.readableBytes * 5 / 4) {
            $0.writeStaticString("{\"original\":")
            $0.writeJSONString(original)
            $0.writeStaticString("}")
        }
    }

    /// Answers `join_room`.
    package static func roomJoined(_ room: RoomName, id: RequestID?) -> ServerMessage {
        roomOnly("room_joined", room, id)
    }

    /// Answers `leave_room`.
    package static func roomLeft(_ room: RoomName, id: RequestID?) -> ServerMessage {
        roomOnly("room_left", room, id)
    }

    /// Answers `broadcast` with an id.
    package static func ack(id: RequestID) -> ServerMessage {
        envelope("ack", id, size: 24) { $0.writeStaticString("{}") }
    }

    /// Answers `send` with an id.
    package static func ack(deliveredTo count: Int, id: RequestID) -> ServerMessage {
        envelope("ack", id, size: 40) {
            $0.writeStaticString("{\"delivered_to\":")
            $0.writeDecimal(count)
            $0.writeStaticString("}")
        }
    }

    /// Says that a request failed.
    package static func error(
        _ error: RequestError, requestType: String? = nil, id: RequestID? = nil, retryAfterMilliseconds: Int? = nil
    ) -> ServerMessage {
        envelope("error", id, size: 96 + error.message.utf8.count) {
            $0.writeStaticString("{\"code\":")
            $0.writeJSONString(error.code.rawValue)
            $0.writeStaticString(",\"message\":")
            $0.writeJSONString(error.message)
            if let requestType {
                $0.writeStaticString(",\"request_type\":")
                $0.writeJSONString(requestType)
            }
            if let retryAfterMilliseconds {
                $0.writeStaticString(",\"retry_after_ms\":")
                $0.writeDecimal(retryAfterMilliseconds)
            }
            $0.writeStaticString("}")
        }
    }

    /// Tells a client to come back to another node, just before close 3001.
    package static func reconnect(afterMilliseconds: Int, reason: ReconnectReason) -> ServerMessage {
        envelope("reconnect", nil, size: 64) {
            $0.writeStaticString("{\"after_ms\":")
            $0.writeDecimal(afterMilliseconds)
            $0.writeStaticString(",\"reason\":")
            $0.writeJSONString(reason.rawValue)
            $0.writeStaticString("}")
        }
    }

    // MARK: Pieces

    private static func roomOnly(_ type: StaticString, _ room: RoomName, _ id: RequestID?) -> ServerMessage {
        envelope(type.description, id, size: 48 + room.rawValue.utf8.count) {
            $0.writeStaticString("{\"room\":")
            $0.writeJSONString(room.rawValue)
            $0.writeStaticString("}")
        }
    }

    /// Writes the frame around `data`; `size` is a guess that saves growing.
    static func envelope(
        _ type: String, _ id: RequestID? = nil, _ room: RoomName? = nil, _ offset: UInt64? = nil, size: Int,
        data: (inout ByteBuffer) -> Void
    ) -> ServerMessage {
        var writer = ServerMessageWriter(capacity: size + (id?.json.readableBytes ?? 0) + 8)
        writer.buffer.writeStaticString("{\"type\":")
        writer.buffer.writeJSONString(type)
        writer.buffer.writeStaticString(",\"data\":")
        data(&writer.buffer)
        if let id {
            writer.buffer.writeStaticString(",\"id\":")
            writer.buffer.writeImmutableBuffer(id.json)
        }
        if let room {
            writer.buffer.writeStaticString(",\"room\":")
            writer.buffer.writeJSONString(room.rawValue)
        }
        if let offset {
            writer.buffer.writeStaticString(",\"offset\":")
            writer.buffer.writeDecimal(offset)
        }
        writer.buffer.writeStaticString("}")
        return writer.finish()
    }
}

/// Why a client is told to come back.
package enum ReconnectReason: String, Sendable, CaseIterable {
    /// This node is going away.
    case drain
    /// Another node has more room.
    case rebalance
}
