/// Members whose connections broke and who keep their place in the roster for a while, so that a client that comes back
/// at once doesn't make everybody's roster flicker.
///
/// A value: the time is an argument. Waits of equal length end in the order in which they began, so each length has a
/// queue of its own and nothing is searched.
package struct PresenceGrace: Sendable {
    /// One place that is kept.
    package struct Place: Hashable, Sendable {
        package let room: RoomName
        package let client: ClientID

        package init(room: RoomName, client: ClientID) {
            self.room = room
            self.client = client
        }
    }

    private struct Wait {
        let place: Place
        let until: Int64
    }

    /// Waits of one length; what is before `head` is over.
    private struct Line {
        var waits: [Wait] = []
        var head = 0
    }

    private var lines: [Int64: Line] = [:]
    /// Kept places: when each ends, and whose it is. What a line has besides is over already.
    private var kept: [Place: (until: Int64, user: UserID?)] = [:]
    /// The same by user, for those who have one.
    private var users: [RoomName: [UserID: [ClientID]]] = [:]
    private let limit: Int
    /// A day.
    private static let longest: Int64 = 86_400_000
    private static let sentAwayShare = 20

    /// Keeps at most `limit` places at once, twenty times that with those who are sent away.
    package init(limit: Int = 100_000) { self.limit = max(1, limit) }

    /// Places that are kept.
    package var count: Int { kept.count }

    /// Whether some are kept for users, who may come back on any node.
    package var awaitsUsers: Bool { !users.isEmpty }

    /// Whether a place that is kept has to end before another one can be.
    package func isFull(sentAway: Bool) -> Bool { kept.count >= (sentAway ? limit * Self.sentAwayShare : limit) }

    /// Keeps the place of a member; `false` when there are too many or it is kept already. All members of a node may be
    /// sent away at once, and only for seconds: for them there are more places.
    package mutating func keep(
        _ member: Member, in room: RoomName, for milliseconds: Int64, sentAway: Bool = false, now: Int64
    ) -> Bool {
        let place = Place(room: room, client: member.client)
        guard milliseconds > 0, !isFull(sentAway: sentAway), kept[place] == nil else { return false }
        let milliseconds = min(milliseconds, Self.longest)
        let until = now + milliseconds
        kept[place] = (until, member.user)
        lines[milliseconds, default: Line()].waits.append(Wait(place: place, until: until))
        if let user = member.user { users[room, default: [:]][user, default: []].append(member.client) }
        return true
    }

    /// Whether a member's place is kept.
    package func keeps(_ client: ClientID, in room: RoomName) -> Bool {
        kept[Place(room: room, client: client)] != nil
    }

    /// A connection of the user is in the room: the places kept for it are given up. Returns whose they were.
    package mutating func takeBack(_ user: UserID, in room: RoomName) -> [ClientID] {
        guard !kept.isEmpty, let clients = users[room]?.removeValue(forKey: user) else { return [] }
        if users[room]?.isEmpty == true { users[room] = nil }
        for client in clients { kept[Place(room: room, client: client)] = nil }
        return clients
    }

    /// Places whose time is over.
    package mutating func expire(now: Int64) -> [Place] {
        guard !lines.isEmpty else { return [] }
        var over: [Place] = []
        for (length, line) in lines {
            var line = line
            while line.head < line.waits.count, line.waits[line.head].until <= now {
                let wait = line.waits[line.head]
                line.head += 1
                guard let entry = kept[wait.place], entry.until == wait.until else { continue }
                kept[wait.place] = nil
                if let user = entry.user { forget(wait.place, of: user) }
                over.append(wait.place)
            }
            if line.head == line.waits.count {
                lines[length] = nil
                continue
            }
            if line.head > 64, line.head * 2 > line.waits.count {
                line.waits.removeFirst(line.head)
                line.head = 0
            }
            lines[length] = line
        }
        return over
    }

    private mutating func forget(_ place: Place, of user: UserID) {
        users[place.room]?[user]?.removeAll { $0 == place.client }
        if users[place.room]?[user]?.isEmpty == true { users[place.room]?[user] = nil }
        if users[place.room]?.isEmpty == true { users[place.room] = nil }
    }
}
