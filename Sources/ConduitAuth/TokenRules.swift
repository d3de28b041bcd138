package import ConduitGateway
package import ConduitHub
import ConduitTelemetry

/// What a token must fulfil beside its signature.
package struct TokenRules: Sendable {
    let tokens: TokenConfiguration
    let configuration: AuthConfiguration

    package init(_ configuration: AuthConfiguration) {
        self.configuration = configuration
        self.tokens = configuration.jwt
    }

    /// The algorithm, when it may be used at all.
    package func algorithm(of token: SignedToken) throws(AuthenticationError) -> TokenAlgorithm {
        guard let algorithm = TokenAlgorithm(rawValue: token.algorithm), tokens.allows(algorithm) else {
            throw AuthenticationError(.algorithm, "the token is signed in a way that is not allowed")
        }
        return algorithm
    }

    /// Finds the key that has signed the token.
    package func verify(
        _ token: SignedToken, _ algorithm: TokenAlgorithm, with keys: KeySet
    ) throws(AuthenticationError) {
        var isKnown = false
        for key in keys.candidates(for: algorithm, id: token.keyID) {
            if key.hasSigned(token) { return }
            isKnown = true
        }
        guard isKnown else {
            throw AuthenticationError(.unknownKey, "the token is signed with a key that is not known")
        }
        throw AuthenticationError(.badSignature, "the token's signature is not valid")
    }

    /// Checks the times, the issuer and the audience of claims whose signature is good, and says who it is.
    package func identity(of claims: JSONValue, now: Int64) throws(AuthenticationError) -> Identity {
        let reader = try ClaimsReader(claims)
        let leeway = Int64(tokens.leeway / .milliseconds(1))
        let expiry = try reader.time("exp")
        let begin = try reader.time("nbf")
        let issued = try reader.time("iat")
        if let expiry {
            guard now < expiry + leeway else { throw AuthenticationError(.expired, "the token has expired") }
            if let issued, issued > expiry {
                throw AuthenticationError(.badClaims, "the token's exp is before its iat")
            }
        } else if tokens.requiresExpiry {
            throw AuthenticationError(.badClaims, "the token has no exp")
        }
        if let begin, begin > now + leeway {
            throw AuthenticationError(.notYetValid, "the token is not valid yet")
        }
        if let issued, issued > now + leeway {
            throw AuthenticationError(.notYetValid, "the token was issued in the future: a clock is wrong")
        }
        // Both are read in any case, so that a wrong form is never overlooked.
        let issuer = try reader.text("iss")
        let audience = try reader.texts("aud")
        guard tokens.issuer.isEmpty || issuer == tokens.issuer else {
            throw AuthenticationError(.wrongIssuer, "the token is from another issuer")
        }
        guard tokens.audience.isEmpty || !Set(audience).isDisjoint(with: tokens.audience) else {
            throw AuthenticationError(.wrongAudience, "the token is for another audience")
        }
        var identity = try reader.identity(user: "sub", expiry: "exp", defaultRights: configuration.defaultRights)
        identity.leeway = leeway
        return identity
    }
}
