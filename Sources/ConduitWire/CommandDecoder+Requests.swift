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
package struct BroadcastRequest: Sendable {
    let message: ByteBuffer
    let roomToken: JSONToken?
    let typeToken: JSONToken
    let payloadToken: JSONToken?
    /// Makes a repeated publication one.
    package let key: String?
    package let excludeSelf: Bool

    /// Whether it is for a room; else for every client of the cluster.
    package var isForRoom: Bool { roomToken != nil }

    /// The room's name; `nil` for every client of the cluster.
    ///
    /// - Throws: ``RequestError`` for what can't be a room's name.
    package func room() throws(RequestError) -> RoomName? {
        guard let roomToken else { return nil }
        return try RoomName(checking: message.text(of: roomToken))
    }

    /// Whether `test` accepts the bytes of the room's name; `false` where they stand escaped.
    package func roomIs(_ test: (Span<UInt8>) -> Bool) -> Bool {
        guard let roomToken, !roomToken.isEscaped else { return false }
        return test(message.readableBytesUInt8Span.extracting(roomToken.inner))
    }

    /// The type of the application's event; never a reserved one.
    package var type: String { message.text(of: typeToken) }
    /// Raw JSON, a slice of the message.
    package var payload: ByteBuffer { payloadToken.map { message.slice($0.range) } ?? ByteBuffer(string: "null") }
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

/// The keys of the built-in requests' `data`.
private enum DataKey: UInt8, JSONKey {
    case room, type, payload, key, user, client, recover, presence, info, limit, cursor, excludeSelf

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
        case .limit: "limit"
        case .cursor: "cursor"
        case .excludeSelf: "exclude_self"
        }
    }

    static func named(_ bytes: Span<UInt8>) -> DataKey? {
        switch bytes.count {
        case 3: DataKey.key.ifNamed(bytes)
        case 4:
            DataKey.room.ifNamed(bytes) ?? DataKey.type.ifNamed(bytes) ?? DataKey.user.ifNamed(bytes)
                ?? DataKey.info.ifNamed(bytes)
        case 5: DataKey.limit.ifNamed(bytes)
        case 6: DataKey.client.ifNamed(bytes) ?? DataKey.cursor.ifNamed(bytes)
        case 7: DataKey.payload.ifNamed(bytes) ?? DataKey.recover.ifNamed(bytes)
        case 8: DataKey.presence.ifNamed(bytes)
        case 12: DataKey.excludeSelf.ifNamed(bytes)
        default: nil
        }
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

    /// Reads the `data` of `join_room`.
    package func joinRoom() throws(RequestError) -> JoinRoomRequest {
        let fields = try dataFields(mayBeMissing: roomToken != nil)
        var info: [UInt8] = []
        if let token = fields[.info], token.kind != .null {
            guard token.byteCount <= Self.maximumInfoBytes else {
                throw RequestError(.tooLarge, "data.info is over \(Self.maximumInfoBytes) bytes")
            }
            info = Array(buffer: message.slice(token.range))
        }
        return JoinRoomRequest(
            room: try requiredRoom(fields), recover: try recoveryPoint(fields[.recover]),
            presence: try fields.flag(.presence, in: message), info: info)
    }

    /// Reads the `data` of `leave_room`.
    package func leaveRoom() throws(RequestError) -> RoomName {
        let fields = try dataFields(mayBeMissing: roomToken != nil)
        return try requiredRoom(fields)
    }

    /// Reads the `data` of `broadcast`.
    package func broadcast() throws(RequestError) -> BroadcastRequest {
        let fields = try dataFields()
        let type = try eventType(fields)
        return BroadcastRequest(
            message: message, roomToken: try roomToken(fields), typeToken: type, payloadToken: fields[.payload],
            key: try shortText(.key, fields), excludeSelf: try fields.flag(.excludeSelf, in: message))
    }

    /// Reads the `data` of `send`.
    package func send() throws(RequestError) -> SendRequest {
        let fields = try dataFields()
        let user = try fields.optionalString(.user, in: message)
        let client = try fields.optionalString(.client, in: message)
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
        return SendRequest(target: target, type: message.text(of: try eventType(fields)), payload: payload(fields))
    }

    /// Reads the `data` of `presence`.
    package func presence() throws(RequestError) -> PresenceRequest {
        let fields = try dataFields(mayBeMissing: roomToken != nil)
        let limit = try fields.optionalNumber(.limit, in: message) ?? UInt64(Self.defaultPresenceLimit)
        guard (1...UInt64(Self.maximumPresenceLimit)).contains(limit) else {
            throw RequestError(.badRequest, "data.limit is not between 1 and \(Self.maximumPresenceLimit)")
        }
        return PresenceRequest(
            room: try requiredRoom(fields), limit: Int(limit), cursor: try shortText(.cursor, fields))
    }

    // MARK: Pieces

    private func dataFields(mayBeMissing: Bool = false) throws(RequestError) -> JSONFields<DataKey> {
        var fields = JSONFields<DataKey>()
        if let dataToken {
            do throws(JSONError) {
                try fields.readObject(dataToken, in: message)
            } catch {
                throw RequestError(.badRequest, "data is not JSON: \(error.message) at byte \(error.offset)")
            }
        }
        let isNull = dataToken.map { $0.kind == .null } ?? true
        guard fields.isObject || (mayBeMissing && isNull) else {
            throw RequestError(.badRequest, dataToken == nil ? "data is missing" : "data is not an object")
        }
        if let twice = fields.duplicate { throw JSONFields.problem(twice, "data.", "stands twice") }
        return fields
    }

    /// The room in `data`; the envelope's own where `data` has none.
    private func roomToken(_ fields: JSONFields<DataKey>) throws(RequestError) -> JSONToken? {
        try fields.optionalStringToken(.room) ?? roomToken
    }

    private func requiredRoom(_ fields: JSONFields<DataKey>) throws(RequestError) -> RoomName {
        guard let token = try roomToken(fields) else {
            throw RequestError(.badRequest, "data.room is missing")
        }
        return try RoomName(checking: message.text(of: token))
    }

    private func eventType(_ fields: JSONFields<DataKey>) throws(RequestError) -> JSONToken {
        guard let token = try fields.optionalStringToken(.type) else {
            throw RequestError(.badRequest, "data.type is missing")
        }
        if token.isEscaped {
            try ReservedTypes.check(eventType: message.text(of: token))
        } else {
            try ReservedTypes.check(message.readableBytesUInt8Span.extracting(token.inner))
        }
        return token
    }

    private func payload(_ fields: JSONFields<DataKey>) -> ByteBuffer {
        fields[.payload].map { message.slice($0.range) } ?? ByteBuffer(string: "null")
    }

    private func shortText(_ key: DataKey, _ fields: JSONFields<DataKey>) throws(RequestError) -> String? {
        guard let text = try fields.optionalString(key, in: message) else { return nil }
        guard (1...Self.maximumKeyBytes).contains(text.utf8.count) else {
            throw RequestError(.badRequest, "data.\(key.name) is not 1 to \(Self.maximumKeyBytes) bytes")
        }
        return text
    }

    private func recoveryPoint(_ token: JSONToken?) throws(RequestError) -> RecoveryPoint? {
        guard let token, token.kind != .null else { return nil }
        var fields = JSONFields<RecoverKey>()
        do throws(JSONError) {
            try fields.readObject(token, in: message)
        } catch {
            throw RequestError(.badRequest, "data.recover is not JSON: \(error.message) at byte \(error.offset)")
        }
        guard fields.isObject, fields.duplicate == nil,
            let epoch = try fields.optionalString(.epoch, in: message, path: "data.recover."),
            let offset = try fields.optionalNumber(.offset, in: message, path: "data.recover."),
            epoch.utf8.count <= Self.maximumKeyBytes
        else { throw RequestError(.badRequest, "data.recover is not {\"epoch\": string, \"offset\": number}") }
        return RecoveryPoint(epoch: epoch, offset: offset)
    }
}

extension RoomName {
    /// Accepts a well-formed name, or says what is wrong with it.
    package init(checking name: String) throws(RequestError) {
        guard let room = RoomName(name) else {
            throw name.utf8.count > 255
                ? RequestError(.limitExceeded, "the room's name is over 255 bytes")
                : RequestError(
                    .badRequest, name.isEmpty ? "the room's name is empty" : "control character in a room's name")
        }
        self = room
    }
}
