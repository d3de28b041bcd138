package import ConduitCore
package import NIOCore

/// A request to be in a room.
package struct JoinRoomRequest: Sendable, Hashable {
    package let room: RoomName
    /// Where the client stopped reading an ordered room.
    package let recover: RecoveryPoint?
    /// Whether it wants `presence_diff` and `room_state`.
    package let presence: Bool
    /// What it tells of itself: raw JSON, empty when nothing.
    package let info: [UInt8]
}

/// A place in the log of an ordered room.
package struct RecoveryPoint: Sendable, Hashable {
    package let epoch: String
    package let offset: UInt64

    package init(epoch: String, offset: UInt64) {
        self.epoch = epoch
        self.offset = offset
    }
}

/// A request to send to a room, or to everybody: where its parts stand in the message.
package struct BroadcastTokens: Sendable {
    let room: JSONToken?
    let type: JSONToken
    let payload: JSONToken?
    let key: JSONToken?
    let versionEpoch: JSONToken?
    /// Stored only when it is above the version that an ordered room stored last.
    package let version: UInt64?
    package let excludeSelf: Bool

    /// Whether it is for a room; else for every client of the cluster.
    package var isForRoom: Bool { room != nil }

    /// The room's name; `nil` for every client of the cluster.
    ///
    /// - Throws: ``RequestError`` for what can't be a room's name.
    package func room(in bytes: Span<UInt8>) throws(RequestError) -> RoomName? {
        guard let room else { return nil }
        return try RoomName(checking: room.text(in: bytes))
    }

    /// Makes a repeated publication one.
    package func key(in bytes: Span<UInt8>) -> String? { key?.text(in: bytes) }

    /// What ``version`` is counted in.
    package func versionEpoch(in bytes: Span<UInt8>) -> String? { versionEpoch?.text(in: bytes) }

    /// Whether `test` accepts the bytes of the room's name; `false` where they stand escaped.
    package func roomIs(in bytes: Span<UInt8>, _ test: (Span<UInt8>) -> Bool) -> Bool {
        guard let room, !room.isEscaped else { return false }
        return test(bytes.extracting(room.inner))
    }
}

/// A request to send to a room, or to everybody.
package struct BroadcastRequest: Sendable {
    /// `nil` for every client of the cluster.
    package let room: RoomName?
    /// The type of the application's event; never a reserved one.
    package let type: String
    /// Raw JSON, a slice of the message.
    package let payload: ByteBuffer
    /// Makes a repeated publication one.
    package let key: String?
    package let excludeSelf: Bool
}

/// A request to send to a user or client.
package struct SendRequest: Sendable {
    package enum Target: Sendable, Hashable {
        case user(UserID)
        case client(ClientID)
    }

    package let target: Target
    package let type: String
    package let payload: ByteBuffer
}

/// A request for the roster of a room.
package struct PresenceRequest: Sendable, Hashable {
    package let room: RoomName
    /// 1…1,000.
    package let limit: Int
    package let cursor: String?
}

/// A request for what an ordered room has kept.
package struct HistoryRequest: Sendable, Hashable {
    package let room: RoomName
    /// Messages after this place only.
    package let since: RecoveryPoint?
    /// 1…1,000.
    package let limit: Int
}

/// Keys of a `data` that may name a room.
private protocol RoomDataKey: JSONKey {
    static var room: Self { get }
}

/// The keys of what is said to rooms, users and clients.
private enum DataKey: UInt8, RoomDataKey {
    case room, type, payload, key, user, client, recover, presence, info, version, versionEpoch, excludeSelf

    var name: StaticString {
        switch self {
        case .room: "room"
        case .type: "type"
        case .payload: "payload"
        case .key: "key"
        case .user: "user"
        case .client: "client"
        case .recover: "recover"
        case .presence: "presence"
        case .info: "info"
        case .version: "version"
        case .versionEpoch: "version_epoch"
        case .excludeSelf: "exclude_self"
        }
    }

    static func named(_ bytes: Span<UInt8>) -> DataKey? {
        switch bytes.count {
        case 3: DataKey.key.ifNamed(bytes)
        case 4:
            DataKey.room.ifNamed(bytes) ?? DataKey.type.ifNamed(bytes) ?? DataKey.user.ifNamed(bytes)
                ?? DataKey.info.ifNamed(bytes)
        case 6: DataKey.client.ifNamed(bytes)
        case 7: DataKey.payload.ifNamed(bytes) ?? DataKey.recover.ifNamed(bytes) ?? DataKey.version.ifNamed(bytes)
        case 8: DataKey.presence.ifNamed(bytes)
        case 12: DataKey.excludeSelf.ifNamed(bytes)
        case 13: DataKey.versionEpoch.ifNamed(bytes)
        default: nil
        }
    }
}

/// The keys of questions about a room.
private enum QuestionKey: UInt8, RoomDataKey {
    case room, limit, cursor, since

    var name: StaticString {
        switch self {
        case .room: "room"
        case .limit: "limit"
        case .cursor: "cursor"
        case .since: "since"
        }
    }

    static func named(_ bytes: Span<UInt8>) -> QuestionKey? {
        QuestionKey.room.ifNamed(bytes) ?? QuestionKey.limit.ifNamed(bytes) ?? QuestionKey.cursor.ifNamed(bytes)
            ?? QuestionKey.since.ifNamed(bytes)
    }
}

private enum RecoverKey: UInt8, JSONKey {
    case epoch, offset

    var name: StaticString {
        switch self {
        case .epoch: "epoch"
        case .offset: "offset"
        }
    }

    static func named(_ bytes: Span<UInt8>) -> RecoverKey? {
        RecoverKey.epoch.ifNamed(bytes) ?? RecoverKey.offset.ifNamed(bytes)
    }
}

extension Command {
    /// Longest raw JSON of a member's `info`: it is kept in every node's roster.
    package static let maximumInfoBytes = 4096
    /// Longest idempotency key, cursor or epoch in bytes.
    package static let maximumKeyBytes = 255
    /// Most members in one `presence` answer, and how many when the request doesn't say.
    package static let maximumPresenceLimit = 1000
    package static let defaultPresenceLimit = 100
    /// Most messages in one `history` answer, and how many when the request doesn't say.
    package static let maximumHistoryLimit = 1000
    package static let defaultHistoryLimit = 100

    /// Reads the `data` of `join_room`.
    package func joinRoom() throws(RequestError) -> JoinRoomRequest {
        let bytes = message.readableBytesUInt8Span
        let fields: JSONFields<DataKey> = try tokens.dataFields(in: bytes, mayBeMissing: tokens.room != nil)
        var info: [UInt8] = []
        if let token = fields[.info], token.kind != .null {
            guard token.byteCount <= Self.maximumInfoBytes else {
                throw RequestError(.tooLarge, "data.info is over \(Self.maximumInfoBytes) bytes", limit: .infoBytes)
            }
            info = Array(buffer: message.slice(token.range))
        }
        return JoinRoomRequest(
            room: try tokens.requiredRoom(fields, bytes),
            recover: try tokens.recoveryPoint(fields[.recover], bytes, "data.recover"),
            presence: try fields.flag(.presence, in: bytes), info: info)
    }

    /// Reads the `data` of `leave_room`.
    package func leaveRoom() throws(RequestError) -> RoomName {
        let bytes = message.readableBytesUInt8Span
        let fields: JSONFields<DataKey> = try tokens.dataFields(in: bytes, mayBeMissing: tokens.room != nil)
        return try tokens.requiredRoom(fields, bytes)
    }

    /// Reads the `data` of `broadcast`.
    package func broadcast() throws(RequestError) -> BroadcastRequest {
        let bytes = message.readableBytesUInt8Span
        let parts = try tokens.broadcast(in: bytes)
        return BroadcastRequest(
            room: try parts.room(in: bytes), type: parts.type.text(in: bytes),
            payload: parts.payload.map { message.slice($0.range) } ?? ByteBuffer(string: "null"),
            key: parts.key.map { $0.text(in: bytes) }, excludeSelf: parts.excludeSelf)
    }

    /// Reads the `data` of `send`.
    package func send() throws(RequestError) -> SendRequest {
        let bytes = message.readableBytesUInt8Span
        let fields: JSONFields<DataKey> = try tokens.dataFields(in: bytes)
        let user = try fields.optionalString(.user, in: bytes)
        let client = try fields.optionalString(.client, in: bytes)
        let target: SendRequest.Target
        switch (user, client) {
        case (let name?, nil):
            guard let user = UserID(name) else { throw RequestError(.badRequest, "data.user is not a user id") }
            target = .user(user)
        case (nil, let name?):
            guard let client = ClientID(name) else { throw RequestError(.badRequest, "data.client is not a client id") }
            target = .client(client)
        default:
            throw RequestError(.badRequest, "data needs either user or client")
        }
        return SendRequest(
            target: target, type: try tokens.eventType(fields, bytes).text(in: bytes),
            payload: fields[.payload].map { message.slice($0.range) } ?? ByteBuffer(string: "null"))
    }

    /// Reads the `data` of `presence`.
    package func presence() throws(RequestError) -> PresenceRequest {
        let bytes = message.readableBytesUInt8Span
        let fields: JSONFields<QuestionKey> = try tokens.dataFields(in: bytes, mayBeMissing: tokens.room != nil)
        let limit = try fields.optionalNumber(.limit, in: bytes) ?? UInt64(Self.defaultPresenceLimit)
        guard (1...UInt64(Self.maximumPresenceLimit)).contains(limit) else {
            throw RequestError(.badRequest, "data.limit is not between 1 and \(Self.maximumPresenceLimit)")
        }
        return PresenceRequest(
            room: try tokens.requiredRoom(fields, bytes), limit: Int(limit),
            cursor: try tokens.shortText(.cursor, fields, bytes).map { $0.text(in: bytes) })
    }

    /// Reads the `data` of `history`.
    package func history() throws(RequestError) -> HistoryRequest {
        let bytes = message.readableBytesUInt8Span
        let fields: JSONFields<QuestionKey> = try tokens.dataFields(in: bytes, mayBeMissing: tokens.room != nil)
        let limit = try fields.optionalNumber(.limit, in: bytes) ?? UInt64(Self.defaultHistoryLimit)
        guard (1...UInt64(Self.maximumHistoryLimit)).contains(limit) else {
            throw RequestError(.badRequest, "data.limit is not between 1 and \(Self.maximumHistoryLimit)")
        }
        return HistoryRequest(
            room: try tokens.requiredRoom(fields, bytes),
            since: try tokens.recoveryPoint(fields[.since], bytes, "data.since"), limit: Int(limit))
    }
}

extension CommandTokens {
    /// Reads the `data` of `broadcast` in place.
    package func broadcast(in bytes: Span<UInt8>) throws(RequestError) -> BroadcastTokens {
        let fields: JSONFields<DataKey> = try dataFields(in: bytes)
        let type = try eventType(fields, bytes)
        return BroadcastTokens(
            room: try roomToken(fields), type: type, payload: fields[.payload], key: try shortText(.key, fields, bytes),
            versionEpoch: try shortText(.versionEpoch, fields, bytes),
            version: try fields.optionalNumber(.version, in: bytes),
            excludeSelf: try fields.flag(.excludeSelf, in: bytes))
    }

    // MARK: Pieces

    @inline(__always)
    fileprivate func dataFields<Key: RoomDataKey>(
        in bytes: Span<UInt8>, mayBeMissing: Bool = false
    ) throws(RequestError) -> JSONFields<Key> {
        var fields = JSONFields<Key>()
        if let data {
            do throws(JSONError) {
                try fields.readObject(data, in: bytes)
            } catch {
                throw RequestError(.badRequest, "data is not JSON: \(error.message) at byte \(error.offset)")
            }
        }
        let isNull = data.map { $0.kind == .null } ?? true
        guard fields.isObject || (mayBeMissing && isNull) else {
            throw RequestError(.badRequest, data == nil ? "data is missing" : "data is not an object")
        }
        if let twice = fields.duplicate { throw JSONFields<Key>.problem(twice, "data.", "stands twice") }
        return fields
    }

    /// The room in `data`; the envelope's own where `data` has none.
    @inline(__always)
    private func roomToken<Key: RoomDataKey>(_ fields: borrowing JSONFields<Key>) throws(RequestError) -> JSONToken? {
        try fields.optionalStringToken(.room) ?? room
    }

    fileprivate func requiredRoom<Key: RoomDataKey>(
        _ fields: borrowing JSONFields<Key>, _ bytes: Span<UInt8>
    ) throws(RequestError) -> RoomName {
        guard let token = try roomToken(fields) else {
            throw RequestError(.badRequest, "data.room is missing")
        }
        return try RoomName(checking: token.text(in: bytes))
    }

    fileprivate func eventType(
        _ fields: borrowing JSONFields<DataKey>, _ bytes: Span<UInt8>
    ) throws(RequestError) -> JSONToken {
        guard let token = try fields.optionalStringToken(.type) else {
            throw RequestError(.badRequest, "data.type is missing")
        }
        if token.isEscaped {
            try ReservedTypes.check(eventType: token.text(in: bytes))
        } else {
            try ReservedTypes.check(bytes.extracting(token.inner))
        }
        return token
    }

    @inline(__always)
    fileprivate func shortText<Key: RoomDataKey>(
        _ key: Key, _ fields: borrowing JSONFields<Key>, _ bytes: Span<UInt8>
    ) throws(RequestError) -> JSONToken? {
        guard let token = try fields.optionalStringToken(key) else { return nil }
        let length = token.isEscaped ? token.text(in: bytes).utf8.count : token.inner.count
        guard (1...Command.maximumKeyBytes).contains(length) else {
            throw RequestError(.badRequest, "data.\(key.name) is not 1 to \(Command.maximumKeyBytes) bytes")
        }
        return token
    }

    fileprivate func recoveryPoint(
        _ token: JSONToken?, _ bytes: Span<UInt8>, _ path: String
    ) throws(RequestError) -> RecoveryPoint? {
        guard let token, token.kind != .null else { return nil }
        var fields = JSONFields<RecoverKey>()
        do throws(JSONError) {
            try fields.readObject(token, in: bytes)
        } catch {
            throw RequestError(.badRequest, "\(path) is not JSON: \(error.message) at byte \(error.offset)")
        }
        guard fields.isObject, fields.duplicate == nil,
            let epoch = try fields.optionalString(.epoch, in: bytes, path: path + "."),
            let offset = try fields.optionalNumber(.offset, in: bytes, path: path + "."),
            epoch.utf8.count <= Command.maximumKeyBytes, offset <= 1 << 53
        else { throw RequestError(.badRequest, "\(path) is not {\"epoch\": string, \"offset\": number}") }
        return RecoveryPoint(epoch: epoch, offset: offset)
    }
}

extension RoomName {
    /// Accepts a well-formed name, or says what is wrong with it.
    package init(checking name: String) throws(RequestError) {
        guard let room = RoomName(name) else {
            throw name.utf8.count > 255
                ? RequestError(.limitExceeded, "the room's name is over 255 bytes", limit: .roomNameBytes)
                : RequestError(
                    .badRequest, name.isEmpty ? "the room's name is empty" : "control character in a room's name")
        }
        self = room
    }
}
