/// Which web pages may open a connection: browsers name the page's origin, and nothing else protects a cookie.
///
/// A request without `Origin` is not from a browser's page and passes.
public struct OriginPolicy: Sendable, Equatable {
    private enum Rule: Sendable, Equatable {
        case sameHost
        case sameLoopbackHost
        case any
        case list([Pattern])
        case custom(CustomRule)
    }

    /// The application's own; the same only as itself.
    private final class CustomRule: Sendable, Equatable {
        let allows: @Sendable (_ origin: String, _ request: HandshakeRequest) -> Bool

        init(_ allows: @escaping @Sendable (_ origin: String, _ request: HandshakeRequest) -> Bool) {
            self.allows = allows
        }

        static func == (one: CustomRule, other: CustomRule) -> Bool { one === other }
    }

    private struct Pattern: Sendable, Hashable {
        let scheme: String
        /// Without the `*.` of a wildcard, but with its dot.
        let host: String
        let isWildcard: Bool
        let port: Int
    }

    private let rule: Rule

    private init(_ rule: Rule) { self.rule = rule }

    /// Only pages that came from the host (and port) that the request is for.
    public static let sameHost = OriginPolicy(.sameHost)
    /// The same, and that host must be one that means this machine whoever resolves its name: `localhost`, 127.0.0.0/8, ::1.
    ///
    /// For ports that ask nobody who they are because only this machine reaches them. Its browser does too, and a page can
    /// have its own name resolve to 127.0.0.1 (DNS rebinding): then `Origin` and `Host` agree, but on that name.
    public static let sameLoopbackHost = OriginPolicy(.sameLoopbackHost)
    /// Every page.
    public static let any = OriginPolicy(.any)

    /// Your own rule. It is asked on an event loop and must not block.
    public static func custom(
        _ rule: @escaping @Sendable (_ origin: String, _ request: HandshakeRequest) -> Bool
    ) -> OriginPolicy {
        OriginPolicy(.custom(CustomRule(rule)))
    }

    /// Only the origins in a list: `https://app.example.com`, `https://*.example.com` (any name below it, not itself),
    /// `http://localhost:3000`, or `*` for every page. An empty list means ``sameHost``.
    ///
    /// - Returns: `nil` when an entry is none of these.
    public static func list(_ entries: [String]) -> OriginPolicy? {
        if entries.isEmpty { return .sameHost }
        if entries.contains("*") { return .any }
        var patterns: [Pattern] = []
        for entry in entries {
            guard let pattern = pattern(entry) else { return nil }
            patterns.append(pattern)
        }
        return OriginPolicy(.list(patterns))
    }

    /// Whether an entry is one that ``list(_:)`` takes.
    public static func isValid(entry: String) -> Bool { entry == "*" || pattern(entry) != nil }

    /// Whether this is ``sameHost``, which is what a node has that was told nothing.
    package var isSameHost: Bool { if case .sameHost = rule { true } else { false } }

    /// Whether the page that sent `request` may connect.
    public func allows(_ request: HandshakeRequest) -> Bool {
        let origins = request.headers.filter { $0.name.lowercased() == "origin" }
        guard let origin = origins.first?.value else { return true }
        if case .any = rule { return true }
        guard origins.count == 1, let (scheme, host, port) = Self.split(origin) else { return false }
        switch rule {
        case .any:
            return true
        case .sameHost, .sameLoopbackHost:
            guard let target = request.header("host"), let (targetHost, targetPort) = Self.hostAndPort(target[...])
            else {
                return false
            }
            if case .sameLoopbackHost = rule, !Self.isLoopback(targetHost) { return false }
            // A proxy that ends TLS passes the Host on without its port: then the origin's own default counts.
            return targetHost == host && (targetPort ?? Self.defaultPort(scheme)) == port
        case .list(let patterns):
            return patterns.contains { pattern in
                guard pattern.scheme == scheme, pattern.port == port else { return false }
                guard pattern.isWildcard else { return pattern.host == host }
                return host.hasSuffix(pattern.host) && host.utf8.count > pattern.host.utf8.count
            }
        case .custom(let rule):
            return rule.allows(origin, request)
        }
    }

    // MARK: Taking origins apart

    private static func pattern(_ entry: String) -> Pattern? {
        guard let separator = entry.firstRange(of: "://") else { return nil }
        let rest = entry[separator.upperBound...]
        let isWildcard = rest.hasPrefix("*.")
        guard
            let (scheme, host, port) = split(
                isWildcard ? String(entry[..<separator.upperBound] + rest.dropFirst(2)) : entry)
        else { return nil }
        return Pattern(scheme: scheme, host: isWildcard ? "." + host : host, isWildcard: isWildcard, port: port)
    }

    private static func split(_ origin: String) -> (scheme: String, host: String, port: Int)? {
        guard let separator = origin.firstRange(of: "://") else { return nil }
        let scheme = origin[..<separator.lowerBound].lowercased()
        guard !scheme.isEmpty, scheme.utf8.allSatisfy(isSchemeByte),
            let (host, port) = hostAndPort(origin[separator.upperBound...]), let port = port ?? defaultPort(scheme)
        else { return nil }
        return (scheme, host, port)
    }

    private static func isSchemeByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"),
            UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    private static func defaultPort(_ scheme: String) -> Int? {
        switch scheme {
        case "http", "ws": 80
        case "https", "wss": 443
        // Pages of apps and extensions: there is no port, and none may be named.
        default: 0
        }
    }

    /// `host`, `host:port`, `[v6]` or `[v6]:port`, in lower case.
    private static func hostAndPort(_ text: Substring) -> (host: String, port: Int?)? {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[...end]
            rest = text[text.index(after: end)...]
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
        }
        guard !host.isEmpty, host.utf8.allSatisfy(isHostByte) else { return nil }
        guard !rest.isEmpty else { return (host.lowercased(), nil) }
        let digits = rest.dropFirst()
        guard rest.hasPrefix(":"), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = Int(digits), (1...65_535).contains(port)
        else { return nil }
        return (host.lowercased(), port)
    }

    /// Addresses, and the one name that means them by standard (RFC 6761).
    private static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "[::1]" { return true }
        return host.hasPrefix("127.") && IPAddress(host) != nil
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ":"):
            true
        default: false
        }
    }
}
