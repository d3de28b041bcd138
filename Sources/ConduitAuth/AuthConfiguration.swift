public import ConduitCore

/// Who may connect, and what those may do who bring no word on it.
///
/// With neither keys nor a hook a node is open: anybody may do anything, and it listens on loopback only unless
/// ``isOpen`` says that this is meant.
public struct AuthConfiguration: Sendable {
    /// Whether a node without authentication may be reached by other machines.
    public var isOpen = false
    /// Whether clients without a token come in as nobody, where tokens are asked for.
    public var allowsAnonymous = false
    /// What clients without a token may do with rooms.
    public var anonymousRights: RoomRights? = RoomRights([.init("*", [.join, .presence, .history])])
    /// What a token without the claim `rooms` grants; `nil` for as much as the namespaces let anybody.
    public var defaultRights: RoomRights?
    /// Signed tokens.
    public var jwt = TokenConfiguration()
    /// The application's own server.
    public var hook: HookConfiguration?
    /// A file of certificates (PEM) that vouch for the servers that are asked; empty takes the system's.
    public var caFile = ""

    /// Nothing is asked for.
    public init() {}

    /// Whether anything says who may connect.
    public var isConfigured: Bool { jwt.isConfigured || hook != nil }

    /// Whether the hook decides about those who connect.
    var hookDecidesOnConnect: Bool { hook?.asks.contains(.connect) ?? false }
}

/// Which JSON Web Tokens (RFC 7519) are taken.
public struct TokenConfiguration: Sendable {
    /// The secret of HS256, from 48 bytes also of HS384, from 64 of HS512; at least 32 bytes, empty for none.
    public var secret = ""
    /// The secret before that: still taken while tokens of its time live.
    public var previousSecret = ""
    /// A file with the public key of RS256 and PS256, ES256 or EdDSA (PEM); empty for none.
    public var publicKeyFile = ""
    /// The public key before that.
    public var previousPublicKeyFile = ""
    /// A file with a JSON Web Key Set (RFC 7517), read again when it changes.
    public var jwksFile = ""
    /// Where a JSON Web Key Set is fetched from: https, or http on loopback.
    public var jwksURL = ""
    /// How often it is fetched.
    public var jwksRefresh = Duration.seconds(600)
    /// The algorithms that are taken; empty takes all that the keys can do. Never the token decides.
    public var algorithms: Set<TokenAlgorithm> = []
    /// What `iss` must be; empty takes any.
    public var issuer = ""
    /// One of which `aud` must name; empty takes any.
    public var audience: [String] = []
    /// How far clocks may be apart.
    public var leeway = Duration.seconds(10)
    /// Whether tokens must have an end.
    public var requiresExpiry = true

    /// No keys: tokens are not asked for.
    public init() {}

    /// Whether there is a key, or a place to look for some.
    public var isConfigured: Bool {
        !(secret.isEmpty && previousSecret.isEmpty && publicKeyFile.isEmpty && previousPublicKeyFile.isEmpty
            && jwksFile.isEmpty && jwksURL.isEmpty)
    }

    /// Least bytes of a secret.
    package static let leastSecretBytes = TokenAlgorithm.hs256.leastSecretBytes
}

/// How the application's own server is asked.
public struct HookConfiguration: Sendable {
    /// What it is asked about.
    public enum Ask: String, Sendable, CaseIterable {
        case connect
        case join
        case publish
    }

    /// Where it is.
    public var url: String
    /// What it is asked about.
    public var asks: Set<Ask> = [.connect]
    /// An answer must be complete this long after its question, the wait for a place included.
    public var timeout = Duration.seconds(2)
    /// Most questions at once; four times as many may wait.
    public var concurrency = 64
    /// Goes with every question as a bearer token, so that the server knows who asks.
    public var secret = ""
    /// Failures in a row after which nothing is asked for a while.
    public var breakerFailures = 5
    /// How long nothing is asked then; after that one question tries.
    public var breakerPause = Duration.seconds(5)
    /// Largest answer in bytes.
    public var answerBytes = 65_536

    /// Asks a server about those who connect.
    public init(url: String) { self.url = url }
}
