/// What came of letting everybody into one room.
package struct CrowdFigures: Sendable {
    /// Answered with `room_joined`.
    package var joined = 0
    /// Told in the end how many are there, and rightly.
    package var settled = 0
    /// From the first request to the last `room_joined`.
    package var joinSeconds: Double?
    /// From the first request until the last member had been told of all; `nil` when that was not reached.
    package var settleSeconds: Double?
    /// From when a client was to ask until it had its answer.
    package var joining = LatencyRecorder()
    package var diffs: UInt64 = 0
    package var diffBytes: UInt64 = 0
    /// Members that diffs were counted for.
    package var members = 0
    /// The most that one member was sent within a second.
    package var mostDiffsASecond = 0

    package init() {}

    package var diffsPerMember: Double { members > 0 ? Double(diffs) / Double(members) : 0 }

    package mutating func merge(_ other: CrowdFigures) {
        joined += other.joined
        settled += other.settled
        joinSeconds = Self.later(joinSeconds, other.joinSeconds)
        settleSeconds = Self.later(settleSeconds, other.settleSeconds)
        joining.merge(other.joining)
        diffs += other.diffs
        diffBytes += other.diffBytes
        members += other.members
        mostDiffsASecond = max(mostDiffsASecond, other.mostDiffsASecond)
    }

    private static func later(_ a: Double?, _ b: Double?) -> Double? {
        guard let a, let b else { return a ?? b }
        return max(a, b)
    }
}

/// What one member of the crowd has been told.
package struct Attendance: Sendable {
    /// When it was to ask; 0 before.
    package var askedAt: UInt64 = 0
    package var joinedAt: UInt64 = 0
    /// The count of the last `presence_diff`, and when it came.
    package private(set) var count = -1
    package private(set) var toldAt: UInt64 = 0
    package private(set) var mostASecond = 0
    /// When the last diffs came, the oldest first: those of the last second.
    private var recent: [UInt64] = []

    package init() {}

    /// A `presence_diff` came.
    package mutating func told(_ count: Int, at now: UInt64) {
        // The time counts at which it knew, not that at which it was told again.
        if count != self.count { toldAt = now }
        self.count = count
        recent.append(now)
        if let kept = recent.firstIndex(where: { $0 + 1_000_000_000 > now }) { recent.removeFirst(kept) }
        mostASecond = max(mostASecond, recent.count)
    }
}
