public import ConduitCore
import ConduitWire

/// The Sendable door to one client. Everything is done on its shard's loop; nothing happens once the client is gone.
public struct ClientHandle: Sendable {
    /// The connection.
    public let id: ClientID
    /// Who it is; `nil` for anonymous clients.
    public let user: UserID?
    let shard: ShardRef

    /// Sends an event to this client alone. The type is the application's choice: even one of the protocol's own.
    public func send(_ type: String, _ data: RawJSON = .null) {
        shard.execute { $0.sendEvent(type, data, to: id) }
    }

    /// Puts the client into a room, as if it had asked. In an ordered room it is a member, and told so, once the room's
    /// log was looked at.
    ///
    /// - Throws: ``RequestError`` with `limit_exceeded` when a limit is reached, `unavailable` when the client is gone.
    public func join(_ room: RoomName) async throws {
        let result = await shard.query { shard in shard.joinRoom(room, client: id) }
        switch result ?? nil {
        case .joined, .alreadyMember: return
        case .tooManyRooms:
            throw RequestError(.limitExceeded, "the client is in as many rooms as it may be", limit: .roomsPerClient)
        case .roomFull: throw RequestError(.limitExceeded, "the room is full", limit: .membersPerRoom)
        case nil: throw RequestError(.unavailable, "the client is gone")
        }
    }

    /// Takes the client out of a room; `false` when it was not in.
    public func leave(_ room: RoomName) async -> Bool {
        await shard.query { $0.leaveRoom(room, client: id) } ?? false
    }

    /// The rooms that it is in, sorted by name.
    public func rooms() async -> [RoomName] {
        let names = await shard.query { $0.roomNames(of: id) } ?? []
        return names.sorted { $0.rawValue < $1.rawValue }
    }

    /// A value of its metadata.
    public func metadata(_ key: String) async -> String? {
        await shard.query { $0.client(id)?.metadata?[key] } ?? nil
    }

    /// Sets a value of its metadata, or removes it with `nil`; `false` when the client is gone or has as many as it may.
    public func setMetadata(_ key: String, to value: String?) async -> Bool {
        await shard.query { $0.setMetadata(key, to: value, client: id) } ?? false
    }

    /// What the hub knows of the client now; `nil` when it is gone.
    public func info() async -> ClientInfo? {
        await shard.query { $0.info(of: id) } ?? nil
    }

    /// Who it is now: another one after `refresh`, of the same user. `nil` when it is gone.
    public func identity() async -> Identity? {
        await shard.query { $0.client(id)?.identity } ?? nil
    }

    /// Whether the connection is open.
    public func isConnected() async -> Bool { await shard.query { $0.client(id) != nil } ?? false }

    /// Ends the connection.
    public func disconnect(_ reason: CloseReason = .closed) {
        shard.execute { $0.disconnect(id, reason) }
    }
}

/// What the hub knows of a client at one moment.
public struct ClientInfo: Sendable {
    /// The connection.
    public let id: ClientID
    /// Who it is.
    public let user: UserID?
    /// When it connected, in milliseconds since 1970.
    public let connectedAt: Int64
    /// How long it has been connected, in milliseconds.
    public let connectionDuration: Int64
    /// When anything was last read from it, in milliseconds since 1970.
    public let lastHeartbeat: Int64
    /// The rooms that it is in.
    public let rooms: [RoomName]
    /// Its metadata.
    public let metadata: [String: String]
    /// Bytes that wait for it because its socket takes nothing.
    public let pendingBytes: Int
}
