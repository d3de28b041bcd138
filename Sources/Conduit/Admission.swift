import ConduitCore
import ConduitGateway
import ConduitHub

/// What stands between the application's word on a client and the hub.
enum Admission {
    /// Refuses those whose token was revoked, by what this node knows of that.
    static func checking(
        _ authenticate: @escaping AuthenticationHandler, _ revocations: Revocations
    ) -> AuthenticationHandler {
        { request in
            guard let identity = try await authenticate(request) else { return nil }
            guard !revocations.isRevoked(identity) else { throw AuthenticationError(.revoked, "the token was revoked") }
            return identity
        }
    }

    /// The same hooks, whose errors mean for `refresh` what they mean at the handshake: an ``AuthenticationError`` refuses
    /// the token, with its words; any other error says that nobody could tell.
    static func hooks(_ hooks: HubHooks) -> HubHooks {
        guard let refresh = hooks.refresh else { return hooks }
        var hooks = hooks
        hooks.refresh = { token, current in
            do {
                return try await refresh(token, current)
            } catch let error as RequestError {
                throw error
            } catch let error as AuthenticationError {
                throw RequestError(.permissionDenied, error.message)
            } catch {
                throw RequestError(.unavailable, "nobody could tell whether the token is good")
            }
        }
        return hooks
    }
}
