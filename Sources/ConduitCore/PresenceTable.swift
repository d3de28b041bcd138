/// Who is in which room, on this node and on the others: a mergeable roster for each room that this node follows.
///
/// A member is known by its client id, which names its node. Merging the same news twice changes nothing. While a
/// snapshot of a room is awaited, news of other nodes wait and are replayed after it; so a snapshot that was read
/// before a member left can't bring that member back.
package struct PresenceTable: Sendable {
    /// Something another node told about a room.
    package enum News: Hashable, Sendable {
        /// A member is in the room.
        case joined(Member)
        /// A member is out of the room.
        case left(ClientID, LeaveReason)
        /// A node and all its members are gone.
        case nodeGone(NodeID)
    }

    /// What has changed for the room.
    package enum Change: Hashable, Sendable {
        /// Was not there.
        case joined(Member)
        /// Was there with another joining time, user or info.
        case changed(Member, from: Member)
        /// Was there.
        case left(Member, LeaveReason)
    }

    private struct Roster {
        var members = MemberTable()
        /// Connections by user.
        var users: [UserID: Int] = [:]
        /// The members of each node, this one too.
        var nodes: [NodeID: PresenceDigest] = [:]
        /// News that wait for the snapshot; `nil` when none is awaited.
        var buffered: [News]?
        /// So many news came that the snapshot must be read again.
        var overflowed = false
        /// A snapshot was applied since the subscription was confirmed.
        var complete = false
        /// A snapshot was applied since the room is followed.
        var wasComplete = false
        /// So many members that only their number is told.
        var countsOnly = false
        /// Rises with every change.
        var version: UInt64 = 0
    }

    private let own: NodeID
    private let bufferLimit: Int
    private var rosters: [RoomName: Roster] = [:]
    /// Members of all rosters.
    package private(set) var memberCount = 0

    /// An empty table. `bufferLimit`: news of one room that may wait for its snapshot.
    package init(own: NodeID, bufferLimit: Int = 10_000) {
        self.own = own
        self.bufferLimit = max(1, bufferLimit)
    }

    /// Rooms with a roster.
    package var rooms: some Collection<RoomName> { rosters.keys }
    /// Whether the room is followed.
    package func follows(_ room: RoomName) -> Bool { rosters[room] != nil }
    /// Members of a room.
    package func count(of room: RoomName) -> Int { rosters[room]?.members.count ?? 0 }
    /// Different users of a room; anonymous members count for none.
    package func users(of room: RoomName) -> Int { rosters[room]?.users.count ?? 0 }
    /// Members of a room that one node holds.
    package func count(of room: RoomName, on node: NodeID) -> Int { rosters[room]?.nodes[node]?.count ?? 0 }
    /// The digest of a node's members of a room.
    package func digest(of room: RoomName, on node: NodeID) -> PresenceDigest {
        rosters[room]?.nodes[node] ?? PresenceDigest()
    }
    /// The nodes that have members in a room.
    package func nodes(of room: RoomName) -> [NodeID] { rosters[room].map { Array($0.nodes.keys) } ?? [] }
    /// Connections of one user in a room.
    package func connections(of user: UserID, in room: RoomName) -> Int { rosters[room]?.users[user] ?? 0 }
    /// Differs when something has changed in between.
    package func version(of room: RoomName) -> UInt64 { rosters[room]?.version ?? 0 }

    /// What ``countsOnly(_:above:)`` has found last.
    package func isCountsOnly(_ room: RoomName) -> Bool { rosters[room]?.countsOnly ?? false }

    /// Whether only the number of members is told because there are more than `limit`. Names come back when a tenth
    /// less than that are there, so that a room at the border doesn't change with every member.
    package mutating func countsOnly(_ room: RoomName, above limit: Int) -> Bool {
        guard let roster = rosters[room] else { return false }
        let count = roster.members.count
        let result = roster.countsOnly ? count > limit - limit / 10 : count > limit
        if result != roster.countsOnly { rosters[room]?.countsOnly = result }
        return result
    }
    /// Whether the roster lacks nothing: a snapshot was applied and none is awaited.
    package func isComplete(_ room: RoomName) -> Bool {
        rosters[room].map { $0.complete && $0.buffered == nil } ?? false
    }
    /// A member, if it is there.
    package func member(_ client: ClientID, in room: RoomName) -> Member? { rosters[room]?.members[client] }
    /// All members in no order.
    package func members(of room: RoomName) -> [Member] { rosters[room].map { Array($0.members.all) } ?? [] }

    /// Up to `limit` members in the order of their client ids, after `cursor`; and whether more follow.
    package func page(of room: RoomName, after cursor: String?, limit: Int) -> (members: [Member], more: Bool) {
        guard let roster = rosters[room] else { return ([], false) }
        return Self.page(roster.members.all, after: cursor, limit: limit)
    }

    /// The same for members from elsewhere. Keeps the smallest ones while it walks, so a page of a large room costs
    /// one pass and no sorting of the whole.
    package static func page(
        _ members: some Sequence<Member>, after cursor: String?, limit: Int
    ) -> (members: [Member], more: Bool) {
        let limit = max(1, limit)
        var kept: [Member] = []
        var bound: String?
        var seen = 0
        func shrink() {
            kept.sort { $0.client.rawValue < $1.client.rawValue }
            if kept.count > limit {
                kept.removeLast(kept.count - limit)
                bound = kept.last?.client.rawValue
            }
        }
        for member in members {
            let id = member.client.rawValue
            if let cursor, id <= cursor { continue }
            seen += 1
            if let bound, id >= bound { continue }
            kept.append(member)
            if kept.count >= limit * 2 + 16 { shrink() }
        }
        shrink()
        return (kept, seen > kept.count)
    }

    // MARK: This node's members

    /// A client of this node joined; the room is followed from now on.
    package mutating func addLocal(_ member: Member, to room: RoomName) -> Change? {
        var roster = rosters.removeValue(forKey: room) ?? Roster()
        defer { rosters[room] = roster }
        return insert(member, into: &roster)
    }

    /// A client of this node left.
    package mutating func removeLocal(_ client: ClientID, from room: RoomName, reason: LeaveReason) -> Change? {
        guard var roster = rosters.removeValue(forKey: room) else { return nil }
        defer { rosters[room] = roster }
        return remove(client, from: &roster, reason: reason)
    }

    /// The room isn't followed any more.
    package mutating func forget(_ room: RoomName) {
        memberCount -= rosters.removeValue(forKey: room)?.members.count ?? 0
    }

    // MARK: The others' members

    /// A snapshot is being read: news wait from now on. What waited for an earlier one is dropped, since the new
    /// snapshot will be read after it.
    package mutating func awaitSnapshot(of room: RoomName) {
        rosters[room]?.buffered = []
        rosters[room]?.overflowed = false
    }

    /// The snapshot won't come: what waited is applied as it is.
    package mutating func snapshotFailed(of room: RoomName) -> [Change] {
        guard var roster = rosters.removeValue(forKey: room) else { return [] }
        defer { rosters[room] = roster }
        let news = roster.buffered ?? []
        roster.buffered = nil
        roster.overflowed = false
        roster.complete = false
        return news.flatMap { apply($0, to: &roster) }
    }

    /// The subscription was lost, so the rosters may lack something until they are read again.
    package mutating func connectionLost() {
        for room in rosters.keys {
            rosters[room]?.complete = false
            rosters[room]?.buffered = nil
            rosters[room]?.overflowed = false
        }
    }

    /// Takes news of another node. Returns what changed; nothing while a snapshot is awaited. News about members of
    /// this node are ignored: it knows best.
    package mutating func merge(_ news: News, into room: RoomName) -> [Change] {
        guard var roster = rosters.removeValue(forKey: room) else { return [] }
        defer { rosters[room] = roster }
        if roster.buffered != nil {
            if roster.overflowed { return [] }
            if (roster.buffered?.count ?? 0) >= bufferLimit {
                roster.overflowed = true
                roster.buffered = []
            } else {
                roster.buffered?.append(news)
            }
            return []
        }
        return apply(news, to: &roster)
    }

    /// The result of a snapshot.
    package struct SnapshotResult: Sendable {
        /// What changed, the replayed news included.
        package var changes: [Change] = []
        /// Members of this node that it doesn't hold: to be removed from Redis.
        package var stale: [ClientID] = []
        /// Too many news came meanwhile: read it again. News wait again already.
        package var mustReadAgain = false
        /// Members whom the first snapshot since the room is followed has brought and no news: they were there before.
        package var found: [Change] = []
    }

    /// Replaces what is known of the other nodes' members by a snapshot and replays the news that waited.
    package mutating func replaceSnapshot(of room: RoomName, with members: [Member]) -> SnapshotResult {
        var result = SnapshotResult()
        guard var roster = rosters.removeValue(forKey: room) else { return result }
        defer { rosters[room] = roster }
        if roster.overflowed {
            roster.overflowed = false
            roster.buffered = []
            result.mustReadAgain = true
            return result
        }
        let waited = roster.buffered ?? []
        let isFirst = !roster.wasComplete
        let announced = isFirst ? Self.joiners(in: waited) : []
        var present: Set<ClientID> = []
        for member in members {
            if member.node == own {
                if roster.members[member.client] == nil { result.stale.append(member.client) }
                continue
            }
            present.insert(member.client)
            guard let change = insert(member, into: &roster) else { continue }
            if isFirst, !announced.contains(member.client) {
                result.found.append(change)
            } else {
                result.changes.append(change)
            }
        }
        for member in Array(roster.members.all) where member.node != own && !present.contains(member.client) {
            if let change = remove(member.client, from: &roster, reason: .left) { result.changes.append(change) }
        }
        roster.buffered = nil
        roster.complete = true
        roster.wasComplete = true
        for news in waited { result.changes += apply(news, to: &roster) }
        return result
    }

    private static func joiners(in news: [News]) -> Set<ClientID> {
        Set(
            news.compactMap { news in
                if case .joined(let member) = news { member.client } else { nil }
            })
    }

    /// A node is gone: its members leave every room. Rooms that await a snapshot remember it for later.
    package mutating func removeNode(_ node: NodeID) -> [(room: RoomName, changes: [Change])] {
        guard node != own else { return [] }
        var all: [(room: RoomName, changes: [Change])] = []
        let concerned = rosters.filter { $0.value.nodes[node] != nil || $0.value.buffered != nil }.keys
        for room in concerned {
            let changes = merge(.nodeGone(node), into: room)
            if !changes.isEmpty { all.append((room, changes)) }
        }
        return all
    }

    // MARK: One roster

    private mutating func apply(_ news: News, to roster: inout Roster) -> [Change] {
        switch news {
        case .joined(let member):
            guard member.node != own else { return [] }
            return insert(member, into: &roster).map { [$0] } ?? []
        case .left(let client, let reason):
            guard let member = roster.members[client], member.node != own else { return [] }
            return remove(client, from: &roster, reason: reason).map { [$0] } ?? []
        case .nodeGone(let node):
            guard node != own, roster.nodes[node] != nil else { return [] }
            let gone = roster.members.all.filter { $0.node == node }
            return gone.compactMap { remove($0.client, from: &roster, reason: .nodeLost) }
        }
    }

    /// `nil` when exactly this member was there already, or when its id isn't one of its node's.
    private mutating func insert(_ member: Member, into roster: inout Roster) -> Change? {
        guard member.client.node == member.node else { return nil }
        let old = roster.members.insert(member)
        guard old != member else { return nil }
        if let old { uncount(old, in: &roster) } else { memberCount += 1 }
        if let user = member.user { roster.users[user, default: 0] += 1 }
        roster.nodes[member.node, default: PresenceDigest()].add(member)
        roster.version &+= 1
        return old.map { .changed(member, from: $0) } ?? .joined(member)
    }

    private mutating func remove(
        _ client: ClientID, from roster: inout Roster, reason: LeaveReason
    ) -> Change? {
        guard let old = roster.members.remove(client) else { return nil }
        uncount(old, in: &roster)
        memberCount -= 1
        roster.version &+= 1
        return .left(old, reason)
    }

    private func uncount(_ member: Member, in roster: inout Roster) {
        if let user = member.user, let count = roster.users[user] {
            roster.users[user] = count > 1 ? count - 1 : nil
        }
        roster.nodes[member.node]?.remove(member)
        if (roster.nodes[member.node]?.count ?? 0) <= 0 { roster.nodes[member.node] = nil }
    }
}
