import ConduitAuth
import ConduitCore

// Who may connect.
extension ConfigurationKey {
    static let auth: [ConfigurationKey] = [
        ConfigurationKey(
            "auth.open", .boolean, default: "false",
            "Whether a node without authentication listens on http.host all the same, and not on loopback only."),
        ConfigurationKey(
            "auth.anonymous", .boolean, default: "false",
            "Whether clients without a token come in as nobody, where tokens are asked for."),
        ConfigurationKey(
            "auth.anonymous-rights", rights, default: "*=join+presence+history",
            "What clients without a token may do with rooms."),
        ConfigurationKey(
            "auth.default-rights", rights, default: "*=join+publish+presence+history",
            "What a token without the claim rooms grants."),
        ConfigurationKey(
            "auth.ca-file", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "Authorities that vouch for the servers of auth.url and auth.jwt.jwks-url (PEM); empty takes the system's."),
        ConfigurationKey(
            "auth.jwt.secret", secretText, default: "", secret: true,
            "Secret of tokens signed with HS256, with at least 48 bytes also HS384, with 64 HS512."),
        ConfigurationKey(
            "auth.jwt.previous-secret", secretText, default: "", secret: true,
            "The secret before that; its tokens are still taken."),
        ConfigurationKey(
            "auth.jwt.public-key", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "Public key or certificate of tokens signed with RS256, PS256, ES256 or EdDSA (PEM)."),
        ConfigurationKey(
            "auth.jwt.previous-public-key", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "The public key before that; its tokens are still taken."),
        ConfigurationKey(
            "auth.jwt.jwks-file", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "JSON Web Key Set with public keys; read again when it changes."),
        ConfigurationKey(
            "auth.jwt.jwks-url",
            .text(
                allowed: "an https URL, or an http URL on loopback, or empty",
                check: { $0.isEmpty || WebAddress.isSafe($0) }),
            default: "", "Where a JSON Web Key Set is fetched from."),
        ConfigurationKey(
            "auth.jwt.jwks-refresh", .duration(1_000...86_400_000), default: "10m",
            "How often the key set is fetched; a token with an unknown key fetches it at once, at most every 10 s."),
        ConfigurationKey(
            "auth.jwt.algorithms",
            .list(
                allowed: TokenAlgorithm.allCases.map(\.rawValue).joined(separator: ", "),
                check: { TokenAlgorithm(rawValue: $0) != nil }),
            default: "[]", "Algorithms that are taken; empty takes all that the keys can do."),
        ConfigurationKey(
            "auth.jwt.issuer", .text(allowed: "text without control characters", check: isPlain), default: "",
            "What the claim iss must be; empty takes any."),
        ConfigurationKey(
            "auth.jwt.audience", .list(allowed: "texts without control characters", check: isPlain), default: "[]",
            "One of these the claim aud must name; empty takes any."),
        ConfigurationKey(
            "auth.jwt.leeway", .duration(0...600_000), default: "10s", "How far clocks may be apart."),
        ConfigurationKey(
            "auth.jwt.require-expiry", .boolean, default: "true", "Whether tokens must have an end (exp)."),
        ConfigurationKey(
            "auth.url",
            .text(allowed: "an http or https URL, or empty", check: { $0.isEmpty || WebAddress.isWeb($0) }),
            default: "", "The application's own server that is asked who a client is."),
        ConfigurationKey(
            "auth.url-asks",
            .list(allowed: "connect, join, publish", check: { HookConfiguration.Ask(rawValue: $0) != nil }),
            default: "connect", "What it is asked about."),
        ConfigurationKey(
            "auth.url-secret", .text(allowed: "visible ASCII characters", check: isToken), default: "", secret: true,
            "Goes with every question as a bearer token, so that the server knows who asks."),
        ConfigurationKey(
            "auth.url-timeout", .duration(10...60_000), default: "2s", "An answer must be complete by then."),
        ConfigurationKey(
            "auth.url-concurrency", .integer(1...10_000), default: "64",
            "Most questions at once; four times as many may wait, more are refused with 503."),
        ConfigurationKey(
            "auth.url-breaker-failures", .integer(1...1_000_000), default: "5",
            "Failures in a row after which the server is not asked for a while."),
        ConfigurationKey(
            "auth.url-breaker-pause", .duration(10...3_600_000), default: "5s",
            "How long it is not asked then; after that one question tries."),
    ]

    private static let rights = Kind.list(
        allowed: "pattern=right+right, with the rights join, publish, presence and history",
        check: { RoomRights.Grant(text: $0) != nil })

    private static let secretText = Kind.text(
        allowed: "at least \(TokenConfiguration.leastSecretBytes) bytes without control characters, or empty",
        check: { $0.isEmpty || ($0.utf8.count >= TokenConfiguration.leastSecretBytes && isPlain($0)) })
}
