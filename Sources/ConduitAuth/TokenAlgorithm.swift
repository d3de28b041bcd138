/// A way to sign a token, by its name in RFC 7518 and RFC 8037. What isn't here is refused, `none` above all.
public enum TokenAlgorithm: String, Sendable, CaseIterable {
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"
    case rs256 = "RS256"
    case ps256 = "PS256"
    case es256 = "ES256"
    case edDSA = "EdDSA"

    /// Those with one secret for signing and verifying.
    static let symmetric: [TokenAlgorithm] = [.hs256, .hs384, .hs512]

    /// Least bytes of a secret: as many as the digest has (RFC 7518, section 3.2); 0 for algorithms without one.
    package var leastSecretBytes: Int {
        switch self {
        case .hs256: 32
        case .hs384: 48
        case .hs512: 64
        case .rs256, .ps256, .es256, .edDSA: 0
        }
    }

    /// Whether signer and verifier have the same key.
    public var isSymmetric: Bool { Self.symmetric.contains(self) }
}
