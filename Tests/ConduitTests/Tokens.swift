import Conduit
import Synchronization

/// Tokens that a test makes up, and what each says: in place of an issuer.
final class Tokens: Sendable {
    private let known = Mutex<[String: Identity]>([:])

    subscript(token: String) -> Identity? {
        get { known.withLock { $0[token] } }
        set { known.withLock { $0[token] = newValue } }
    }

    var authenticate: AuthenticationHandler {
        { request in request.token.flatMap { self[$0.value] } }
    }

    /// Takes new tokens of connected clients.
    var hooks: HubHooks {
        var hooks = HubHooks()
        hooks.refresh = { token, _ in
            guard let identity = self[token] else { throw AuthenticationError("no such token") }
            return identity
        }
        return hooks
    }
}

extension Identity {
    /// What a token says, for tests.
    static func token(
        _ user: String, _ grants: [String: RoomRights.Rights]? = nil, expiresAt: Int64? = nil, issuedAt: Int64? = nil,
        id: String? = nil, rooms: [String] = []
    ) -> Identity {
        var identity = Identity(user: UserID(user))
        identity.rights = grants.map { RoomRights($0.map { RoomRights.Grant($0.key, $0.value) }) }
        identity.expiresAt = expiresAt
        identity.issuedAt = issuedAt
        identity.tokenID = id
        identity.rooms = rooms.compactMap { RoomName($0) }
        return identity
    }
}
