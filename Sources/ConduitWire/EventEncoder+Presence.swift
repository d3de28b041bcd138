package import ConduitCore
import NIOCore

/// What happened in a room since the last `presence_diff`, and how many are there now.
package struct PresenceDiff: Sendable {
    package struct Leaving: Sendable, Hashable {
        package let member: Member
        package let reason: LeaveReason

        package init(member: Member, reason: LeaveReason) {
            self.member = member
            self.reason = reason
        }
    }

    package var joined: [Member]
    package var left: [Leaving]
    /// Connections in the room.
    package var count: Int
    /// Different users in the room.
    package var users: Int
    /// Users whose first connection in the room came.
    package var usersJoined: [UserID]
    /// Users whose last connection in the room went.
    package var usersLeft: [UserID]
    /// Names are not told in this room.
    package var countsOnly: Bool

    package init(
        joined: [Member] = [], left: [Leaving] = [], count: Int, users: Int, usersJoined: [UserID] = [],
        usersLeft: [UserID] = [], countsOnly: Bool = false
    ) {
        self.joined = joined
        self.left = left
        self.usersJoined = usersJoined
        self.usersLeft = usersLeft
        self.countsOnly = countsOnly
        self.count = count
        self.users = users
    }
}

/// How far the messages of a room can be trusted to be whole.
package enum RoomState: String, Sendable, CaseIterable {
    case live
    case degraded
    case catchingUp = "catching_up"
    case gap
}

extension EventEncoder {
    /// Answers `presence`; `countsOnly` says that names are not told in this room.
    package static func presence(
        room: RoomName, count: Int, users: Int, members: [Member], cursor: String?, countsOnly: Bool = false,
        id: RequestID?
    ) -> ServerMessage {
        envelope("presence", id, size: 128 + room.rawValue.utf8.count + size(of: members)) {
            $0.writeStaticString("{\"room\":")
            $0.writeJSONString(room.rawValue)
            $0.writeCounts(count, users)
            $0.writeStaticString(",\"members\":[")
            $0.writeMembers(members)
            $0.writeStaticString("]")
            if let cursor {
                $0.writeStaticString(",\"cursor\":")
                $0.writeJSONString(cursor)
            }
            if countsOnly { $0.writeStaticString(",\"mode\":\"count\"") }
            $0.writeStaticString("}")
        }
    }

    /// Tells the observers of a room who came and went.
    package static func presenceDiff(_ diff: PresenceDiff, room: RoomName) -> ServerMessage {
        let size = 128 + size(of: diff.joined) + diff.left.reduce(0) { $0 + 190 + $1.member.info.count }
        return envelope("presence_diff", nil, room, size: size) {
            $0.writeStaticString("{\"joined\":[")
            $0.writeMembers(diff.joined)
            $0.writeStaticString("],\"left\":[")
            for (index, leaving) in diff.left.enumerated() {
                if index > 0 { $0.writeStaticString(",") }
                $0.writeMember(leaving.member, reason: leaving.reason)
            }
            $0.writeStaticString("]")
            $0.writeCounts(diff.count, diff.users)
            $0.writeUsers(",\"users_joined\":[", diff.usersJoined)
            $0.writeUsers(",\"users_left\":[", diff.usersLeft)
            if diff.countsOnly { $0.writeStaticString(",\"mode\":\"count\"") }
            $0.writeStaticString("}")
        }
    }

    /// Tells the observers of a room whether they get everything.
    ///
    /// - Parameter epoch: the epoch that an ordered room has from here on.
    package static func roomState(
        _ state: RoomState, missed: UInt64? = nil, epoch: String? = nil, room: RoomName
    ) -> ServerMessage {
        envelope("room_state", nil, room, size: 96) {
            $0.writeStaticString("{\"state\":")
            $0.writeJSONString(state.rawValue)
            if let missed {
                $0.writeStaticString(",\"missed\":")
                $0.writeDecimal(missed)
            }
            if let epoch {
                $0.writeStaticString(",\"epoch\":")
                $0.writeJSONString(epoch)
            }
            $0.writeStaticString("}")
        }
    }

    private static func size(of members: [Member]) -> Int {
        members.reduce(0) { $0 + 160 + $1.info.count }
    }
}

extension ByteBuffer {
    fileprivate mutating func writeCounts(_ count: Int, _ users: Int) {
        writeStaticString(",\"count\":")
        writeDecimal(count)
        writeStaticString(",\"users\":")
        writeDecimal(users)
    }

    /// Nothing when there are none.
    fileprivate mutating func writeUsers(_ key: StaticString, _ users: [UserID]) {
        guard !users.isEmpty else { return }
        writeStaticString(key)
        for (index, user) in users.enumerated() {
            if index > 0 { writeStaticString(",") }
            writeJSONString(user.rawValue)
        }
        writeStaticString("]")
    }

    fileprivate mutating func writeMembers(_ members: [Member]) {
        for (index, member) in members.enumerated() {
            if index > 0 { writeStaticString(",") }
            writeMember(member)
        }
    }
}
