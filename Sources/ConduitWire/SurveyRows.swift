package import ConduitCore
package import NIOCore

/// One row of an answer.
package protocol SurveyRow: Sendable {
    init?(_ buffer: inout ByteBuffer)
    func write(to buffer: inout ByteBuffer)
}

/// A room of one node: 4 bytes members there, 4 bytes members that this node knows of in the cluster, 1 byte length and
/// the room.
package struct RoomRow: SurveyRow, Hashable {
    package let room: RoomName
    /// Members on this node.
    package let members: Int
    /// Members on all nodes, as far as this one knows.
    package let total: Int

    package init(room: RoomName, members: Int, total: Int) {
        self.room = room
        self.members = members
        self.total = total
    }

    package init?(_ buffer: inout ByteBuffer) {
        guard let members = buffer.readInteger(as: UInt32.self), let total = buffer.readInteger(as: UInt32.self),
            let room = buffer.readRoomName()
        else { return nil }
        self.init(room: room, members: Int(members), total: Int(total))
    }

    package func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(clamping: members))
        buffer.writeInteger(UInt32(clamping: total))
        buffer.writeShortText(room.rawValue)
    }
}

/// Who of one node is in a room: 4 bytes members, 4 bytes users, then 8 bytes for each user, a hash, unless those are too
/// many or don't fit into the answer.
package struct RoomCount: SurveyRow, Hashable {
    /// Users whose hashes are told.
    package static let maximumHashes = 30_000

    package let members: Int
    package let users: Int
    /// Of the users' ids (FNV-1a), so that one who is on two nodes counts once; empty when they are too many.
    package let hashes: [UInt64]

    /// - Parameter maximumBytes: of the row: hashes that don't fit are left out, the numbers never.
    package init(members: Int, userHashes: Set<UInt64>, maximumBytes: Int = .max) {
        let most = min(Self.maximumHashes, max(0, maximumBytes - 8) / 8)
        self.init(
            members: members, users: userHashes.count, hashes: userHashes.count <= most ? Array(userHashes) : [])
    }

    private init(members: Int, users: Int, hashes: [UInt64]) {
        self.members = members
        self.users = users
        self.hashes = hashes
    }

    package init?(_ buffer: inout ByteBuffer) {
        guard let members = buffer.readInteger(as: UInt32.self), let users = buffer.readInteger(as: UInt32.self),
            buffer.readableBytes % 8 == 0
        else { return nil }
        var hashes: [UInt64] = []
        hashes.reserveCapacity(buffer.readableBytes / 8)
        while let hash = buffer.readInteger(as: UInt64.self) { hashes.append(hash) }
        self.init(members: Int(members), users: Int(users), hashes: hashes)
    }

    package func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(clamping: members))
        buffer.writeInteger(UInt32(clamping: users))
        for hash in hashes { buffer.writeInteger(hash) }
    }

    /// The same on every node.
    package static func hash(of user: UserID) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in user.rawValue.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash
    }
}

/// One client: 1 byte length and its id, 1 byte length and the user's (0: none), 8 bytes when it connected (ms since
/// 1970), 1 byte length and its address, 8 bytes how many bytes wait for it, 4 bytes how many rooms it is in, 1 byte how
/// many of them follow, 1 byte length and the name of each.
package struct ClientRow: SurveyRow, Hashable {
    /// Rooms that are named.
    package static let maximumRooms = 100

    package let client: ClientID
    package let user: UserID?
    package let connectedAt: Int64
    /// Empty when it isn't known.
    package let address: String
    package let pendingBytes: Int
    package let roomCount: Int
    /// The first by name.
    package let rooms: [RoomName]

    package init(
        client: ClientID, user: UserID?, connectedAt: Int64, address: String, pendingBytes: Int, roomCount: Int,
        rooms: [RoomName]
    ) {
        self.client = client
        self.user = user
        self.connectedAt = connectedAt
        self.address = address
        self.pendingBytes = pendingBytes
        self.roomCount = roomCount
        self.rooms = rooms
    }

    package init?(_ buffer: inout ByteBuffer) {
        guard let client = buffer.readClientID(), let user = buffer.readShortText(),
            let connectedAt = buffer.readInteger(as: Int64.self), let address = buffer.readShortText(),
            let pending = buffer.readInteger(as: UInt64.self), let count = buffer.readInteger(as: UInt32.self),
            let named = buffer.readInteger(as: UInt8.self)
        else { return nil }
        var rooms: [RoomName] = []
        for _ in 0..<named {
            guard let room = buffer.readRoomName() else { return nil }
            rooms.append(room)
        }
        self.init(
            client: client, user: UserID(user), connectedAt: connectedAt, address: address,
            pendingBytes: Int(clamping: pending), roomCount: Int(count), rooms: rooms)
    }

    package func write(to buffer: inout ByteBuffer) {
        buffer.writeShortText(client.rawValue)
        buffer.writeShortText(user?.rawValue ?? "")
        buffer.writeInteger(connectedAt)
        buffer.writeShortText(address)
        buffer.writeInteger(UInt64(clamping: pendingBytes))
        buffer.writeInteger(UInt32(clamping: roomCount))
        let named = rooms.prefix(Self.maximumRooms)
        buffer.writeInteger(UInt8(clamping: named.count))
        for room in named { buffer.writeShortText(room.rawValue) }
    }
}
