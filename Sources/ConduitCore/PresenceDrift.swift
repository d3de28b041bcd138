/// Notes where the digests of other nodes differ from this node's rosters, and says when to do something about it.
///
/// A digest that differs once may have crossed with news that were on their way; one that differs twice in a row is
/// drift: the roster must be read again, and its owner must look whether Redis has its members right. A value without a
/// clock.
package struct PresenceDrift: Sendable {
    private var suspects: [RoomName: [NodeID: Int]] = [:]

    /// Nothing is suspect.
    package init() {}

    /// Rooms with a digest that differs.
    package var count: Int { suspects.count }

    /// A digest came. Returns whether it is time to repair.
    package mutating func heard(_ room: RoomName, from node: NodeID, agrees: Bool) -> Bool {
        if agrees {
            guard suspects[room]?.removeValue(forKey: node) != nil else { return false }
            if suspects[room]?.isEmpty == true { suspects[room] = nil }
            return false
        }
        let times = (suspects[room]?[node] ?? 0) &+ 1
        suspects[room, default: [:]][node] = times
        return times.isMultiple(of: 2)
    }

    /// The room isn't followed any more.
    package mutating func forget(_ room: RoomName) { suspects[room] = nil }
}

/// Goes through rooms again and again, some at a time: each once a round, however many there are.
package struct PresenceRounds: Sendable {
    private var rest: [RoomName] = []
    private var share = 1
    private var next: Int64 = 0
    private let roundMilliseconds: Int64
    private let limit: Int

    /// A round takes `roundMilliseconds`, or longer when there are more than `limit` rooms for each step of
    /// `stepMilliseconds`.
    package init(roundMilliseconds: Int64, limit: Int = 1_000) {
        self.roundMilliseconds = max(1, roundMilliseconds)
        self.limit = max(1, limit)
    }

    /// Whether the next step begins a round, so that it has to be told the rooms.
    package func beginsRound(now: Int64) -> Bool { rest.isEmpty && now >= next }

    /// The rooms of this step; `rooms` are all of them, at the beginning of a round.
    package mutating func step(now: Int64, every stepMilliseconds: Int64, rooms: [RoomName]) -> [RoomName] {
        if beginsRound(now: now) {
            rest = rooms
            let steps = Int(clamping: max(1, roundMilliseconds / max(1, stepMilliseconds)))
            share = min(limit, max(1, (rest.count + steps - 1) / steps))
            next = now + roundMilliseconds
        }
        let some = Array(rest.suffix(share))
        rest.removeLast(some.count)
        return some
    }
}
