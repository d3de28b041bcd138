package import ConduitCore
import NIOCore

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
            guard let room = buffer.readRoomName() else { return nil }
            question = .room(room)
        case 3:
            guard let search = ClientSearch(&buffer) else { return nil }
            question = .clients(search)
        case 4:
            guard let client = buffer.readClientID() else { return nil }
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
            let target = buffer.readTarget(), let room = buffer.readRoomName()
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
            let room = buffer.readRoomName()
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
        guard let text = readInteger(as: UInt16.self).flatMap({ readText(length: Int($0)) }),
            text.utf8.count <= SurveyQuestion.maximumTextBytes
        else { return nil }
        return text
    }
}
