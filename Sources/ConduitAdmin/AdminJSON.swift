import ConduitCore
import ConduitWire
import NIOCore

/// The JSON that the admin port answers with.
enum AdminJSON {
    static func error(_ error: AdminError) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"error\":{\"code\":")
        buffer.writeJSONString(error.code)
        buffer.writeStaticString(",\"message\":")
        buffer.writeJSONString(error.message)
        buffer.writeStaticString("}}\n")
        return buffer
    }

    static func status(_ status: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"status\":")
        buffer.writeJSONString(status)
        buffer.writeStaticString("}\n")
        return buffer
    }

    static func receipt(_ receipt: AdminReceipt, countName: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"ok\":true")
        if let count = receipt.count { buffer.writeString(",\"\(countName)\":\(count)") }
        if let time = receipt.expiresAt { buffer.writeString(",\"expires_at\":\"\(Timestamp.text(time))\"") }
        buffer.writeUnreachable(receipt.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    static func kick(_ receipt: AdminReceipt) -> ByteBuffer {
        var buffer = ByteBuffer(string: "{\"kicked\":\(receipt.count ?? 0)")
        buffer.writeUnreachable(receipt.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    static func nodes(_ cluster: AdminCluster) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"nodes\":[")
        for (index, node) in cluster.nodes.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeNode(node)
        }
        buffer.writeStaticString("]")
        buffer.writeUnreachable(cluster.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    static func node(_ node: AdminCluster.Node, unreachable: [String]) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeNode(node)
        buffer.moveWriterIndex(to: buffer.writerIndex - 1)
        buffer.writeUnreachable(unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    /// Figures that mean something when those of all nodes are added.
    private static let added = [
        "clients", "messages_in", "deliveries", "bytes_out", "dropped", "slow_closed", "relay_published",
        "relay_received", "relay_dropped", "relay_gaps", "rss_bytes",
    ]

    static func cluster(_ cluster: AdminCluster, seenFrom node: NodeID) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"node\":")
        buffer.writeJSONString(node.rawValue)
        buffer.writeStaticString(",\"status\":")
        buffer.writeJSONString(cluster.status)
        buffer.writeString(",\"nodes\":\(cluster.nodes.count),\"totals\":{")
        for (index, name) in added.enumerated() {
            let sum = cluster.nodes.reduce(Int64(0)) { sum, node in
                let (result, overflow) = sum.addingReportingOverflow(node.fields[name].flatMap { Int64($0) } ?? 0)
                return overflow ? .max : result
            }
            buffer.writeString("\(index > 0 ? "," : "")\"\(name)\":\(sum)")
        }
        buffer.writeStaticString("}")
        buffer.writeUnreachable(cluster.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }

    static func presence(_ presence: AdminPresence, of room: RoomName) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"room\":")
        buffer.writeJSONString(room.rawValue)
        buffer.writeString(",\"count\":\(presence.count),\"users\":\(presence.users),\"members\":[")
        for (index, member) in presence.members.enumerated() {
            if index > 0 { buffer.writeStaticString(",") }
            buffer.writeMember(member)
        }
        buffer.writeStaticString("]")
        if let cursor = presence.cursor {
            buffer.writeStaticString(",\"cursor\":")
            buffer.writeJSONString(cursor)
        }
        buffer.writeUnreachable(presence.unreachable)
        buffer.writeStaticString("}\n")
        return buffer
    }
}

extension ByteBuffer {
    mutating func writeUnreachable(_ names: [String]) {
        writeStaticString(",\"unreachable\":[")
        for (index, name) in names.enumerated() {
            if index > 0 { writeStaticString(",") }
            writeJSONString(name)
        }
        writeStaticString("]")
    }

    fileprivate mutating func writeNode(_ node: AdminCluster.Node) {
        writeStaticString("{\"id\":")
        writeJSONString(node.id.rawValue)
        if let age = node.heartbeatAgeMilliseconds { writeString(",\"heartbeat_age_ms\":\(age)") }
        for (name, value) in node.fields.sorted(by: { $0.key < $1.key })
        where !["id", "heartbeat_age_ms", "unreachable"].contains(name) {
            writeStaticString(",")
            writeJSONString(name)
            writeStaticString(":")
            writeJSONFigure(value)
        }
        writeStaticString("}")
    }
}
