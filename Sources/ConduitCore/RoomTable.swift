/// Who is in which room on one shard, both ways, in dense arrays: a broadcast walks one array, a leave moves one entry.
///
/// A value without a clock. Clients are the shard's slots (small integers that are used again after ``removeClient(_:)``).
/// A room exists while it has a member or is kept (made by the application); it is forgotten with its last member otherwise.
public struct RoomTable: Sendable {
    /// One entry of a room's member array.
    public struct Entry: Sendable, Equatable {
        /// The member's slot.
        public let client: Int32
        /// Where this room stands in the member's own list.
        fileprivate var position: Int32
        /// Whether the member asked for presence and room states.
        public fileprivate(set) var observes: Bool
    }

    /// What joining did.
    public enum JoinResult: Sendable, Equatable {
        /// A new membership.
        case joined
        /// It was a member before; the wish to observe was updated.
        case alreadyMember
        /// The client is in as many rooms as it may be.
        case tooManyRooms
        /// The room has as many members as it may have.
        case roomFull
    }

    private struct Room {
        let name: RoomName
        var policy: RoomPolicy
        let createdAt: Int64
        var members: ContiguousArray<Entry> = []
        var observers = 0
        var kept: Bool
    }

    /// One entry of a client's list: which room, and where the client stands in its member array.
    private struct Membership {
        let room: Int32
        var position: Int32
    }

    private var roomsPerClient: Int
    private var membersPerRoom: Int
    private var policies: RoomPolicies
    private var index: [RoomName: Int32] = [:]
    private var rooms: ContiguousArray<Room?> = []
    private var freeRooms: ContiguousArray<Int32> = []
    private var clients: ContiguousArray<ContiguousArray<Membership>> = []

    /// Memberships, over all rooms.
    public private(set) var membershipCount = 0
    /// How much is said in the rooms.
    public private(set) var traffic: RoomTraffic
    /// Rises with each room that begins or ends.
    public private(set) var changes: UInt64 = 0

    /// An empty table with its bounds and what holds for its rooms.
    public init(roomsPerClient: Int, membersPerRoom: Int, policies: RoomPolicies = RoomPolicies()) {
        self.roomsPerClient = roomsPerClient
        self.membersPerRoom = membersPerRoom
        self.policies = policies
        self.traffic = RoomTraffic(RoomNamespaces(policies))
    }

    /// Other bounds and policies from now on, for rooms that exist too. Nobody has to leave a room for them.
    public mutating func reload(roomsPerClient: Int, membersPerRoom: Int, policies: RoomPolicies) {
        self.roomsPerClient = roomsPerClient
        self.membersPerRoom = membersPerRoom
        guard policies != self.policies else { return }
        self.policies = policies
        for (name, number) in index { rooms[Int(number)]?.policy = policies[name] }
    }

    /// Rooms that exist.
    public var roomCount: Int { index.count }

    /// The names of all rooms, in no order.
    public var roomNames: some Collection<RoomName> { index.keys }

    // MARK: Membership

    /// Puts a client into a room, which begins to exist when it didn't.
    public mutating func join(_ room: RoomName, client: Int32, observes: Bool, now: Int64) -> JoinResult {
        growClients(to: client)
        let id = index[room]
        if let id, let entry = membership(of: client, in: id) {
            update(id, at: entry, observes: observes)
            return .alreadyMember
        }
        if clients[Int(client)].count >= roomsPerClient { return .tooManyRooms }
        if let id, let room = rooms[Int(id)] {
            let most = room.policy.members > 0 ? min(room.policy.members, membersPerRoom) : membersPerRoom
            if room.members.count >= most { return .roomFull }
        }
        let target = id ?? insert(room, now: now, kept: false)
        let memberPosition = Int32(rooms[Int(target)]?.members.count ?? 0)
        let entry = Entry(client: client, position: Int32(clients[Int(client)].count), observes: observes)
        rooms[Int(target)]?.members.append(entry)
        if observes { rooms[Int(target)]?.observers += 1 }
        clients[Int(client)].append(Membership(room: target, position: memberPosition))
        membershipCount += 1
        traffic.joined(target)
        return .joined
    }

    /// Takes a client out of a room; `false` when it was not in.
    public mutating func leave(_ room: RoomName, client: Int32) -> Bool {
        guard let id = index[room], Int(client) < clients.count,
            let position = clients[Int(client)].firstIndex(where: { $0.room == id })
        else { return false }
        remove(client: client, at: position)
        return true
    }

    /// Takes a client out of all its rooms and returns them, first joined first.
    public mutating func removeClient(_ client: Int32) -> [RoomName] {
        let left = roomNames(of: client)
        guard !left.isEmpty else { return [] }
        while let last = clients[Int(client)].indices.last { remove(client: client, at: last) }
        clients[Int(client)] = []
        return left
    }

    /// Whether a client is in a room.
    public func contains(_ client: Int32, in room: RoomName) -> Bool {
        guard let id = index[room] else { return false }
        return membership(of: client, in: id) != nil
    }

    /// The rooms of a client, in no particular order.
    public func roomNames(of client: Int32) -> [RoomName] {
        guard Int(client) < clients.count else { return [] }
        return clients[Int(client)].compactMap { rooms[Int($0.room)]?.name }
    }

    /// The members of a room, to be walked without changing the table.
    public func members(of room: RoomName) -> ContiguousArray<Entry> {
        guard let id = index[room] else { return [] }
        return rooms[Int(id)]?.members ?? []
    }

    // MARK: By number

    /// Every room has a number below this.
    public var numberLimit: Int { rooms.count }

    /// A room's number in this table: small, good while the room exists, and another room's afterwards.
    public func number(of room: RoomName) -> Int32? { index[room] }

    /// The members of the room with a number; empty when there is none.
    public func members(at number: Int32) -> ContiguousArray<Entry> {
        guard rooms.indices.contains(Int(number)) else { return [] }
        return rooms[Int(number)]?.members ?? []
    }

    /// The name of the room with a number, if that exists.
    public func name(at number: Int32) -> RoomName? {
        guard rooms.indices.contains(Int(number)) else { return nil }
        return rooms[Int(number)]?.name
    }

    /// What holds for the room with a number; `nil` when there is none.
    public func policy(at number: Int32) -> RoomPolicy? {
        guard rooms.indices.contains(Int(number)) else { return nil }
        return rooms[Int(number)]?.policy
    }

    /// Whether the room with a number exists and its name is written with these bytes.
    public func isNamed(_ number: Int32, _ bytes: Span<UInt8>) -> Bool {
        guard rooms.indices.contains(Int(number)), let name = rooms[Int(number)]?.name.rawValue else { return false }
        let own = name.utf8.span
        guard own.count == bytes.count else { return false }
        for index in own.indices where own[index] != bytes[index] { return false }
        return true
    }

    /// Whether a client is in the room with a number.
    public func contains(_ client: Int32, at number: Int32) -> Bool { membership(of: client, in: number) != nil }

    /// Whether a client is in a room and asked for presence and room states there.
    public func observes(_ client: Int32, in room: RoomName) -> Bool {
        guard let id = index[room], let position = membership(of: client, in: id) else { return false }
        return rooms[Int(id)]?.members[position].observes ?? false
    }

    /// The numbers of a client's rooms, in no particular order.
    public func numbers(of client: Int32) -> [Int32] {
        guard Int(client) < clients.count else { return [] }
        return clients[Int(client)].map(\.room)
    }

    /// Whether anybody in the room asked for presence and room states.
    public func hasObservers(_ room: RoomName) -> Bool {
        guard let id = index[room] else { return false }
        return (rooms[Int(id)]?.observers ?? 0) > 0
    }

    // MARK: Rooms

    /// Whether the room exists.
    public func exists(_ room: RoomName) -> Bool { index[room] != nil }

    /// When the room began to exist here, in the caller's milliseconds.
    public func createdAt(_ room: RoomName) -> Int64? { index[room].flatMap { rooms[Int($0)]?.createdAt } }

    /// Makes a room exist until it is deleted or cleaned up, members or not.
    public mutating func keep(_ room: RoomName, now: Int64) {
        if let id = index[room] { rooms[Int(id)]?.kept = true } else { _ = insert(room, now: now, kept: true) }
    }

    /// Ends a room. Its members are returned and are no longer in.
    public mutating func delete(_ room: RoomName) -> [Int32] {
        guard let id = index[room] else { return [] }
        rooms[Int(id)]?.kept = true  // so that the last leave doesn't free it twice
        var out: [Int32] = []
        while let member = rooms[Int(id)]?.members.last {
            out.append(member.client)
            remove(client: member.client, at: Int(member.position))
        }
        free(id)
        return out
    }

    /// Ends every kept room that has no member and returns how many those were.
    public mutating func removeEmptyRooms() -> Int {
        var removed = 0
        for id in index.values where rooms[Int(id)]?.members.isEmpty == true {
            free(id)
            removed += 1
        }
        return removed
    }

    // MARK: Messages

    /// Counts a message that was published to the room with a number: one addition.
    @inline(__always)
    public mutating func countPublished(at number: Int32) { traffic.published(at: number) }

    /// Counts a message that was published to a room that doesn't exist here.
    public mutating func countPublished(to room: RoomName) { traffic.published(to: room) }

    /// Counts a message that was handed to so many members of the room with a number: one addition for all of them.
    @inline(__always)
    public mutating func countDelivered(_ members: Int, at number: Int32) { traffic.delivered(members, at: number) }

    /// Begins a new window of counting and returns the rooms that were published to most in the last one, busiest first.
    public mutating func endTrafficWindow(limit: Int) -> [(room: RoomName, messages: UInt64)] {
        traffic.endWindow(limit: limit) { [rooms] number in rooms[Int(number)]?.name }
    }

    // MARK: Parts

    private func membership(of client: Int32, in room: Int32) -> Int? {
        guard Int(client) < clients.count else { return nil }
        // A client is in few rooms; the list is one cache line or two.
        return clients[Int(client)].first(where: { $0.room == room }).map { Int($0.position) }
    }

    private mutating func update(_ room: Int32, at position: Int, observes: Bool) {
        guard let was = rooms[Int(room)]?.members[position].observes, was != observes else { return }
        rooms[Int(room)]?.members[position].observes = observes
        rooms[Int(room)]?.observers += observes ? 1 : -1
    }

    private mutating func remove(client: Int32, at position: Int) {
        let gone = clients[Int(client)][position]
        // The last membership takes the place of the one that goes, in both arrays.
        let lastOwn = clients[Int(client)].count - 1
        if position != lastOwn {
            let moved = clients[Int(client)][lastOwn]
            clients[Int(client)][position] = moved
            rooms[Int(moved.room)]?.members[Int(moved.position)].position = Int32(position)
        }
        clients[Int(client)].removeLast()

        let hole = Int(gone.position)
        guard var room = rooms[Int(gone.room)].take() else { return }
        if room.members[hole].observes { room.observers -= 1 }
        let lastMember = room.members.count - 1
        if hole != lastMember {
            let moved = room.members[lastMember]
            room.members[hole] = moved
            clients[Int(moved.client)][Int(moved.position)].position = Int32(hole)
        }
        room.members.removeLast()
        let isOver = room.members.isEmpty && !room.kept
        rooms[Int(gone.room)] = room
        membershipCount -= 1
        traffic.left(gone.room)
        if isOver { free(gone.room) }
    }

    private mutating func insert(_ room: RoomName, now: Int64, kept: Bool) -> Int32 {
        let made = Room(name: room, policy: policies[room], createdAt: now, kept: kept)
        let id: Int32
        if let free = freeRooms.popLast() {
            id = free
            rooms[Int(id)] = made
        } else {
            id = Int32(rooms.count)
            rooms.append(made)
        }
        index[room] = id
        changes &+= 1
        traffic.began(room, at: id)
        return id
    }

    private mutating func free(_ id: Int32) {
        guard let name = rooms[Int(id)]?.name else { return }
        traffic.ended(id)
        changes &+= 1
        index[name] = nil
        rooms[Int(id)] = nil
        freeRooms.append(id)
    }

    private mutating func growClients(to client: Int32) {
        while clients.count <= Int(client) { clients.append([]) }
    }
}
