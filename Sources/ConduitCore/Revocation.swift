/// Says that tokens are good no more, though they have not run out: all that a user had, or one by its id.
package struct Revocation: Hashable, Sendable {
    /// Whose tokens.
    package enum Target: Hashable, Sendable {
        /// All tokens of a user that were issued until then; also those that don't say when they were issued.
        case user(UserID)
        /// The token with this id (`jti`), 1 to 255 bytes.
        case token(String)
    }

    /// Longest id of a token that can be revoked, in bytes.
    package static let maximumTokenIDBytes = 255

    /// How much longer than its tokens it is remembered, in milliseconds: clocks differ, and so does what is let pass.
    package static let margin: Int64 = 600_000
    /// The end of the year 9999, in milliseconds since 1970.
    package static let latest: Int64 = 253_402_300_799_999

    /// Whose tokens.
    package let target: Target
    /// When that was said, in milliseconds since 1970. A user's tokens that are issued later are good.
    package let revokedAt: Int64
    /// Until when it is remembered, in milliseconds since 1970: as long as such a token could be shown.
    package let expiresAt: Int64

    package init(_ target: Target, revokedAt: Int64, expiresAt: Int64) {
        self.target = target
        self.revokedAt = revokedAt
        self.expiresAt = expiresAt
    }

    /// Says so now.
    ///
    /// - Parameters:
    ///   - lastExpiry: when the last of the tokens runs out, in milliseconds since 1970.
    ///   - age: how long tokens live at most where that isn't known, in milliseconds.
    package init(_ target: Target, now: Int64, lastExpiry: Int64?, age: Int64) {
        let end = min(max(lastExpiry ?? now + min(max(age, 0), Self.latest), now), Self.latest)
        self.init(target, revokedAt: now, expiresAt: end + Self.margin)
    }
}

/// The revocations that a node knows, by target, each until it has run out. A value without a clock.
///
/// Bounded: where there is no room for another one, the one that would run out first is forgotten, and counted.
package struct RevocationTable: Sendable {
    fileprivate struct Entry: Equatable {
        var revokedAt: Int64
        var expiresAt: Int64
    }

    private let limit: Int
    private var entries: [Revocation.Target: Entry] = [:]
    /// By their ends, a heap. Places of entries that were changed since stay until they come up.
    private var ends: [(expiresAt: Int64, target: Revocation.Target)] = []
    /// Revocations that were forgotten before their time.
    package private(set) var dropped: UInt64 = 0

    package init(limit: Int = 100_000) { self.limit = max(1, limit) }

    /// How many there are.
    package var count: Int { entries.count }

    /// All of them, in no order.
    package var all: [Revocation] {
        entries.map { Revocation($0.key, revokedAt: $0.value.revokedAt, expiresAt: $0.value.expiresAt) }
    }

    /// Remembers a revocation; `false` when it says nothing new. Of two for one target the later times count.
    package mutating func insert(_ revocation: Revocation, now: Int64) -> Bool {
        removeExpired(now: now)
        guard revocation.expiresAt > now else { return false }
        let old = entries[revocation.target]
        var entry = old ?? Entry(revokedAt: .min, expiresAt: .min)
        entry.revokedAt = max(entry.revokedAt, revocation.revokedAt)
        entry.expiresAt = max(entry.expiresAt, revocation.expiresAt)
        guard entry != old else { return false }
        if old == nil, entries.count >= limit { removeFirst() }
        entries[revocation.target] = entry
        if entry.expiresAt != old?.expiresAt { push(entry.expiresAt, revocation.target) }
        if ends.count > 2 * entries.count + 1_024 { rebuild() }
        return true
    }

    /// Whether a token is revoked, by what is known of it.
    package func isRevoked(user: UserID?, tokenID: String?, issuedAt: Int64?, now: Int64) -> Bool {
        if let user, let entry = entries[.user(user)], entry.expiresAt > now {
            if issuedAt.map({ $0 <= entry.revokedAt }) ?? true { return true }
        }
        if let tokenID, let entry = entries[.token(tokenID)], entry.expiresAt > now { return true }
        return false
    }

    /// Until when a target is revoked, and since when; `nil` when it isn't.
    package subscript(target: Revocation.Target) -> Revocation? {
        entries[target].map { Revocation(target, revokedAt: $0.revokedAt, expiresAt: $0.expiresAt) }
    }

    /// Lengthens what revokes a token that lives longer: it would be good again. Returns what has changed.
    ///
    /// - Parameters:
    ///   - issuedAt: when it was issued. Of a user's tokens that don't say so nothing is lengthened, since new ones look
    ///     as old ones do, and would keep the user out for good.
    ///   - least: what ends earlier is lengthened, in milliseconds since 1970.
    ///   - end: until then.
    package mutating func lengthen(
        user: UserID?, tokenID: String?, issuedAt: Int64?, ifBefore least: Int64, to end: Int64, now: Int64
    ) -> [Revocation] {
        var changed: [Revocation] = []
        let targets = [issuedAt == nil ? nil : user.map { Revocation.Target.user($0) }, tokenID.map { .token($0) }]
        for case let target? in targets {
            guard let entry = entries[target], entry.expiresAt > now, entry.expiresAt < least else { continue }
            if case .user = target, let issuedAt, issuedAt > entry.revokedAt { continue }
            let longer = Revocation(target, revokedAt: entry.revokedAt, expiresAt: end)
            if insert(longer, now: now) { changed.append(longer) }
        }
        return changed
    }

    /// All of them in slices, in no order: the table as it is now, whatever becomes of it.
    package var slices: Slices { Slices(entries: entries, next: entries.startIndex) }

    /// See ``RevocationTable/slices``.
    package struct Slices: Sendable {
        fileprivate let entries: [Revocation.Target: Entry]
        fileprivate var next: [Revocation.Target: Entry].Index

        /// The next ones, so many at most; none behind the last.
        package mutating func take(_ limit: Int) -> [Revocation] {
            var slice: [Revocation] = []
            while slice.count < limit, next != entries.endIndex {
                let (target, entry) = entries[next]
                slice.append(Revocation(target, revokedAt: entry.revokedAt, expiresAt: entry.expiresAt))
                entries.formIndex(after: &next)
            }
            return slice
        }
    }

    // MARK: Ends

    private mutating func removeExpired(now: Int64) {
        while let first = ends.first, first.expiresAt <= now {
            pop()
            if entries[first.target]?.expiresAt == first.expiresAt { entries[first.target] = nil }
        }
    }

    private mutating func removeFirst() {
        while let first = ends.first {
            pop()
            guard entries[first.target]?.expiresAt == first.expiresAt else { continue }
            entries[first.target] = nil
            dropped += 1
            return
        }
    }

    private mutating func rebuild() {
        // Sorted is a heap.
        ends = entries.map { ($0.value.expiresAt, $0.key) }.sorted { $0.expiresAt < $1.expiresAt }
    }

    private mutating func push(_ expiresAt: Int64, _ target: Revocation.Target) {
        ends.append((expiresAt, target))
        var child = ends.count - 1
        while child > 0, ends[(child - 1) / 2].expiresAt > ends[child].expiresAt {
            ends.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func pop() {
        ends.swapAt(0, ends.count - 1)
        ends.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < ends.count {
                if ends[child].expiresAt < ends[least].expiresAt { least = child }
            }
            guard least != parent else { return }
            ends.swapAt(parent, least)
            parent = least
        }
    }
}
