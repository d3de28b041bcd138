package import ConduitCore
import ConduitTelemetry
import NIOConcurrencyHelpers
import Synchronization

/// The tokens that are good no more, as one node knows them; from any thread.
///
/// Asked at each handshake, when a client is admitted and when it refreshes its token: never another process, so it holds
/// while Redis is away, with what was known by then.
package final class Revocations: Sendable {
    private struct State {
        var table = RevocationTable()
        /// Those that were lengthened here and of which nobody else knows yet.
        var lengthened: Set<Revocation.Target> = []
    }

    /// Not a `Mutex`, whose futex the thread sanitizer doesn't see on Linux (swiftlang/swift#88440).
    private let state = NIOLockedValueBox(State())
    /// Nobody takes the lock as long as nothing was ever revoked.
    private let isEmpty = Atomic(true)
    private let hasLengthened = Atomic(false)
    /// How long a revocation is remembered that doesn't say how long, in milliseconds.
    private let age: Int64

    package init(ageMilliseconds: Int64 = HubConfiguration().revocationAgeMilliseconds) {
        self.age = min(max(0, ageMilliseconds), Revocation.latest)
    }

    /// Remembers revocations. Returns those that say something new.
    @discardableResult
    package func add(_ revocations: [Revocation]) -> [Revocation] {
        let now = WallClock.milliseconds
        return state.withLockedValue { state in
            let new = revocations.filter { state.table.insert($0, now: now) }
            isEmpty.store(state.table.count == 0, ordering: .releasing)
            return new
        }
    }

    /// Whether the token that an identity came with was revoked. A token that lives longer than its revocation lengthens
    /// that: see ``takeLengthened()``.
    package func isRevoked(_ identity: Identity) -> Bool {
        guard !isEmpty.load(ordering: .acquiring), identity.user != nil || identity.tokenID != nil else { return false }
        let now = WallClock.milliseconds
        let issuedAt = identity.issuedNotBefore
        return state.withLockedValue { state in
            guard
                state.table.isRevoked(user: identity.user, tokenID: identity.tokenID, issuedAt: issuedAt, now: now)
            else { return false }
            // One without an end is remembered anew as it is shown, not each time.
            let end = Revocation.margin + (identity.expiresAt.map { min($0, Revocation.latest) } ?? now + age)
            let least = identity.expiresAt == nil ? end - age / 2 : end
            let changed = state.table.lengthen(
                user: identity.user, tokenID: identity.tokenID, issuedAt: issuedAt, ifBefore: least, to: end, now: now)
            if !changed.isEmpty {
                state.lengthened.formUnion(changed.map(\.target))
                hasLengthened.store(true, ordering: .relaxed)
            }
            return true
        }
    }

    /// Those that were lengthened since the last time, for the other nodes and Redis.
    package func takeLengthened() -> [Revocation] {
        guard hasLengthened.load(ordering: .relaxed) else { return [] }
        return state.withLockedValue { state in
            hasLengthened.store(false, ordering: .relaxed)
            defer { state.lengthened = [] }
            return state.lengthened.compactMap { state.table[$0] }
        }
    }

    /// All of them, in no order.
    package var all: [Revocation] { state.withLockedValue { $0.table.all } }

    /// All of them, in slices: nobody waits while they are looked through.
    package var slices: RevocationTable.Slices { state.withLockedValue { $0.table.slices } }

    /// How many there are, and how many were forgotten before their time because there were too many.
    package var figures: (count: Int, dropped: UInt64) { state.withLockedValue { ($0.table.count, $0.table.dropped) } }
}
