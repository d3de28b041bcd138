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

/// The keys of the built-in requests' `data`.
private enum DataKey: String, CaseIterable, Sendable {
    case room, type, payload, key, user, client, recover, presence, info, limit, cursor
    case excludeSelf = "exclude_self"
}

private enum RecoverKey: String, CaseIterable, Sendable {
    case epoch, offset
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
        let (fields, json) = try dataFields(mayBeMissing: room != nil)
        var info: [UInt8] = []
        if let token = fields[.info], token.kind != .null {
            guard token.range.count <= Self.maximumInfoBytes else {
                throw RequestError(.tooLarge, "data.info is over \(Self.maximumInfoBytes) bytes")
            }
            info = Array(buffer: json.slice(token.range))
        }
        return JoinRoomRequest(
            room: try requiredRoom(fields, json), recover: try recoveryPoint(fields[.recover], in: json),
            presence: try fields.flag(.presence, in: json), info: info)
    }

    /// Reads the `data` of `leave_room`.
    package func leaveRoom() throws(RequestError) -> RoomName {
        let (fields, json) = try dataFields(mayBeMissing: room != nil)
        return try requiredRoom(fields, json)
    }

    /// Reads the `data` of `broadcast`.
    package func broadcast() throws(RequestError) -> BroadcastRequest {
        let (fields, json) = try dataFields()
        return BroadcastRequest(
            room: try optionalRoom(fields, json), type: try eventType(fields, json), payload: payload(fields, json),
            key: try shortText(.key, fields, json), excludeSelf: try fields.flag(.excludeSelf, in: json))
    }

    /// Reads the `data` of `send`.
    package func send() throws(RequestError) -> SendRequest {
        let (fields, json) = try dataFields()
        let user = try fields.optionalString(.user, in: json)
        let client = try fields.optionalString(.client, in: json)
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
        return SendRequest(target: target, type: try eventType(fields, json), payload: payload(fields, json))
    }

    /// Reads the `data` of `presence`.
    package func presence() throws(RequestError) -> PresenceRequest {
        let (fields, json) = try dataFields(mayBeMissing: room != nil)
        let limit = try fields.optionalNumber(.limit, in: json) ?? UInt64(Self.defaultPresenceLimit)
        guard (1...UInt64(Self.maximumPresenceLimit)).contains(limit) else {
            throw RequestError(.badRequest, "data.limit is not between 1 and \(Self.maximumPresenceLimit)")
        }
        return PresenceRequest(
            room: try requiredRoom(fields, json), limit: Int(limit), cursor: try shortText(.cursor, fields, json))
    }

    // MARK: Pieces

    private func dataFields(
        mayBeMissing: Bool = false
    ) throws(RequestError) -> (JSONFields<DataKey>, ByteBuffer) {
        var fields = JSONFields<DataKey>()
        let json = dataJSON
        do throws(JSONError) {
            try fields.readDocument(json)
        } catch {
            throw RequestError(.badRequest, "data is not JSON: \(error.message) at byte \(error.offset)")
        }
        let isNull = data == nil || json.readableBytesUInt8Span.count == 4
        guard fields.isObject || (mayBeMissing && isNull) else {
            throw RequestError(.badRequest, data == nil ? "data is missing" : "data is not an object")
        }
        if let twice = fields.duplicate { throw JSONFields.problem(twice, "data.", "stands twice") }
        return (fields, json)
    }

    /// The room in `data`; the envelope's own where `data` has none.
    private func optionalRoom(_ fields: JSONFields<DataKey>, _ json: ByteBuffer) throws(RequestError) -> RoomName? {
        guard let name = try fields.optionalString(.room, in: json) ?? room else { return nil }
        return try RoomName(checking: name)
    }

    private func requiredRoom(_ fields: JSONFields<DataKey>, _ json: ByteBuffer) throws(RequestError) -> RoomName {
        guard let room = try optionalRoom(fields, json) else {
            throw RequestError(.badRequest, "data.room is missing")
        }
        return room
    }

    private func eventType(_ fields: JSONFields<DataKey>, _ json: ByteBuffer) throws(RequestError) -> String {
        guard let type = try fields.optionalString(.type, in: json) else {
            throw RequestError(.badRequest, "data.type is missing")
        }
        try ReservedTypes.check(eventType: type)
        return type
    }

    private func payload(_ fields: JSONFields<DataKey>, _ json: ByteBuffer) -> ByteBuffer {
        fields[.payload].map { json.slice($0.range) } ?? ByteBuffer(string: "null")
    }

    private func shortText(
        _ key: DataKey, _ fields: JSONFields<DataKey>, _ json: ByteBuffer
    ) throws(RequestError) -> String? {
        guard let text = try fields.optionalString(key, in: json) else { return nil }
        guard (1...Self.maximumKeyBytes).contains(text.utf8.count) else {
            throw RequestError(.badRequest, "data.\(key.rawValue) is not 1 to \(Self.maximumKeyBytes) bytes")
        }
        return text
    }

    private func recoveryPoint(_ token: JSONToken?, in json: ByteBuffer) throws(RequestError) -> RecoveryPoint? {
        guard let token, token.kind != .null else { return nil }
        var fields = JSONFields<RecoverKey>()
        let inner = json.slice(token.range)
        do throws(JSONError) {
            try fields.readDocument(inner)
        } catch {
            throw RequestError(.badRequest, "data.recover is not JSON: \(error.message) at byte \(error.offset)")
        }
        guard fields.isObject, fields.duplicate == nil,
            let epoch = try fields.optionalString(.epoch, in: inner, path: "data.recover."),
            let offset = try fields.optionalNumber(.offset, in: inner, path: "data.recover."),
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
