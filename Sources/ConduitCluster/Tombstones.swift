import ConduitCore

/// Members of this node who left and whose removal from Redis isn't confirmed.
///
/// Each has a number: who leaves, comes back and leaves again is gone when the second removal is confirmed, not the
/// first.
struct Tombstones {
    /// One of them.
    struct Stone {
        let reason: LeaveReason
        let number: UInt64
    }

    private(set) var rooms: [RoomName: [ClientID: Stone]] = [:]
    private var newest: UInt64 = 0

    /// A member left.
    mutating func add(_ client: ClientID, to room: RoomName, _ reason: LeaveReason) {
        newest += 1
        rooms[room, default: [:]][client] = Stone(reason: reason, number: newest)
    }

    /// It is back.
    mutating func remove(_ client: ClientID, from room: RoomName) {
        rooms[room]?[client] = nil
        if rooms[room]?.isEmpty == true { rooms[room] = nil }
    }

    /// The stones that a removal of these clients, sent now, will settle.
    func numbers(of clients: [ClientID], in room: RoomName) -> [(client: ClientID, number: UInt64)] {
        guard let stones = rooms[room] else { return [] }
        return clients.compactMap { client in stones[client].map { (client, $0.number) } }
    }

    /// A removal is confirmed. Members who have left once more since it was sent stay.
    mutating func settle(_ numbers: [(client: ClientID, number: UInt64)], in room: RoomName) {
        for (client, number) in numbers where rooms[room]?[client]?.number == number { remove(client, from: room) }
    }
}
