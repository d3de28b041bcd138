package import ConduitCore
import NIOCore

/// What `status` tells a client of itself. Times are milliseconds since 1970.
package struct ClientStatus: Sendable {
    package let client: ClientID
    package let user: UserID?
    package let node: NodeID
    package let connectedAt: Int64
    package let lastHeartbeat: Int64
    package let now: Int64
    package let rooms: [RoomName]

    package init(
        client: ClientID, user: UserID?, node: NodeID, connectedAt: Int64, lastHeartbeat: Int64, now: Int64,
        rooms: [RoomName]
    ) {
        self.client = client
        self.user = user
        self.node = node
        self.connectedAt = connectedAt
        self.lastHeartbeat = lastHeartbeat
        self.now = now
        self.rooms = rooms
    }
}

extension EventEncoder {
    /// Answers `status`. The duration is in seconds, with three decimals.
    package static func status(_ status: ClientStatus, id: RequestID?) -> ServerMessage {
        envelope("status", id, size: 256 + status.rooms.count * 24) {
            $0.writeStaticString("{\"client_id\":")
            $0.writeJSONString(status.client.rawValue)
            $0.writeStaticString(",\"user_id\":")
            $0.writeJSONString(status.user?.rawValue ?? "")
            $0.writeStaticString(",\"connected_at\":\"")
            $0.writeTimestamp(status.connectedAt)
            $0.writeStaticString("\",\"connection_duration\":")
            $0.writeSeconds(max(0, status.now.subtractingReportingOverflow(status.connectedAt).partialValue))
            $0.writeStaticString(",\"last_heartbeat\":\"")
            $0.writeTimestamp(status.lastHeartbeat)
            $0.writeStaticString("\",\"node_id\":")
            $0.writeJSONString(status.node.rawValue)
            $0.writeStaticString(",\"rooms\":[")
            for (index, room) in status.rooms.enumerated() {
                if index > 0 { $0.writeStaticString(",") }
                $0.writeJSONString(room.rawValue)
            }
            $0.writeStaticString("]}")
        }
    }
}

extension ByteBuffer {
    /// Appends milliseconds (not negative) as seconds with three decimals.
    fileprivate mutating func writeSeconds(_ milliseconds: Int64) {
        writeDecimal(milliseconds / 1000)
        let rest = milliseconds % 1000
        writeStaticString(rest < 10 ? ".00" : rest < 100 ? ".0" : ".")
        writeDecimal(rest)
    }
}
