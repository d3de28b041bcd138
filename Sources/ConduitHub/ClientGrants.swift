import ConduitCore

/// What a client's requests are checked against beyond its rooms' policies: the rights and the end of its token, and what
/// somebody else has said of it. Only clients whom that concerns have one. Loop-bound, owned by its ``Client``; a
/// refreshed token brings a new one.
///
/// What is decided of a room is remembered, the last one apart: a message costs a comparison of names.
final class ClientGrants {
    /// What somebody else said of publishing to a room.
    enum Answer {
        case unknown, yes, no
    }

    /// Rooms of which something is remembered. More begin anew: rights are looked up, somebody is asked, again.
    private static let remembered = 256
    /// How long a refusal of somebody else counts, in milliseconds: who is granted something later needn't leave first.
    private static let refusalMilliseconds: Int64 = 10_000

    /// The end of the year 9999.
    private static let latest: Int64 = 253_402_300_799_999

    /// When the token has run out (monotonic, ms); the far future for never.
    let expires: Int64
    private let rights: RoomRights?
    /// Rooms that the server joins the client to: it may be in them.
    private let rooms: Set<RoomName>
    /// The user's own inbox: read by that user without any rights.
    private let inbox: RoomName?
    private var last: (room: RoomName, rights: RoomRights.Rights)?
    private var decided: [RoomName: RoomRights.Rights] = [:]
    /// What somebody else has said: until when (monotonic, ms) a refusal counts, or the far future for a yes.
    private var answers: [RoomName: (isGranted: Bool, until: Int64)] = [:]

    /// - Parameters:
    ///   - inbox: the client's own inbox, where there is one.
    ///   - now: monotonic milliseconds.
    ///   - wallClock: the same moment in milliseconds since 1970.
    init(_ identity: Identity, inbox: RoomName?, now: Int64, wallClock: Int64) {
        self.rights = identity.rights
        self.rooms = Set(identity.rooms)
        self.inbox = inbox
        // Any number may stand in a token.
        let end = identity.isTakenUntil.map { min(max($0, 0), Self.latest) }
        self.expires = end.map { now + $0 - wallClock } ?? .max / 2
    }

    /// Whether the token can run out at all.
    var canExpire: Bool { expires < .max / 2 }

    /// What the client may do with a room.
    func rights(in room: RoomName) -> RoomRights.Rights {
        if let last, last.room == room { return last.rights }
        if let known = decided[room] {
            last = (room, known)
            return known
        }
        var granted = rights?.granted(in: room) ?? .all
        if rooms.contains(room) { granted.insert(.join) }
        if room == inbox { granted.formUnion([.join, .presence, .history]) }
        if decided.count >= Self.remembered { decided.removeAll(keepingCapacity: true) }
        decided[room] = granted
        last = (room, granted)
        return granted
    }

    /// Whether a room is one that the token itself names, or the user's inbox: nobody else is asked about being there.
    func isOwn(_ room: RoomName) -> Bool { room == inbox || rooms.contains(room) }

    // MARK: What somebody else has said

    func answer(for room: RoomName, now: Int64) -> Answer {
        guard let answer = answers[room], now < answer.until else { return .unknown }
        return answer.isGranted ? .yes : .no
    }

    func answered(_ isGranted: Bool, for room: RoomName, now: Int64) {
        if answers.count >= Self.remembered { answers.removeAll(keepingCapacity: true) }
        answers[room] = (isGranted, isGranted ? .max : now + Self.refusalMilliseconds)
    }

    /// The client is out of a room: who wants to know must ask again.
    func left(_ room: RoomName) { answers[room] = nil }
}

@available(*, unavailable)
extension ClientGrants: Sendable {}
