/// Collects a room's joins and leaves for one interval, so that observers read one `presence_diff` instead of many.
///
/// Only what differs between the interval's begin and end is told: a client that came and went is not mentioned.
/// Nothing is dropped: a room that has collected its limit says so and is taken at once.
package struct PresenceDiffCoalescer: Sendable {
    /// What one interval brought to one room.
    package struct Diff: Hashable, Sendable {
        /// Members who are new, or have changed.
        package var joined: [Member] = []
        /// Members who are gone.
        package var left: [Departure] = []
        /// Nothing has changed after all.
        package var isEmpty: Bool { joined.isEmpty && left.isEmpty }
    }

    /// A member who is gone, and why.
    package struct Departure: Hashable, Sendable {
        package let member: Member
        package let reason: LeaveReason

        package init(member: Member, reason: LeaveReason) {
            self.member = member
            self.reason = reason
        }
    }

    private struct Entry {
        let before: Member?
        var now: Member?
        var reason: LeaveReason
    }

    private var pending: [RoomName: [ClientID: Entry]] = [:]
    private let roomLimit: Int

    /// `roomLimit`: clients that one diff may name.
    package init(roomLimit: Int = 1_000) { self.roomLimit = max(1, roomLimit) }

    /// Whether there is nothing to tell.
    package var isEmpty: Bool { pending.isEmpty }

    /// Adds a change. Returns `true` when the room's diff is full and should be taken now.
    package mutating func add(_ change: PresenceTable.Change, to room: RoomName) -> Bool {
        switch change {
        case .joined(let member): note(room, member.client, before: nil, now: member)
        case .changed(let member, let old): note(room, member.client, before: old, now: member)
        case .left(let member, let reason): note(room, member.client, before: member, now: nil, reason: reason)
        }
        return (pending[room]?.count ?? 0) >= roomLimit
    }

    private mutating func note(
        _ room: RoomName, _ client: ClientID, before: Member?, now: Member?, reason: LeaveReason = .left
    ) {
        var entry = pending[room]?[client] ?? Entry(before: before, now: now, reason: reason)
        entry.now = now
        entry.reason = reason
        pending[room, default: [:]][client] = entry
    }

    /// Takes one room's diff.
    package mutating func take(_ room: RoomName) -> Diff? {
        pending.removeValue(forKey: room).flatMap(Self.diff)
    }

    /// Takes the diffs of all rooms.
    package mutating func takeAll() -> [(room: RoomName, diff: Diff)] {
        defer { pending.removeAll(keepingCapacity: true) }
        return pending.compactMap { room, entries in Self.diff(entries).map { (room, $0) } }
    }

    /// The room isn't followed any more.
    package mutating func forget(_ room: RoomName) { pending[room] = nil }

    private static func diff(_ entries: [ClientID: Entry]) -> Diff? {
        var diff = Diff()
        for entry in entries.values {
            switch (entry.before, entry.now) {
            case (nil, nil): break
            case (_, let now?): if entry.before != now { diff.joined.append(now) }
            case (let before?, nil): diff.left.append(Departure(member: before, reason: entry.reason))
            }
        }
        return diff.isEmpty ? nil : diff
    }
}
