package import ConduitCore
package import NIOCore

/// What an operator's node asks the others: to tell something of their clients and rooms, or to do something and count.
package enum SurveyQuestion: Sendable, Hashable {
    /// Most bytes of a text that is searched for: 255 characters of the longest kind.
    package static let maximumTextBytes = 1_020

    /// Which rooms are there?
    case rooms(RoomSearch)
    /// Who of you is in this room?
    case room(RoomName)
    /// Which clients are there?
    case clients(ClientSearch)
    /// Have you got this one?
    case client(ClientID)
    /// End connections with 3503.
    case disconnect(ControlMessage.Target)
    /// Take clients out of a room; they stay connected.
    case kick(ControlMessage.Target, RoomName)
}

/// A place in the order of a list of rooms: large keys first, then by the bytes of their names.
package struct RoomPlace: Sendable, Hashable, Comparable {
    /// Members where the list is ordered by them, else 0.
    package let key: Int
    package let room: RoomName

    package init(key: Int, room: RoomName) {
        self.key = key
        self.room = room
    }

    package static func < (one: RoomPlace, other: RoomPlace) -> Bool {
        guard one.key == other.key else { return one.key > other.key }
        return one.room.rawValue.utf8.lexicographicallyPrecedes(other.room.rawValue.utf8)
    }
}

/// Which rooms to list, and in what order.
package struct RoomSearch: Sendable, Hashable {
    /// Is part of the name, in small or capital letters; empty for all.
    package var text = ""
    /// Only rooms of this namespace; empty for those without one, `nil` for all.
    package var namespace: String?
    /// Rooms with many members first.
    package var byMembers = false
    /// Most rooms, 1…1,000.
    package var limit = 100
    /// Only rooms behind this place.
    package var after: RoomPlace?

    /// All rooms, by name.
    package init() {}
}

/// Which clients to list; they come by id.
package struct ClientSearch: Sendable, Hashable {
    /// Is part of the client's or the user's id or of the address; empty for all.
    package var text = ""
    package var user: UserID?
    package var room: RoomName?
    /// Most clients, 1…1,000.
    package var limit = 100
    /// Only clients behind this id.
    package var after: ClientID?

    /// All clients.
    package init() {}
}

/// A question on its way.
///
/// As an entry of `ControlMessage`: 8 bytes number, 4 bytes how many bytes the answer may have, then of an `ask` 1 byte
/// question and its own fields, of a `kick` 1 byte target (1 user, 2 client), 1 byte length and the target, 1 byte length
/// and the room. Texts that are searched for have 2 bytes of length.
package struct SurveyRequest: Sendable, Hashable {
    /// Most bytes of one node's answer.
    package static let maximumBytes = 256 * 1024

    package let number: UInt64
    package let answerBytes: Int
    package let question: SurveyQuestion

    package init(number: UInt64, answerBytes: Int, question: SurveyQuestion) {
        self.number = number
        self.answerBytes = min(max(0, answerBytes), Self.maximumBytes)
        self.question = question
    }

    init?(ask buffer: inout ByteBuffer) {
        guard let number = buffer.readInteger(as: UInt64.self), let bytes = buffer.readInteger(as: UInt32.self),
            let kind = buffer.readInteger(as: UInt8.self)
        else { return nil }
        let question: SurveyQuestion
        switch kind {
        case 1:
            guard let search = RoomSearch(&buffer) else { return nil }
            question = .rooms(search)
        case 2:
            guard let room = buffer.readShortText().flatMap({ RoomName($0) }) else { return nil }
            question = .room(room)
        case 3:
            guard let search = ClientSearch(&buffer) else { return nil }
            question = .clients(search)
        case 4:
            guard let client = buffer.readShortText().flatMap({ ClientID($0) }) else { return nil }
            question = .client(client)
        case 5:
            guard let target = buffer.readTarget() else { return nil }
            question = .disconnect(target)
        default: return nil
        }
        self.init(number: number, answerBytes: Int(bytes), question: question)
    }

    init?(kick buffer: inout ByteBuffer) {
        guard let number = buffer.readInteger(as: UInt64.self), let bytes = buffer.readInteger(as: UInt32.self),
            let target = buffer.readTarget(), let room = buffer.readShortText().flatMap({ RoomName($0) })
        else { return nil }
        self.init(number: number, answerBytes: Int(bytes), question: .kick(target, room))
    }

    func write(to buffer: inout ByteBuffer) {
        var isKick = false
        if case .kick = question { isKick = true }
        buffer.writeInteger(isKick ? 13 : 11 as UInt8)
        buffer.writeInteger(number)
        buffer.writeInteger(UInt32(clamping: answerBytes))
        switch question {
        case .rooms(let search):
            buffer.writeInteger(1 as UInt8)
            search.write(to: &buffer)
        case .room(let room):
            buffer.writeInteger(2 as UInt8)
            buffer.writeShortText(room.rawValue)
        case .clients(let search):
            buffer.writeInteger(3 as UInt8)
            search.write(to: &buffer)
        case .client(let client):
            buffer.writeInteger(4 as UInt8)
            buffer.writeShortText(client.rawValue)
        case .disconnect(let target):
            buffer.writeInteger(5 as UInt8)
            buffer.writeTarget(target)
        case .kick(let target, let room):
            buffer.writeTarget(target)
            buffer.writeShortText(room.rawValue)
        }
    }
}

extension RoomSearch {
    fileprivate init?(_ buffer: inout ByteBuffer) {
        guard let flags = buffer.readInteger(as: UInt8.self), flags & ~7 == 0,
            let limit = buffer.readInteger(as: UInt16.self), (1...1000).contains(limit),
            let text = buffer.readMediumText(), let namespace = buffer.readMediumText()
        else { return nil }
        self.text = text
        self.limit = Int(limit)
        byMembers = flags & 1 != 0
        self.namespace = flags & 2 != 0 ? namespace : nil
        guard flags & 4 != 0 else { return }
        guard let key = buffer.readInteger(as: UInt32.self),
            let room = buffer.readShortText().flatMap({ RoomName($0) })
        else { return nil }
        after = RoomPlace(key: Int(key), room: room)
    }

    fileprivate func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger((byMembers ? 1 : 0) | (namespace != nil ? 2 : 0) | (after != nil ? 4 : 0) as UInt8)
        buffer.writeInteger(UInt16(clamping: limit))
        buffer.writeMediumText(text)
        buffer.writeMediumText(namespace ?? "")
        guard let after else { return }
        buffer.writeInteger(UInt32(clamping: after.key))
        buffer.writeShortText(after.room.rawValue)
    }
}

extension ClientSearch {
    fileprivate init?(_ buffer: inout ByteBuffer) {
        guard let limit = buffer.readInteger(as: UInt16.self), (1...1000).contains(limit),
            let text = buffer.readMediumText(), let user = buffer.readShortText(), let room = buffer.readShortText(),
            let after = buffer.readShortText()
        else { return nil }
        self.text = text
        self.limit = Int(limit)
        self.user = UserID(user)
        self.room = RoomName(room)
        self.after = ClientID(after)
        guard (self.user == nil) == user.isEmpty, (self.room == nil) == room.isEmpty,
            (self.after == nil) == after.isEmpty
        else { return nil }
    }

    fileprivate func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt16(clamping: limit))
        buffer.writeMediumText(text)
        buffer.writeShortText(user?.rawValue ?? "")
        buffer.writeShortText(room?.rawValue ?? "")
        buffer.writeShortText(after?.rawValue ?? "")
    }
}

/// What one node has to say to a question.
///
/// As an entry of `ControlMessage`: 8 bytes number of the request, 1 byte whether there was more than fitted, then what
/// was found: of a list its rows, of a room a ``RoomCount``, of a command 4 bytes how many connections it concerned.
package struct SurveyAnswer: Sendable, Hashable {
    package let number: UInt64
    package let findings: SurveyFindings

    package init(number: UInt64, findings: SurveyFindings) {
        self.number = number
        self.findings = findings
    }

    init?(_ buffer: inout ByteBuffer) {
        guard let number = buffer.readInteger(as: UInt64.self), let flag = buffer.readInteger(as: UInt8.self), flag < 2,
            let body = buffer.readSlice(length: buffer.readableBytes)
        else { return nil }
        self.init(number: number, findings: SurveyFindings(body: body, hasMore: flag == 1))
    }

    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(number)
        buffer.writeInteger(findings.hasMore ? 1 : 0 as UInt8)
        buffer.writeImmutableBuffer(findings.body)
    }
}

/// What one node has found.
package struct SurveyFindings: Sendable, Hashable {
    /// Rows, one behind the other.
    package var body: ByteBuffer
    /// Whether rows that come behind these didn't fit.
    package var hasMore: Bool

    package init(body: ByteBuffer = ByteBuffer(), hasMore: Bool = false) {
        self.body = body
        self.hasMore = hasMore
    }

    /// The same for a command: how many connections it concerned.
    package init(count: Int) {
        var body = ByteBuffer()
        body.writeInteger(UInt32(clamping: count))
        self.init(body: body)
    }

    /// The rows that fit into so many bytes.
    package init<Row: SurveyRow>(_ rows: some Sequence<Row>, maximumBytes: Int, hasMore: Bool) {
        self.init(hasMore: hasMore)
        for row in rows {
            let end = body.writerIndex
            row.write(to: &body)
            guard body.readableBytes <= maximumBytes else {
                body.moveWriterIndex(to: end)
                self.hasMore = true
                return
            }
        }
    }

    /// The rows; those before the first that is malformed.
    package func rows<Row: SurveyRow>(_: Row.Type) -> [Row] {
        var rest = body
        var rows: [Row] = []
        while rest.readableBytes > 0, let row = Row(&rest) { rows.append(row) }
        return rows
    }

    /// Whether all of it is an answer to this question: a later version's rows, or what is cut, are not.
    package func isReadable(as question: SurveyQuestion) -> Bool {
        switch question {
        case .rooms: isReadable(RoomRow.self)
        case .clients, .client: isReadable(ClientRow.self)
        case .room: body.readableBytes > 0 && isReadable(RoomCount.self)
        case .disconnect, .kick: body.readableBytes >= 4
        }
    }

    private func isReadable<Row: SurveyRow>(_: Row.Type) -> Bool {
        var rest = body
        while rest.readableBytes > 0 { guard Row(&rest) != nil else { return false } }
        return true
    }

    /// What a command has counted.
    package var count: Int { body.getInteger(at: body.readerIndex, as: UInt32.self).map { Int($0) } ?? 0 }
}

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
            let room = buffer.readShortText().flatMap({ RoomName($0) })
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
        guard let client = buffer.readShortText().flatMap({ ClientID($0) }), let user = buffer.readShortText(),
            let connectedAt = buffer.readInteger(as: Int64.self), let address = buffer.readShortText(),
            let pending = buffer.readInteger(as: UInt64.self), let count = buffer.readInteger(as: UInt32.self),
            let named = buffer.readInteger(as: UInt8.self)
        else { return nil }
        var rooms: [RoomName] = []
        for _ in 0..<named {
            guard let room = buffer.readShortText().flatMap({ RoomName($0) }) else { return nil }
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

extension ByteBuffer {
    /// 1 byte target (1 user, 2 client), 1 byte length and the target.
    fileprivate mutating func writeTarget(_ target: ControlMessage.Target) {
        switch target {
        case .user(let user):
            writeInteger(1 as UInt8)
            writeShortText(user.rawValue)
        case .client(let client):
            writeInteger(2 as UInt8)
            writeShortText(client.rawValue)
        }
    }

    fileprivate mutating func readTarget() -> ControlMessage.Target? {
        guard let kind = readInteger(as: UInt8.self), let name = readShortText() else { return nil }
        switch kind {
        case 1: return UserID(name).map { .user($0) }
        case 2: return ClientID(name).map { .client($0) }
        default: return nil
        }
    }

    /// Two bytes length, then the text.
    fileprivate mutating func writeMediumText(_ text: String) {
        writeInteger(UInt16(clamping: text.utf8.count))
        writeString(text)
    }

    fileprivate mutating func readMediumText() -> String? {
        guard let text = readInteger(as: UInt16.self).flatMap({ readString(length: Int($0)) }),
            text.utf8.count <= SurveyQuestion.maximumTextBytes
        else { return nil }
        return text
    }
}
