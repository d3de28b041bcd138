package import ConduitCore
import ConduitHub

/// On which of several independent Redis servers a room or a user lives: by jump consistent hash of the name, so all
/// nodes agree, and one server more takes no more than its share from the others.
///
/// The hash is FNV-1a over the name's UTF-8, then MurmurHash3's 64-bit finaliser. Both are part of the contract in
/// Docs/redis.md: all nodes of a cluster have the same list of servers, in the same order.
package struct ServerChoice: Sendable, Hashable {
    /// How many servers there are, at least one.
    package let count: Int

    package init(count: Int) { self.count = max(1, count) }

    /// Where everything lives that belongs to no room and no user.
    package static let common = 0

    /// The server of a room.
    package func index(of room: RoomName) -> Int { index(ofName: room.rawValue) }

    /// The server of a user.
    package func index(of user: UserID) -> Int { index(ofName: user.rawValue) }

    private func index(ofName name: String) -> Int {
        count == 1 ? 0 : Self.jump(Self.hash(name), buckets: count)
    }

    static func hash(_ name: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        hash = (hash ^ (hash >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ (hash >> 33)) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ (hash >> 33)
    }

    /// Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm".
    static func jump(_ hash: UInt64, buckets: Int) -> Int {
        var key = hash
        var bucket = -1
        var next = 0
        while next < buckets {
            bucket = next
            key = key &* 2_862_933_555_777_941_757 &+ 1
            // Never above 2^31 times the bucket: no double is out of range.
            let jumped = Double(bucket + 1) * (Double(1 << 31) / Double((key >> 33) + 1))
            next = jumped < Double(buckets) ? Int(jumped) : buckets
        }
        return bucket
    }

    /// The server that an event of a shard concerns.
    func index(of event: HubEvent) -> Int {
        switch event {
        case .traced(_, let event): index(of: event)
        case .connected(_, let user), .disconnected(_, let user, _): user.map { index(of: $0) } ?? Self.common
        case .joined(let room, _), .left(let room, _, _), .sentAway(let room, _), .broadcast(let room, _),
            .admitted(let room, _), .joinAbandoned(let room):
            index(of: room)
        case .publishOrdered(let publish): index(of: publish.room)
        case .joinOrdered(let join): index(of: join.room)
        case .historyQuery(let query): index(of: query.room)
        case .send(.user(let user), _, _): index(of: user)
        case .presenceQuery(let query): index(of: query.room)
        // Counted deliveries are the same book for all.
        case .send(.client, _, _), .delivered, .broadcastAll: Self.common
        }
    }

    /// A batch by servers; what goes to one of them keeps its order.
    func split(_ events: [HubEvent]) -> [[HubEvent]] {
        var parts = Array(repeating: [HubEvent](), count: count)
        for event in events { parts[index(of: event)].append(event) }
        return parts
    }
}
