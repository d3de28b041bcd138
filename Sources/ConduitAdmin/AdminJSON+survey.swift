import ConduitCluster
import ConduitCore
import ConduitWire
import NIOCore

// What the nodes have said together.
extension AdminJSON {
    static func rooms(_ page: AdminRooms) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"rooms\":[")
        for (index, row) in page.rows.enumerated() {
            buffer.writeStaticString(index > 0 ? ",{\"room\":" : "{\"room\":")
            buffer.writeJSONString(row.room.rawValue)
            buffer.writeString(
                ",\"members\":\(row.members),\"mode\":\"\(row.mode.rawValue)\",\"nodes\":\(row.nodes)}")
        }
        buffer.writeStaticString("]")
        buffer.writeEnd(page.cursor, page.unreachable)
        return buffer
    }

    static func room(_ room: AdminRoom) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"room\":")
        buffer.writeJSONString(room.room.rawValue)
        buffer.writeString(
            ",\"members\":\(room.found.members),\"users\":\(room.found.users),\"mode\":\"\(room.mode.rawValue)\"")
        buffer.writeStaticString(",\"nodes\":[")
        for (index, part) in room.found.nodes.enumerated() {
            buffer.writeStaticString(index > 0 ? ",{\"node_id\":" : "{\"node_id\":")
            buffer.writeJSONString(part.node.rawValue)
            buffer.writeString(",\"members\":\(part.members)}")
        }
        buffer.writeStaticString("]")
        if let epoch = room.epoch {
            buffer.writeStaticString(",\"epoch\":")
            buffer.writeJSONString(epoch)
        }
        if let offset = room.offset { buffer.writeString(",\"offset\":\(offset)") }
        buffer.writeEnd(nil, room.unreachable)
        return buffer
    }

    static func history(_ history: AdminHistory) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"room\":")
        buffer.writeJSONString(history.room.rawValue)
        buffer.writeStaticString(",\"epoch\":")
        buffer.writeJSONString(history.log.epoch)
        buffer.writeString(",\"offset\":\(history.log.offset),\"messages\":[")
        var isFirst = true
        for message in history.log.messages where isDocument(message) {
            if !isFirst { buffer.writeStaticString(",") }
            isFirst = false
            buffer.writeImmutableBuffer(message)
        }
        buffer.writeStaticString("]")
        buffer.writeEnd(nil, history.unreachable)
        return buffer
    }

    /// Anybody may have written into Redis: one bad entry must not spoil the answer.
    private static func isDocument(_ message: ByteBuffer) -> Bool {
        let bytes = message.readableBytesUInt8Span
        guard UTF8Validator.isValid(bytes) else { return false }
        return (try? JSONScanner.document(bytes)) != nil
    }

    /// A page of clients; `user`: whose they are, where that was asked.
    static func clients(_ page: AdminClients, of user: UserID? = nil) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{")
        if let user {
            buffer.writeStaticString("\"user_id\":")
            buffer.writeJSONString(user.rawValue)
            buffer.writeStaticString(",")
        }
        buffer.writeStaticString("\"clients\":[")
        for (index, row) in page.rows.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeStaticString("{")
            buffer.writeClient(row)
            buffer.writeStaticString("}")
        }
        buffer.writeStaticString("]")
        buffer.writeEnd(page.cursor, page.unreachable)
        return buffer
    }

    static func client(_ client: FoundClient, unreachable: [String]) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{")
        buffer.writeClient(client)
        buffer.writeEnd(nil, unreachable)
        return buffer
    }
}

extension ByteBuffer {
    fileprivate mutating func writeClient(_ client: FoundClient) {
        let row = client.row
        writeStaticString("\"client_id\":")
        writeJSONString(row.client.rawValue)
        writeStaticString(",\"user_id\":")
        if let user = row.user { writeJSONString(user.rawValue) } else { writeStaticString("null") }
        writeStaticString(",\"node_id\":")
        writeJSONString(client.node.rawValue)
        writeString(",\"connected_at\":\"\(Timestamp.text(row.connectedAt))\",\"remote_address\":")
        if row.address.isEmpty { writeStaticString("null") } else { writeJSONString(row.address) }
        writeStaticString(",\"rooms\":[")
        for (index, room) in row.rooms.enumerated() {
            if index > 0 { writeStaticString(",") }
            writeJSONString(room.rawValue)
        }
        writeString("],\"room_count\":\(row.roomCount),\"pending_bytes\":\(row.pendingBytes)")
    }

    /// What ends every answer about the cluster.
    fileprivate mutating func writeEnd(_ cursor: String?, _ unreachable: [String]) {
        if let cursor {
            writeStaticString(",\"cursor\":")
            writeJSONString(cursor)
        }
        writeUnreachable(unreachable)
        writeStaticString("}\n")
    }
}
