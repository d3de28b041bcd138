/// Collects the joins and leaves of rooms, so that observers read one `presence_diff` instead of many.
///
/// The first change after a quiet time is told after one interval; while changes go on, a room waits longer between
/// its diffs, the more members it has the longer, up to ten intervals: however many join, a member reads a few diffs a
/// second. Only what differs between the ends of the wait is told: a client that came and went is not mentioned.
/// Nothing is dropped: what one diff can't hold comes with the next one. Time is an argument.
package struct PresenceDiffCoalescer: Sendable {
    /// What one wait brought to one room.
    package struct Diff: Hashable, Sendable {
        /// Members who are new, or have changed.
        package var joined: [Member] = []
        /// Members who are gone.
        package var left: [Departure] = []
        /// Users who had no connection in the room before and have one now.
        package var usersJoined: [UserID] = []
        /// Users whose last connection in the room is gone.
        package var usersLeft: [UserID] = []
        /// Nobody is named.
        package var isEmpty: Bool { joined.isEmpty && left.isEmpty }

        package init() {}
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

    fileprivate struct Entry {
        let before: Member?
        var now: Member?
        var reason: LeaveReason
    }

    fileprivate struct Pending {
        /// Clients whose names are to be told.
        var entries: [ClientID: Entry] = [:]
        /// Something has changed whose names are not told.
        var hasUnnamed = false
        /// When it is told.
        var due: Int64
        /// The next diff isn't told before.
        var notBefore: Int64

        var hasChanged: Bool { hasUnnamed || !entries.isEmpty }
    }

    private var rooms: [RoomName: Pending] = [:]
    private let intervalMilliseconds: Int64
    private let nameLimit: Int

    /// `nameLimit`: clients that one diff may name.
    package init(intervalMilliseconds: Int64 = 100, nameLimit: Int = 1_000) {
        self.intervalMilliseconds = min(max(1, intervalMilliseconds), 3_600_000)
        self.nameLimit = max(1, nameLimit)
    }

    /// Whether there is nothing to tell and nothing to wait for.
    package var isEmpty: Bool { rooms.isEmpty }

    /// How long a room of so many members waits after a diff before the next one, in milliseconds.
    package func wait(members: Int) -> Int64 {
        intervalMilliseconds * (25 + Int64(min(75, max(0, members) / 10))) / 10
    }

    /// Adds a change; of one without names only the numbers will be told.
    package mutating func add(_ change: PresenceTable.Change, to room: RoomName, named: Bool, now: Int64) {
        var pending = take(room, now: now)
        switch change {
        case _ where !named: pending.hasUnnamed = true
        case .joined(let member): pending.note(member.client, before: nil, now: member)
        case .changed(let member, let old): pending.note(member.client, before: old, now: member)
        case .left(let member, let reason): pending.note(member.client, before: member, now: nil, reason: reason)
        }
        rooms[room] = pending
    }

    /// Taken out, so that it is changed in place.
    private mutating func take(_ room: RoomName, now: Int64) -> Pending {
        guard var pending = rooms.removeValue(forKey: room) else {
            return Pending(due: now + intervalMilliseconds, notBefore: now)
        }
        if !pending.hasChanged { pending.due = max(now + intervalMilliseconds, pending.notBefore) }
        return pending
    }

    /// Rooms whose diff is to be told now. Rooms that have been quiet for long enough are forgotten.
    package mutating func due(now: Int64) -> [RoomName] {
        var due: [RoomName] = []
        for (room, pending) in rooms {
            if pending.hasChanged {
                if pending.due <= now { due.append(room) }
            } else if pending.notBefore <= now {
                rooms[room] = nil
            }
        }
        return due
    }

    /// Takes one room's diff; `nil` when nothing has changed after all, and without names when only the numbers have.
    /// `connections` tells how many a user has in the room now.
    package mutating func take(
        _ room: RoomName, now: Int64, members: Int, connections: (UserID) -> Int
    ) -> Diff? {
        guard var pending = rooms.removeValue(forKey: room) else { return nil }
        let changed = pending.entries.filter { $0.value.before != $0.value.now }
        let some = changed.prefix(nameLimit)
        let rest = Dictionary(
            changed.dropFirst(nameLimit).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        let diff = Self.diff(some.map(\.value), rest: rest.values, connections)
        let hasUnnamed = pending.hasUnnamed
        pending.entries = rest
        pending.hasUnnamed = false
        told(&pending, now: now, members: members)
        rooms[room] = pending
        return diff.isEmpty && !hasUnnamed ? nil : diff
    }

    /// Takes one room's changes without names; whether there were any.
    package mutating func takeCounts(_ room: RoomName, now: Int64, members: Int) -> Bool {
        guard var pending = rooms.removeValue(forKey: room) else { return false }
        let hasChanged = pending.hasChanged
        pending.entries = [:]
        pending.hasUnnamed = false
        told(&pending, now: now, members: members)
        rooms[room] = pending
        return hasChanged
    }

    private func told(_ pending: inout Pending, now: Int64, members: Int) {
        pending.notBefore = now + wait(members: members)
        pending.due = pending.notBefore
    }

    /// The room isn't followed any more.
    package mutating func forget(_ room: RoomName) { rooms[room] = nil }

    private static func diff(
        _ entries: some Collection<Entry>, rest: some Collection<Entry>, _ connections: (UserID) -> Int
    ) -> Diff {
        var diff = Diff()
        for entry in entries {
            if let member = entry.now {
                diff.joined.append(member)
            } else if let before = entry.before {
                diff.left.append(Departure(member: before, reason: entry.reason))
            }
        }
        // Who reads all diffs counts alike: what comes with the next one hasn't happened yet.
        let later = changes(rest)
        for (user, change) in changes(entries) where change != 0 {
            let after = connections(user) - (later[user] ?? 0)
            let before = after - change
            if before <= 0, after > 0 { diff.usersJoined.append(user) }
            if before > 0, after <= 0 { diff.usersLeft.append(user) }
        }
        return diff
    }

    /// How many connections each user has won or lost.
    private static func changes(_ entries: some Collection<Entry>) -> [UserID: Int] {
        var changes: [UserID: Int] = [:]
        for entry in entries {
            if let user = entry.now?.user { changes[user, default: 0] += 1 }
            if let user = entry.before?.user { changes[user, default: 0] -= 1 }
        }
        return changes
    }
}

extension PresenceDiffCoalescer.Pending {
    fileprivate mutating func note(_ client: ClientID, before: Member?, now: Member?, reason: LeaveReason = .left) {
        var entry = entries[client] ?? PresenceDiffCoalescer.Entry(before: before, now: now, reason: reason)
        entry.now = now
        entry.reason = reason
        // Who came and went again takes no place.
        entries[client] = entry.before == nil && now == nil ? nil : entry
    }
}
