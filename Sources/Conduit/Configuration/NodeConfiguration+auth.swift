import ConduitAdmin
import ConduitAuth
import ConduitCore
import ConduitGateway
import Foundation

// Who may connect.
extension NodeConfiguration {
    static func auth(_ values: ConfigurationValues) -> AuthConfiguration {
        var auth = AuthConfiguration()
        auth.isOpen = values.boolean("auth.open")
        auth.allowsAnonymous = values.boolean("auth.anonymous")
        auth.anonymousRights = rights(values.list("auth.anonymous-rights"))
        auth.defaultRights = rights(values.list("auth.default-rights"))
        auth.caFile = values.text("auth.ca-file")
        auth.jwt.secret = values.text("auth.jwt.secret")
        auth.jwt.previousSecret = values.text("auth.jwt.previous-secret")
        auth.jwt.publicKeyFile = values.text("auth.jwt.public-key")
        auth.jwt.previousPublicKeyFile = values.text("auth.jwt.previous-public-key")
        auth.jwt.jwksFile = values.text("auth.jwt.jwks-file")
        auth.jwt.jwksURL = values.text("auth.jwt.jwks-url")
        auth.jwt.jwksRefresh = .milliseconds(values.milliseconds("auth.jwt.jwks-refresh"))
        auth.jwt.algorithms = Set(values.list("auth.jwt.algorithms").compactMap { TokenAlgorithm(rawValue: $0) })
        auth.jwt.issuer = values.text("auth.jwt.issuer")
        auth.jwt.audience = values.list("auth.jwt.audience")
        auth.jwt.leeway = .milliseconds(values.milliseconds("auth.jwt.leeway"))
        auth.jwt.requiresExpiry = values.boolean("auth.jwt.require-expiry")
        if let url = values.given("auth.url") {
            var hook = HookConfiguration(url: url)
            hook.asks = Set(values.list("auth.url-asks").compactMap { HookConfiguration.Ask(rawValue: $0) })
            hook.secret = values.text("auth.url-secret")
            hook.timeout = .milliseconds(values.milliseconds("auth.url-timeout"))
            hook.concurrency = values.integer("auth.url-concurrency")
            hook.breakerFailures = values.integer("auth.url-breaker-failures")
            hook.breakerPause = .milliseconds(values.milliseconds("auth.url-breaker-pause"))
            auth.hook = hook
        }
        return auth
    }

    /// The address that the public port listens on: `http.host`, but loopback for a node that lets anybody in and
    /// wasn't told that this is meant.
    package func listeningHost(isAuthenticated: Bool) -> String {
        guard !isAuthenticated, !auth.isOpen, !AdminConfiguration.isLoopback(gateway.host) else { return gateway.host }
        return gateway.host.contains(":") ? "::1" : "127.0.0.1"
    }

    /// Whose pages may connect to a node that lets anybody in. On loopback the machine's own browser is the way in for
    /// strangers, so a name that anybody can make resolve to loopback is none of the node's.
    var openOrigins: OriginPolicy {
        let isGuarded = !auth.isOpen && gateway.origins.isSameHost
        return isGuarded ? .sameLoopbackHost : gateway.origins
    }

    /// What an operator must know of a node without authentication, in one line.
    package var openNotice: String {
        let what =
            "this node is OPEN: no authentication is configured, so anybody who reaches it may join and publish to any "
            + "room and broadcast to everybody"
        let host = listeningHost(isAuthenticated: false)
        let place =
            if host != gateway.host {
                "; it listens on \(host) only, not on \(gateway.host), until tokens (auth.jwt.*) or a server that is "
                    + "asked (auth.url) are configured, or auth.open says that this is meant"
            } else if AdminConfiguration.isLoopback(host) {
                "; only this machine can reach it"
            } else { "; auth.open lets it listen on \(host) all the same" }
        return what + place
    }

    /// What holds for the port of a node that lets anybody in.
    mutating func applyOpenRules() {
        let (host, origins) = (listeningHost(isAuthenticated: false), openOrigins)
        gateway.host = host
        gateway.origins = origins
    }

    /// What an operator must know of tokens that never end, in one line; `nil` when there are none.
    package var endlessTokensNotice: String? {
        guard auth.jwt.isConfigured, !auth.jwt.requiresExpiry else { return nil }
        return "tokens without an end are taken (auth.jwt.require-expiry is off): a revocation is remembered for "
            + "auth.revocation-age, and such a token that nobody shows in that time is good again"
    }

    /// `nil` for everything: then nobody has to look.
    private static func rights(_ texts: [String]) -> RoomRights? {
        // Each entry was checked by the same rules.
        let rights = RoomRights(texts: texts) ?? .none
        return rights.grantsEverything ? nil : rights
    }

    static func findContradictionsOfAuth(in values: inout ConfigurationValues) {
        let auth = auth(values)
        let keys = ["auth.jwt.secret", "auth.jwt.public-key", "auth.jwt.jwks-file", "auth.jwt.jwks-url"]
        for name in ["secret", "public-key"] where values.given("auth.jwt.previous-\(name)") != nil {
            guard values.given("auth.jwt.\(name)") == nil else { continue }
            values.contradiction(
                "auth.jwt.previous-\(name)", "auth.jwt.\(name)",
                message: "auth.jwt.previous-\(name) needs auth.jwt.\(name)")
        }
        if values.given("auth.jwt.jwks-file") != nil, values.given("auth.jwt.jwks-url") != nil {
            values.contradiction(
                "auth.jwt.jwks-file", "auth.jwt.jwks-url",
                message: "auth.jwt.jwks-file and auth.jwt.jwks-url can't be set both")
        }
        if !auth.jwt.isConfigured {
            let needy = [
                ("auth.jwt.issuer", auth.jwt.issuer.isEmpty), ("auth.jwt.audience", auth.jwt.audience.isEmpty),
                ("auth.jwt.algorithms", auth.jwt.algorithms.isEmpty),
            ]
            for (name, isEmpty) in needy where !isEmpty {
                values.contradiction(name, message: "\(name) needs a key: one of \(keys.joined(separator: ", "))")
            }
        }
        findContradictionsOfAlgorithms(in: &values, auth)
        if auth.hook == nil, values.given("auth.url-secret") != nil {
            values.contradiction("auth.url-secret", "auth.url", message: "auth.url-secret needs auth.url")
        }
        if auth.allowsAnonymous, !auth.isConfigured {
            values.contradiction(
                "auth.anonymous",
                message: "auth.anonymous needs tokens or auth.url; without, everybody comes in anyway")
        }
        if auth.allowsAnonymous, auth.hook?.asks.contains(.connect) ?? false {
            values.contradiction(
                "auth.anonymous", "auth.url-asks",
                message: "auth.anonymous and auth.url-asks with connect can't be set both: "
                    + "the server of auth.url decides about clients without a token")
        }
        if let hook = auth.hook, !hook.asks.contains(.connect), !auth.jwt.isConfigured, !auth.allowsAnonymous {
            values.contradiction(
                "auth.url-asks", "auth.url",
                message: "nobody could connect: auth.url-asks without connect needs a key for tokens")
        }
        if let file = values.given("auth.ca-file"), !FileManager.default.isReadableFile(atPath: file) {
            values.contradiction("auth.ca-file", message: "\(ConfigurationKey.quoted(file)) can't be read")
        }
        if let problem = auth.jwt.problem(), !values.problems.contains(where: { $0.key == problem.key }) {
            values.contradiction(problem.key, message: problem.message)
        }
    }

    /// An algorithm that no key can do would never be taken.
    private static func findContradictionsOfAlgorithms(in values: inout ConfigurationValues, _ auth: AuthConfiguration)
    {
        let hasSet = !auth.jwt.jwksFile.isEmpty || !auth.jwt.jwksURL.isEmpty
        for algorithm in auth.jwt.algorithms.sorted(by: { $0.rawValue < $1.rawValue }) where auth.jwt.isConfigured {
            let isPossible =
                algorithm.isSymmetric
                ? auth.jwt.secret.utf8.count >= algorithm.leastSecretBytes : hasSet || !auth.jwt.publicKeyFile.isEmpty
            guard !isPossible else { continue }
            let needed =
                algorithm.isSymmetric
                ? "auth.jwt.secret with at least \(algorithm.leastSecretBytes) bytes" : "a public key or a key set"
            values.contradiction(
                "auth.jwt.algorithms", message: "auth.jwt.algorithms has \(algorithm.rawValue), which needs \(needed)")
        }
    }
}
