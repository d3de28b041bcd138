public import ConduitCore

/// The rooms of one node, as an application manages them. Members of a room may live on several shards and nodes;
/// what is counted here are this node's.
public struct RoomManager: Sendable {
    let shards: [ShardRef]
    let hub: Hub

    /// Makes a room exist, with or without members, until it is deleted or cleaned up.
    public func getOrCreate(_ room: RoomName) async -> RoomStatistics {
        await home(of: room).query { $0.keepRoom(room) }
        return await statistics(of: room) ?? RoomStatistics(room: room, members: 0, createdAt: 0)
    }

    /// A room's figures; `nil` when it doesn't exist on this node.
    public func get(_ room: RoomName) async -> RoomStatistics? { await statistics(of: room) }

    /// Ends a room on this node: its members here are out of it and are told `room_left`. `false` when there is none.
    @discardableResult
    public func delete(_ room: RoomName) async -> Bool {
        var existed = false
        for shard in shards where await shard.query({ $0.deleteRoom(room) }) == true { existed = true }
        return existed
    }

    /// The names of all rooms on this node, sorted.
    public func list() async -> [RoomName] {
        var names: Set<RoomName> = []
        for shard in shards { names.formUnion(await shard.query { Array($0.rooms.roomNames) } ?? []) }
        return names.sorted { $0.rawValue < $1.rawValue }
    }

    /// How many rooms exist on this node.
    public func count() async -> Int { await list().count }

    /// Ends every room that has no member and returns how many those were.
    @discardableResult
    public func cleanupEmpty() async -> Int {
        var removed = 0
        for shard in shards { removed += await shard.query { $0.rooms.removeEmptyRooms() } ?? 0 }
        return removed
    }

    /// Figures of every room on this node, largest first.
    public func statistics() async -> [RoomStatistics] {
        var all: [RoomName: RoomStatistics] = [:]
        for shard in shards {
            for part in await shard.query({ $0.roomStatistics() }) ?? [] {
                all[part.room, default: RoomStatistics(room: part.room, members: 0, createdAt: part.createdAt)]
                    .merge(part)
            }
        }
        return all.values.sorted { ($1.members, $0.room.rawValue) < ($0.members, $1.room.rawValue) }
    }

    /// Sends an event to every member of a room, on every node.
    ///
    /// - Throws: ``RequestError`` with `reserved_type` or `bad_request` for a type that can't be sent.
    public func broadcast(
        _ type: String, _ data: RawJSON = .null, to room: RoomName, except excluded: ClientID? = nil
    ) throws(RequestError) {
        try hub.broadcast(type, data, to: room, except: excluded)
    }

    private func statistics(of room: RoomName) async -> RoomStatistics? {
        var sum: RoomStatistics?
        for shard in shards {
            guard case .some(.some(let part)) = await shard.query({ $0.statistics(of: room) }) else { continue }
            if sum == nil { sum = part } else { sum?.merge(part) }
        }
        return sum
    }

    /// Rooms without members live on one shard, so that they count once.
    private func home(of room: RoomName) -> ShardRef {
        var hash = 5381
        for byte in room.rawValue.utf8 { hash = (hash &* 33 &+ Int(byte)) & 0xFFFF_FFFF }
        return shards[hash % shards.count]
    }
}

/// One room's figures on one node.
public struct RoomStatistics: Sendable, Hashable {
    /// The room.
    public let room: RoomName
    /// Members on this node.
    public private(set) var members: Int
    /// When it began to exist on this node, in milliseconds since 1970.
    public private(set) var createdAt: Int64

    init(room: RoomName, members: Int, createdAt: Int64) {
        self.room = room
        self.members = members
        self.createdAt = createdAt
    }

    fileprivate mutating func merge(_ other: RoomStatistics) {
        members += other.members
        createdAt = min(createdAt, other.createdAt)
    }
}
