import ConduitCore
import ConduitHub
import JWTKit

/// The claims of a client's token.
struct TokenClaims: JWTPayload {
    /// The user.
    var sub: String?

    func verify(using algorithm: some JWTAlgorithm) async throws {}
}
