import JWTKit

/// One key and the one algorithm that it is used with.
///
/// Which algorithm that is comes from the key and the configuration. A token can only choose among these, so that a
/// public key never serves as the secret of an HMAC.
package struct VerificationKey: Sendable {
    /// The key's name (`kid`); a key without one fits every token of its algorithm.
    package let id: String?
    /// What it is used with.
    package let algorithm: TokenAlgorithm
    private let verifier: any JWTAlgorithm

    init(id: String?, algorithm: TokenAlgorithm, verifier: any JWTAlgorithm) {
        self.id = id
        self.algorithm = algorithm
        self.verifier = verifier
    }

    /// Whether it has signed the token.
    func hasSigned(_ token: SignedToken) -> Bool {
        // A signature that isn't even of the right form throws.
        (try? verifier.verify(token.signature, signs: token.signingInput)) ?? false
    }
}

/// The keys that are good now.
package struct KeySet: Sendable {
    /// Most keys that a token without `kid` is tried with: verifying costs time, and strangers send tokens.
    private static let tries = 16

    package var keys: [VerificationKey] = []

    /// The keys that a token may be signed with.
    func candidates(for algorithm: TokenAlgorithm, id: String?) -> some Sequence<VerificationKey> {
        keys.lazy.filter { $0.algorithm == algorithm && ($0.id == nil || id == nil || $0.id == id) }.prefix(Self.tries)
    }
}
