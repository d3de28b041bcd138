import ConduitCore
import Synchronization

/// How many different rooms and users a node has, though several shards may have the same.
///
/// With one shard that is what it says. With several their names are compared, but only when rooms or users have come or
/// gone since the last time: a heartbeat of a calm node costs no look at any name. Where there are many names, they are
/// compared at most every few seconds, by one at a time: who asks meanwhile gets what was found last.
final class NameCount: Sendable {
    struct Counts: Sendable {
        var rooms = 0
        var users = 0
        /// Left empty where what the shards say is right already.
        var roomsByNamespace: [String: Int] = [:]
    }

    private struct Memory {
        var changes: [UInt64] = []
        var counts = Counts()
        /// When the last comparison began.
        var beganAt: ContinuousClock.Instant?
        var isCounting = false
    }

    /// From so many names on a comparison isn't made for everybody who asks.
    private static let many = 10_000
    private static let pause = Duration.seconds(5)
    /// Rooms and clients that one look at a shard goes through.
    private static let slice = 1_000

    private let memory = Mutex(Memory())

    func count(_ parts: [Shard.Snapshot], of shards: [ShardRef], namespaces policies: RoomPolicies) async -> Counts {
        if shards.count == 1, let part = parts.first { return Counts(rooms: part.rooms, users: part.users) }
        let changes = parts.map(\.changes)
        let isLarge = parts.reduce(0) { $0 + $1.rooms + $1.users } >= Self.many
        let known: Counts? = memory.withLock { memory in
            if memory.changes == changes { return memory.counts }
            if isLarge, let beganAt = memory.beganAt, !memory.changes.isEmpty,
                memory.isCounting || beganAt.duration(to: .now) < Self.pause
            {
                return memory.counts
            }
            memory.beganAt = .now
            memory.isCounting = true
            return nil
        }
        if let known { return known }
        var rooms: Set<RoomName> = []
        var users: Set<UserID> = []
        for shard in shards {
            var next: Int? = 0
            while let start = next {
                let part = await shard.query { $0.names(from: start, slice: Self.slice) }
                rooms.formUnion(part?.rooms ?? [])
                users.formUnion(part?.users ?? [])
                next = part?.next
            }
        }
        var counts = Counts(rooms: rooms.count, users: users.count)
        let namespaces = RoomNamespaces(policies)
        var sums = Array(repeating: 0, count: namespaces.names.count)
        for room in rooms { sums[namespaces.number(of: room)] += 1 }
        for (name, sum) in zip(namespaces.names, sums) { counts.roomsByNamespace[name] = sum }
        memory.withLock { memory in
            // What came between the two questions is counted already, and looked at again next time.
            memory.isCounting = false
            memory.changes = changes
            memory.counts = counts
        }
        return counts
    }
}

extension Shard {
    /// The names of rooms with these numbers, and of the users of clients in these slots.
    fileprivate func names(from start: Int, slice: Int) -> (rooms: [RoomName], users: [UserID], next: Int?) {
        let end = start + slice
        var (names, ids): ([RoomName], [UserID]) = ([], [])
        for number in start..<end {
            if let name = rooms.name(at: Int32(clamping: number)) { names.append(name) }
            if let user = clients[Int32(clamping: number)]?.identity.user, users[user] != nil { ids.append(user) }
        }
        return (names, ids, end < max(rooms.numberLimit, clients.slotCount) ? end : nil)
    }
}
