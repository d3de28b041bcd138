package import ConduitCore
import ConduitTelemetry
import Synchronization

/// The tokens that are good no more, as one node knows them; from any thread.
///
/// Asked at each handshake, when a client is admitted and when it refreshes its token: never another process, so it holds
/// while Redis is away, with what was known by then.
package final class Revocations: Sendable {
    private let table = Mutex(RevocationTable())
    /// Nobody takes the lock as long as nothing was ever revoked.
    private let isEmpty = Atomic(true)

    package init() {}

    /// Remembers revocations. Returns those that say something new.
    @discardableResult
    package func add(_ revocations: [Revocation]) -> [Revocation] {
        let now = WallClock.milliseconds
        return table.withLock { table in
            let new = revocations.filter { table.insert($0, now: now) }
            isEmpty.store(table.count == 0, ordering: .releasing)
            return new
        }
    }

    /// Whether the token that an identity came with was revoked.
    package func isRevoked(_ identity: Identity) -> Bool {
        guard !isEmpty.load(ordering: .acquiring), identity.user != nil || identity.tokenID != nil else { return false }
        let now = WallClock.milliseconds
        return table.withLock {
            $0.isRevoked(user: identity.user, tokenID: identity.tokenID, issuedAt: identity.issuedAt, now: now)
        }
    }

    /// All of them, in no order.
    package var all: [Revocation] { table.withLock { $0.all } }

    /// How many there are, and how many were forgotten before their time because there were too many.
    package var figures: (count: Int, dropped: UInt64) { table.withLock { ($0.count, $0.dropped) } }
}
