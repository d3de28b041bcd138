import ConduitGateway

// Who may come in through the public port, and how many. They follow the settings of the same group in the table.
extension ConfigurationKey {
    static let httpDoor: [ConfigurationKey] = [
        ConfigurationKey(
            "http.tls-minimum", .choice(ServerTLS.Version.allCases.map(\.rawValue)), default: "1.2",
            "Oldest version of TLS that is spoken."),
        ConfigurationKey(
            "http.tls-client-certificates", .choice(ServerTLS.ClientCertificates.allCases.map(\.rawValue)),
            default: "none", "Whether clients are asked for a certificate; required refuses who has none."),
        ConfigurationKey(
            "http.tls-client-ca", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "Certificates (PEM) that vouch for clients' certificates."),
        ConfigurationKey(
            "http.tls-reload-interval", .duration(0...86_400_000), default: "10s",
            "How often the files of TLS are looked at, to take a new certificate; 0 for on SIGHUP only."),
        ConfigurationKey(
            "http.trusted-proxies",
            .list(allowed: "addresses and networks, such as 10.0.0.0/8, 2001:db8::/32, 192.0.2.7", check: isNetwork),
            default: "[]",
            "Proxies whose Forwarded, X-Forwarded-For and PROXY headers tell a client's address; nobody else's do."),
        ConfigurationKey(
            "http.proxy-protocol", .boolean, default: "false",
            "Whether trusted proxies must begin each connection with a PROXY header (version 1 or 2)."),
    ]

    static let limitsDoor: [ConfigurationKey] = [
        ConfigurationKey(
            "limits.connections-per-address", .integer(0...10_000_000), default: "0",
            "Most connections of one address (of IPv6: one /64) to this node, more get 429; 0 for no limit."),
        ConfigurationKey(
            "limits.connections-per-user", .integer(0...10_000_000), default: "0",
            "Most connections of one user to this node, more are closed with 3504; 0 for no limit."),
        ConfigurationKey(
            "limits.handshakes-per-second", .integer(0...10_000_000), default: "0",
            "Upgrades that this node lets in a second, and as many at once, more get 503; 0 for no limit."),
        ConfigurationKey(
            "limits.handshakes-per-second-per-address", .integer(0...10_000_000), default: "0",
            "Upgrades of one address (of IPv6: one /64) a second, and as many at once, more get 429; 0 for no limit."),
        ConfigurationKey(
            "limits.handshaking", .integer(1...10_000_000), default: "4096",
            "Most connections that are neither upgraded nor answered; beyond it the oldest are cut."),
        ConfigurationKey(
            "limits.memory-bytes", .integer(0...1_099_511_627_776), default: "0",
            "Resident memory above which no new clients are taken; 0 is 80 % of the control group's limit, if any."),
    ]

    @Sendable private static func isNetwork(_ text: String) -> Bool { TrustedProxies.isValid(entry: text) }
}
