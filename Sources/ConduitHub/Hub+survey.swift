package import ConduitCore
package import ConduitWire
import NIOCore

/// What operators ask: every answer is collected in slices, so that no loop is held up by a long list. What takes time and
/// needs no loop, such as the search in names, is done on none.
extension Hub {
    /// Rooms or clients that one look at a shard goes through: a tenth of a millisecond of its loop, about.
    private static let slice = 1_000

    /// Answers a question for this node.
    ///
    /// - Parameters:
    ///   - maximumBytes: of the answer.
    ///   - totals: members on all nodes of some rooms, as far as this node knows.
    package func answer(
        _ question: SurveyQuestion, maximumBytes: Int, totals: @Sendable ([RoomName]) async -> [Int]
    ) async -> SurveyFindings {
        switch question {
        case .rooms(let search):
            let (rows, hasMore) = await list(search, totals)
            return SurveyFindings(rows, maximumBytes: maximumBytes, hasMore: hasMore)
        case .room(let room):
            return SurveyFindings([await count(room, maximumBytes)], maximumBytes: maximumBytes, hasMore: false)
        case .clients(let search):
            let (rows, hasMore) = await list(search)
            return SurveyFindings(rows, maximumBytes: maximumBytes, hasMore: hasMore)
        case .client(let id):
            for shard in shards {
                if case .some(.some(let row)) = await shard.query({ $0.row(of: id) }) {
                    return SurveyFindings([row], maximumBytes: maximumBytes, hasMore: false)
                }
            }
            return SurveyFindings()
        case .disconnect(let target):
            return SurveyFindings(count: await sum { $0.disconnectAll(target) })
        case .kick(let target, let room):
            return SurveyFindings(count: await sum { $0.kick(target, from: room) })
        }
    }

    private func sum(_ body: @escaping @Sendable (Shard) -> Int) async -> Int {
        var sum = 0
        for shard in shards { sum += await shard.query(body) ?? 0 }
        return sum
    }

    // MARK: Rooms

    private func list(
        _ search: RoomSearch, _ totals: @Sendable ([RoomName]) async -> [Int]
    ) async -> (rows: [RoomRow], hasMore: Bool) {
        let text = SearchText(search.text)
        var found: [RoomName: Int] = [:]
        var hasMore = false
        /// By name, what stands behind a full page never comes onto it: there is no need to keep it.
        func cut() {
            guard !search.byMembers, found.count > search.limit + 4 * Self.slice else { return }
            hasMore = true
            let first = Self.first(search.limit, of: found.keys.map { RoomPlace(key: 0, room: $0) })
            found = Dictionary(uniqueKeysWithValues: first.map { ($0.room, found[$0.room] ?? 0) })
        }
        for shard in shards {
            var next: Int32? = 0
            while let start = next {
                let part = await shard.query { $0.rooms(from: start, slice: Self.slice, search) }
                for (room, members) in part?.rooms ?? [] where text.isPart(of: room.rawValue) {
                    found[room, default: 0] += members
                }
                cut()
                next = part?.next
            }
        }
        var places = found.keys.map { RoomPlace(key: 0, room: $0) }
        var known: [RoomName: Int] = [:]
        if search.byMembers {
            for start in stride(from: 0, to: places.count, by: Self.slice) {
                let names = places[start..<min(start + Self.slice, places.count)].map(\.room)
                for (room, total) in zip(names, await totals(names)) { known[room] = total }
            }
            places = places.map { RoomPlace(key: max(known[$0.room] ?? 0, found[$0.room] ?? 0), room: $0.room) }
        }
        if let after = search.after { places = places.filter { after < $0 } }
        let rows = Self.first(search.limit, of: places).map { place in
            let members = found[place.room] ?? 0
            return RoomRow(room: place.room, members: members, total: max(place.key, members))
        }
        return (rows, hasMore || places.count > search.limit)
    }

    /// The first of some places, in order, without putting all of them into it.
    static func first(_ count: Int, of places: [RoomPlace]) -> [RoomPlace] {
        var first: [RoomPlace] = []
        var bound: RoomPlace?
        for place in places {
            if let bound, bound < place { continue }
            first.append(place)
            guard first.count >= 2 * count else { continue }
            first.sort()
            first.removeLast(first.count - count)
            bound = first.last
        }
        return Array(first.sorted().prefix(count))
    }

    private func count(_ room: RoomName, _ maximumBytes: Int) async -> RoomCount {
        var members = 0
        var users: Set<UInt64> = []
        for shard in shards {
            let slots = await shard.query { $0.slots(in: room) } ?? []
            members += slots.count
            for start in stride(from: 0, to: slots.count, by: Self.slice) {
                let some = slots[start..<min(start + Self.slice, slots.count)]
                users.formUnion(await shard.query { $0.userHashes(of: some) } ?? [])
            }
        }
        return RoomCount(members: members, userHashes: users, maximumBytes: maximumBytes)
    }

    // MARK: Clients

    private func list(_ search: ClientSearch) async -> (rows: [ClientRow], hasMore: Bool) {
        let text = SearchText(search.text)
        var found: [(id: ClientID, shard: Int)] = []
        var hasMore = false
        func cut() {
            found.sort { $0.id.rawValue < $1.id.rawValue }
            guard found.count > search.limit else { return }
            hasMore = true
            found.removeLast(found.count - search.limit)
        }
        for (index, shard) in shards.enumerated() {
            var next: Int? = 0
            let slots: ContiguousArray<Int32>?
            if let user = search.user { slots = await shard.query { $0.slots(of: user) } ?? [] } else { slots = nil }
            while let start = next {
                let part = await shard.query { $0.clients(from: start, slice: Self.slice, of: slots, search) }
                found += (part?.found ?? []).filter { $0.holds(text) }.map { ($0.id, index) }
                if found.count > search.limit + 4 * Self.slice { cut() }
                next = part?.next
            }
        }
        cut()
        // Describing one takes longer than looking at it.
        var rows: [ClientID: ClientRow] = [:]
        for (index, shard) in shards.enumerated() {
            let ids = found.filter { $0.shard == index }.map(\.id)
            for start in stride(from: 0, to: ids.count, by: Self.slice / 10) {
                let some = ids[start..<min(start + Self.slice / 10, ids.count)]
                for row in await shard.query({ shard in some.compactMap { shard.row(of: $0) } }) ?? [] {
                    rows[row.client] = row
                }
            }
        }
        return (found.compactMap { rows[$0.id] }, hasMore)
    }
}

/// The parts of one shard.
extension Shard {
    func rooms(
        from start: Int32, slice: Int, _ search: RoomSearch
    ) -> (rooms: [(RoomName, Int)], next: Int32?) {
        var found: [(RoomName, Int)] = []
        let end = min(Int(start) + slice, rooms.numberLimit)
        for number in start..<max(start, Int32(clamping: end)) {
            guard let room = rooms.name(at: number) else { continue }
            if let namespace = search.namespace, !(room.namespace ?? "").utf8.elementsEqual(namespace.utf8) { continue }
            // In the order by members the place depends on what other shards and nodes have.
            if !search.byMembers, let after = search.after, !(after < RoomPlace(key: 0, room: room)) { continue }
            found.append((room, rooms.members(at: number).count))
        }
        return (found, end < rooms.numberLimit ? Int32(clamping: end) : nil)
    }

    func slots(of user: UserID) -> ContiguousArray<Int32> { ContiguousArray(users[user] ?? []) }

    func slots(in room: RoomName) -> ContiguousArray<Int32> {
        ContiguousArray(rooms.members(of: room).lazy.map(\.client))
    }

    func userHashes(of slots: ArraySlice<Int32>) -> Set<UInt64> {
        Set(slots.compactMap { clients[$0]?.identity.user.map(RoomCount.hash) })
    }

    /// What is searched of a client.
    struct FoundClient: Sendable {
        let id: ClientID
        private let user: UserID?
        private let address: RemoteAddress

        init(_ client: Client) {
            id = client.id
            user = client.identity.user
            address = client.address
        }

        func holds(_ text: SearchText) -> Bool {
            text.isEmpty || text.isPart(of: id.rawValue) || user.map { text.isPart(of: $0.rawValue) } ?? false
                || text.isPart(of: address.description)
        }
    }

    /// - Parameter slots: those that may be meant; `nil` for all.
    func clients(
        from start: Int, slice: Int, of slots: ContiguousArray<Int32>?, _ search: ClientSearch
    ) -> (found: [FoundClient], next: Int?) {
        let count = slots?.count ?? clients.slotCount
        let end = min(start + slice, count)
        var found: [FoundClient] = []
        for place in start..<max(start, end) {
            guard let client = clients[slots?[place] ?? Int32(place)], client.isOpen, matches(client, search) else {
                continue
            }
            found.append(FoundClient(client))
        }
        return (found, end < count ? end : nil)
    }

    private func matches(_ client: Client, _ search: ClientSearch) -> Bool {
        if let user = search.user, client.identity.user != user { return false }
        if let after = search.after, client.id.rawValue <= after.rawValue { return false }
        if let room = search.room, !rooms.contains(client.slot, in: room) { return false }
        return true
    }

    func row(of id: ClientID) -> ClientRow? {
        guard let client = client(id), client.isOpen else { return nil }
        var names = rooms.roomNames(of: client.slot)
        let count = names.count
        names.sort { $0.rawValue.utf8.lexicographicallyPrecedes($1.rawValue.utf8) }
        return ClientRow(
            client: id, user: client.identity.user, connectedAt: client.connectedAt,
            address: client.address.description, pendingBytes: waiting(for: client), roomCount: count,
            rooms: Array(names.prefix(ClientRow.maximumRooms)))
    }

    func disconnectAll(_ target: ControlMessage.Target) -> Int {
        beginTurn()
        return disconnect(Self.target(target), .forceDisconnect)
    }

    func kick(_ target: ControlMessage.Target, from room: RoomName) -> Int {
        beginTurn()
        let target = Self.target(target)
        for client in lateClients(of: target) { client.lateRooms?.remove(room) }
        return openClients(of: target).count { client in
            let wasJoining = refuseWhenAdmitted(room, client.id)
            return leaveRoom(room, client: client.id) || wasJoining
        }
    }

    private static func target(_ target: ControlMessage.Target) -> SendTarget {
        switch target {
        case .user(let user): .user(user)
        case .client(let id): .client(id)
        }
    }
}
