package import ConduitCluster
package import ConduitCore
import ConduitTelemetry
package import ConduitWire
import Foundation
package import NIOCore

/// The lines of `conduit tail`. Names and messages come from anybody: nothing in a line commands a terminal or ends it.
package enum TailLine {
    /// When, what, who, and the rest as `name=value`.
    package static func text(_ event: ClusterEvent, server: Int?) -> String {
        let name = event.event + String(repeating: " ", count: max(0, 14 - event.event.count))
        var words = [WallClock.rfc3339(milliseconds: event.at), name, event.node]
        words += event.fields.map { name, value in
            let isPlain = !value.isEmpty && !value.contains { $0 == " " || $0 == "\"" }
            return "\(name)=\(isPlain ? value : value.debugDescription)"
        }
        if let server { words.append("(server \(server))") }
        return PrintableText.escaped(words.joined(separator: "  "))
    }

    /// `{"id","at","event","node",…}`; `at` in milliseconds since 1970.
    package static func json(_ event: ClusterEvent, server: Int?) -> String {
        var buffer = ByteBuffer(string: "{\"id\":")
        buffer.writeJSONString(event.id)
        buffer.writeString(",\"at\":\(event.at),\"event\":")
        buffer.writeJSONString(event.event)
        buffer.writeStaticString(",\"node\":")
        buffer.writeJSONString(event.node)
        if let server { buffer.writeString(",\"server\":\(server)") }
        var written: Set<String> = ["id", "at", "event", "node", "server"]
        for (name, value) in event.fields {
            // An event may have a field of such a name, as redis_lost has `at`.
            let name = written.contains(name) ? "field_" + name : name
            guard written.insert(name).inserted else { continue }
            buffer.writeStaticString(",")
            buffer.writeJSONString(name)
            buffer.writeStaticString(":")
            buffer.writeJSONString(value)
        }
        buffer.writeStaticString("}")
        return PrintableText.escaped(String(buffer: buffer))
    }

    /// A message of a fast room: `{"at","room","node","message"}`.
    package static func json(_ message: ByteBuffer, room: RoomName, at: Int64, node: NodeID?) -> String {
        var buffer = begin(room: room, at: at, node: node)
        append(message, to: &buffer)
        return end(buffer)
    }

    /// A message of an ordered room: `epoch`, `offset`, and `except` (the client that doesn't get it) besides.
    package static func json(
        _ message: OrderedMessage, room: RoomName, epoch: String, at: Int64, node: NodeID?
    ) -> String {
        var buffer = begin(room: room, at: at, node: node)
        buffer.writeStaticString(",\"epoch\":")
        buffer.writeJSONString(epoch)
        buffer.writeString(",\"offset\":\(message.offset)")
        if let excluded = message.excluded {
            buffer.writeStaticString(",\"except\":")
            buffer.writeJSONString(excluded.rawValue)
        }
        append(message.json, to: &buffer)
        return end(buffer)
    }

    /// Who came or went: `{"at","room","node","joined":CLIENT,"user"}` or `{…,"left":CLIENT,"reason"}`; `nil` for what
    /// nodes compare.
    package static func json(_ news: PresenceNews, room: RoomName, at: Int64, node: NodeID?) -> String? {
        var buffer = begin(room: room, at: at, node: node)
        switch news {
        case .joined(let member):
            buffer.writeStaticString(",\"joined\":")
            buffer.writeJSONString(member.client.rawValue)
            if let user = member.user {
                buffer.writeStaticString(",\"user\":")
                buffer.writeJSONString(user.rawValue)
            }
        case .left(let client, let reason):
            buffer.writeStaticString(",\"left\":")
            buffer.writeJSONString(client.rawValue)
            buffer.writeStaticString(",\"reason\":")
            buffer.writeJSONString(reason.rawValue)
        case .digest, .differs: return nil
        }
        return end(buffer)
    }

    private static func begin(room: RoomName, at: Int64, node: NodeID?) -> ByteBuffer {
        var buffer = ByteBuffer(string: "{\"at\":\(at),\"room\":")
        buffer.writeJSONString(room.rawValue)
        if let node {
            buffer.writeStaticString(",\"node\":")
            buffer.writeJSONString(node.rawValue)
        }
        return buffer
    }

    private static func end(_ buffer: ByteBuffer) -> String {
        var buffer = buffer
        buffer.writeStaticString("}")
        // Whatever must be escaped stands within a string: there the escapes are JSON's own.
        return PrintableText.escaped(String(buffer: buffer))
    }

    /// The client's envelope as it is, on one line: no string of JSON holds a line's end, so between strings a space does.
    /// What is no JSON becomes a string.
    private static func append(_ message: ByteBuffer, to buffer: inout ByteBuffer) {
        let bytes = message.readableBytesView.map { $0 == 0x0A || $0 == 0x0D || $0 == 0x09 ? 0x20 : $0 }
        buffer.writeStaticString(",\"message\":")
        if (try? JSONSerialization.jsonObject(with: Data(message.readableBytesView), options: .fragmentsAllowed)) != nil
        {
            buffer.writeBytes(bytes)
        } else {
            buffer.writeJSONString(String(buffer: message))
        }
    }
}
