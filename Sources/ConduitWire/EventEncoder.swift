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

    /// A broadcast or send as its recipients read it; `payload` is raw JSON, `key` for rooms that conflate.
    package static func event(
        type: String, payload: ByteBuffer, room: RoomName? = nil, key: String? = nil, offset: UInt64? = nil
    ) -> ServerMessage {
        let size = 64 + payload.readableBytes + type.utf8.count + (room?.rawValue.utf8.count ?? 0)
        return envelope(type, nil, room, key: key, offset, size: size) { $0.writeImmutableBuffer(payload) }
    }

    /// A broadcast as its recipients read it: what the sender wrote, copied once; with its key for rooms that conflate.
    package static func event(
        for request: BroadcastTokens, in bytes: Span<UInt8>, withKey: Bool = false
    ) -> ServerMessage {
        var capacity = 64 + bytes.count
        if withKey, let key = request.key, key.isEscaped { capacity += 6 * key.byteCount }
        if let room = request.room, room.isEscaped { capacity += 6 * room.byteCount }
        if request.type.isEscaped { capacity += 6 * request.type.byteCount }
        return ServerMessage(capacity: capacity) { writer in
            writer.write("{\"type\":")
            writer.writeText(request.type, of: bytes)
            writer.write(",\"data\":")
            writer.writeValue(request.payload, of: bytes)
            if let room = request.room {
                writer.write(",\"room\":")
                writer.writeText(room, of: bytes)
                if withKey, let key = request.key {
                    writer.write(",\"key\":")
                    writer.writeText(key, of: bytes)
                }
            }
            writer.write("}")
        }
    }

    // MARK: Answers that echo a request: a whole frame, appended.

    /// Answers `ping` with its data as the timestamp.
    package static func writePong(to command: CommandTokens, in bytes: Span<UInt8>, into buffer: inout ByteBuffer) {
        buffer.writeTextFrame(capacity: 64 + bytes.count) { writer in
            writer.write("{\"type\":\"pong\",\"data\":{\"timestamp\":")
            writer.writeValue(command.data, of: bytes)
            writer.write("}")
            writer.writeEnd(of: command, in: bytes)
        }
    }

    /// Answers `echo`: the raw JSON of its data as a string.
    package static func writeEcho(of command: CommandTokens, in bytes: Span<UInt8>, into buffer: inout ByteBuffer) {
        let data = command.data.map { RawWriter.escapedCount(bytes.extracting($0.range)) } ?? 8
        buffer.writeTextFrame(capacity: 64 + data + (command.id?.byteCount ?? 0)) { writer in
            writer.write("{\"type\":\"echo\",\"data\":{\"original\":")
            if let data = command.data {
                writer.writeJSONString(bytes.extracting(data.range))
            } else {
                writer.write("\"null\"")
            }
            writer.write("}")
            writer.writeEnd(of: command, in: bytes)
        }
    }

    /// Answers `broadcast` with an id.
    package static func writeAck(of command: CommandTokens, in bytes: Span<UInt8>, into buffer: inout ByteBuffer) {
        buffer.writeTextFrame(capacity: 64 + (command.id?.byteCount ?? 0)) { writer in
            writer.write("{\"type\":\"ack\",\"data\":{}")
            writer.writeEnd(of: command, in: bytes)
        }
    }

    // MARK: Answers

    /// Answers `join_room`.
    package static func roomJoined(_ room: RoomName, id: RequestID?) -> ServerMessage {
        roomOnly("room_joined", room, id)
    }

    /// Answers `leave_room`.
    package static func roomLeft(_ room: RoomName, id: RequestID?) -> ServerMessage {
        roomOnly("room_left", room, id)
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
        _ error: RequestError, requestType: String? = nil, id: RequestID? = nil
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
            if let wait = error.retryAfterMilliseconds {
                $0.writeStaticString(",\"retry_after_ms\":")
                $0.writeDecimal(wait)
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
        _ type: String, _ id: RequestID? = nil, _ room: RoomName? = nil, key: String? = nil, _ offset: UInt64? = nil,
        size: Int,
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
        if let key {
            writer.buffer.writeStaticString(",\"key\":")
            writer.buffer.writeJSONString(key)
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

extension RawWriter {
    /// Appends the string at `token` as it stands in a request, or in our own way of escaping.
    fileprivate mutating func writeText(_ token: JSONToken, of bytes: Span<UInt8>) {
        guard token.isEscaped else { return write(bytes.extracting(token.range)) }
        var text = token.text(in: bytes)
        text.withUTF8 { raw in unsafe writeJSONString(raw.span) }
    }

    /// Appends the raw JSON at `token`; `null` for none.
    fileprivate mutating func writeValue(_ token: JSONToken?, of bytes: Span<UInt8>) {
        if let token { write(bytes.extracting(token.range)) } else { write("null") }
    }

    /// Appends what ends an answer: the request's `id`, if it has one.
    fileprivate mutating func writeEnd(of command: CommandTokens, in bytes: Span<UInt8>) {
        if let id = command.id {
            write(",\"id\":")
            write(bytes.extracting(id.range))
        }
        write("}")
    }
}
