import ConduitCore

/// What a bridge remembers to keep rosters right: digests that differ, rooms to look at, nodes that nobody knows.
struct PresenceCare {
    /// Rounds in which a node says that it has no members left in a room.
    private static let farewells = 3
    /// Rooms that may wait for an inspection, and that any of these tables may hold.
    private static let limit = 10_000
    /// A room whose inspection has found nothing wrong isn't inspected for its length again before, in milliseconds.
    private static let quietMilliseconds: Int64 = 30_000
    /// A node that is met so rarely was never seen before, in milliseconds.
    private static let forgetMilliseconds: Int64 = 60_000

    /// How often some rooms are looked at, in milliseconds.
    let stepMilliseconds: Int64
    var drift = PresenceDrift()
    var rounds: PresenceRounds
    /// When the next rooms are looked at.
    var nextStep: Int64 = 0
    /// When a room may be inspected though nothing hints at a mistake.
    var nextPatrol: Int64 = 0
    /// Parts of rosters in Redis that were put right.
    var repaired: UInt64 = 0

    /// Rooms without a member of this node since a short while, and how often that is still said.
    private(set) var farewells: [RoomName: Int] = [:]
    private var early: Set<RoomName> = []
    private var wrongLengths: Set<RoomName> = []
    private var quiet: [RoomName: Int64] = [:]
    private var queue: [RoomName] = []
    /// Rooms with members of a node that may yet turn out to be known, and when to look again.
    private var later: [RoomName: Int64] = [:]
    private(set) var inspecting: RoomName?
    private var strangers: [NodeID: (first: Int64, last: Int64)] = [:]

    /// Rooms are gone through in two heartbeats, if they are not too many.
    init(heartbeatMilliseconds: Int64) {
        stepMilliseconds = min(max(20, heartbeatMilliseconds), 1_000)
        rounds = PresenceRounds(roundMilliseconds: 2 * stepMilliseconds)
    }

    /// Nobody of this node is interested in the room any more.
    mutating func forget(_ room: RoomName) {
        drift.forget(room)
        early.remove(room)
        wrongLengths.remove(room)
        quiet[room] = nil
        later[room] = nil
    }

    // MARK: Answers

    /// Somebody was told a roster that wasn't complete.
    mutating func answeredEarly(_ room: RoomName) { early.insert(room) }

    /// Whether that has happened.
    func wasAnsweredEarly(_ room: RoomName) -> Bool { early.contains(room) }

    // MARK: Farewells

    /// The last member of this node has left a room.
    mutating func departed(_ room: RoomName) {
        if farewells.count < Self.limit { farewells[room] = Self.farewells }
    }

    /// A digest of the room is told; `isHeld`: this node has members in it.
    mutating func told(_ room: RoomName, isHeld: Bool) {
        guard let rest = farewells[room] else { return }
        farewells[room] = isHeld || rest <= 1 ? nil : rest - 1
    }

    // MARK: Inspections

    /// The number of members in Redis is known. Returns whether it was wrong twice in a row.
    mutating func measured(_ room: RoomName, isRight: Bool, now: Int64) -> Bool {
        if isRight {
            wrongLengths.remove(room)
            return false
        }
        if wrongLengths.insert(room).inserted { return false }
        guard let until = quiet[room] else { return true }
        return until <= now
    }

    /// Puts a room into the queue.
    mutating func inspect(_ room: RoomName) {
        guard queue.count < Self.limit, !queue.contains(room) else { return }
        queue.append(room)
    }

    /// Puts a room into the queue when a stranger in it has had time to make itself known.
    mutating func inspect(_ room: RoomName, at time: Int64) {
        if later.count < Self.limit { later[room] = time }
    }

    /// Puts those into the queue whose time has come.
    mutating func inspectDue(now: Int64) {
        guard !later.isEmpty else { return }
        for (room, time) in later where time <= now {
            later[room] = nil
            inspect(room)
        }
    }

    /// The next room to inspect; one at a time.
    mutating func nextInspection() -> RoomName? {
        guard inspecting == nil, !queue.isEmpty else { return nil }
        inspecting = queue.removeFirst()
        return inspecting
    }

    /// An inspection ended. `isClean`: nothing was wrong, and nothing is suspect.
    mutating func inspected(_ room: RoomName, isClean: Bool, fields: Int, now: Int64) {
        inspecting = nil
        wrongLengths.remove(room)
        // Five thousand fields a second, so that large rooms don't keep Redis busy.
        nextPatrol = now + max(stepMilliseconds, Int64(fields) / 5)
        quiet = quiet.filter { $0.value > now }
        quiet[room] = isClean && quiet.count < Self.limit ? now + Self.quietMilliseconds : nil
    }

    // MARK: Strangers

    /// A node that isn't on the list has members in a room. Returns whether that has been so for long enough.
    mutating func met(_ stranger: NodeID, now: Int64, patience: Int64) -> Bool {
        if let seen = strangers[stranger], now - seen.last < Self.forgetMilliseconds {
            strangers[stranger]?.last = now
            return now - seen.first >= patience
        }
        if strangers.count >= Self.limit { strangers = [:] }
        strangers[stranger] = (now, now)
        return false
    }

    /// The node is known after all.
    mutating func knows(_ node: NodeID) { if !strangers.isEmpty { strangers[node] = nil } }
}
