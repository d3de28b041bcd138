/// Reads `redis://[user[:password]@]host[:port][/0]`, `unix://[…@]/path`, `redis+sentinel://[…@]host[:port],…/master` and
/// `redis+cluster://[…@]host[:port],…`; with `rediss` in place of `redis` they speak TLS.
package struct RedisURL: Hashable, Sendable {
    package let endpoint: RedisConfiguration.Endpoint
    package let username: String?
    package let password: String?
    package let usesTLS: Bool
    package let topology: RedisConfiguration.Topology

    package init(_ text: String) throws(RedisURLError) {
        guard let colon = text.firstRange(of: "://") else { throw .noScheme }
        let scheme = text[..<colon.lowerBound].lowercased()
        let rest = text[colon.upperBound...]
        switch scheme {
        case "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster": break
        default: throw .unknownScheme(String(scheme.prefix(20)))
        }
        guard !text.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) else { throw .whitespace }
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else { throw .queryNotSupported }

        // A password may hold an `@` only as %40, but be kind to those who forget: the last one counts
        // before the first slash.
        let authorityEnd = rest.firstIndex(of: "/") ?? rest.endIndex
        let authority = rest[..<authorityEnd]
        let path = rest[authorityEnd...]
        let at = authority.lastIndex(of: "@")
        (username, password) = try Self.credentials(at.map { authority[..<$0] })
        let address = at.map { authority[authority.index(after: $0)...] } ?? authority

        if scheme == "unix" {
            guard address.isEmpty, path.count > 1 else { throw .unixPathMissing }
            endpoint = .unixSocket(path: try Self.percentDecoded(path))
            usesTLS = false
            topology = .single
            return
        }
        usesTLS = scheme.hasPrefix("rediss")
        if scheme.hasSuffix("+sentinel") {
            let hosts = try Self.hosts(address, defaultPort: 26379)
            let master = try Self.percentDecoded(path.dropFirst())
            guard !master.isEmpty else { throw .masterNameMissing }
            guard master.utf8.allSatisfy(Self.isOfMasterName) else { throw .invalidMasterName }
            (endpoint, topology) = (hosts[0], .sentinel(master: master, sentinels: hosts))
            return
        }
        guard path.isEmpty || path == "/" || path == "/0" else { throw .databaseNotSupported }
        if scheme.hasSuffix("+cluster") {
            let hosts = try Self.hosts(address, defaultPort: 6379)
            (endpoint, topology) = (hosts[0], .cluster(seeds: hosts))
            return
        }
        guard !address.contains(",") else { throw .severalHosts }
        endpoint = try Self.hostAndPort(address, defaultPort: 6379)
        topology = .single
    }

    /// What Sentinel allows in a name, which is what `redis.conf` can spell without quotes.
    private static func isOfMasterName(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }

    /// At least one.
    private static func hosts(
        _ address: Substring, defaultPort: Int
    ) throws(RedisURLError) -> [RedisConfiguration.Endpoint] {
        var hosts: [RedisConfiguration.Endpoint] = []
        for part in address.split(separator: ",", omittingEmptySubsequences: false) {
            let host = try hostAndPort(part, defaultPort: defaultPort)
            if !hosts.contains(host) { hosts.append(host) }
        }
        guard hosts.count <= 64 else { throw .tooManyHosts }
        return hosts
    }

    /// Several URLs separated by commas: independent servers. A comma before which no scheme begins belongs to its URL.
    package static func list(_ text: String) throws(RedisURLError) -> [RedisURL] {
        var parts: [Substring] = []
        var start = text.startIndex
        for comma in text.indices where text[comma] == "," {
            let rest = text[text.index(after: comma)...].drop { $0 == " " }
            guard rest.contains("://"),
                rest.prefix(while: { $0.isLetter || $0 == "+" || $0 == "-" }).endIndex
                    == rest.firstRange(of: "://")?.lowerBound
            else { continue }
            parts.append(text[start..<comma])
            start = rest.startIndex
        }
        parts.append(text[start...])
        var urls: [RedisURL] = []
        for part in parts {
            let url = try RedisURL(String(part.reversed().drop { $0 == " " }.reversed()))
            guard !urls.contains(where: { $0.endpoint == url.endpoint && $0.topology == url.topology }) else {
                throw .sameServerTwice
            }
            urls.append(url)
        }
        return urls
    }

    private static func credentials(
        _ userInfo: Substring?
    ) throws(RedisURLError) -> (username: String?, password: String?) {
        guard let userInfo else { return (nil, nil) }
        guard let colon = userInfo.firstIndex(of: ":") else {
            let user = try percentDecoded(userInfo)
            return (user.isEmpty ? nil : user, nil)
        }
        let user = try percentDecoded(userInfo[..<colon])
        let password = try percentDecoded(userInfo[userInfo.index(after: colon)...])
        return (user.isEmpty ? nil : user, password.isEmpty ? nil : password)
    }

    private static func hostAndPort(
        _ address: Substring, defaultPort: Int
    ) throws(RedisURLError) -> RedisConfiguration.Endpoint {
        var host = address
        var portText: Substring?
        if address.first == "[" {
            guard let close = address.firstIndex(of: "]") else { throw .invalidHost }
            host = address[address.index(after: address.startIndex)..<close]
            let tail = address[address.index(after: close)...]
            guard !host.isEmpty, host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." || $0 == "%" }) else {
                throw .invalidHost
            }
            if !tail.isEmpty {
                guard tail.first == ":" else { throw .invalidHost }
                portText = tail.dropFirst()
            }
        } else if let colon = address.firstIndex(of: ":") {
            host = address[..<colon]
            portText = address[address.index(after: colon)...]
            // An IPv6 address without brackets, or nonsense.
            guard portText?.contains(":") != true else { throw .invalidHost }
        }
        guard !host.isEmpty else { throw .hostMissing }
        guard !host.contains(where: { $0 == "[" || $0 == "]" || $0 == "\\" }) else { throw .invalidHost }
        var port = defaultPort
        if let portText {
            guard portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(portText),
                (1...65535).contains(number)
            else { throw .invalidPort }
            port = number
        }
        return .host(String(host), port: port)
    }

    private static func percentDecoded(_ text: Substring) throws(RedisURLError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
                throw .invalidPercentEncoding
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { throw .invalidPercentEncoding }
        return decoded
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

extension RedisURL: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { RedisConfiguration(self).description }
    package var debugDescription: String { description }
    /// `dump` sees no password.
    package var customMirror: Mirror { Mirror(self, children: ["url": description]) }
}

/// What is wrong with a Redis URL. The texts never repeat the URL, since it may hold a password.
package enum RedisURLError: Error, Hashable, Sendable, CustomStringConvertible {
    case noScheme
    case unknownScheme(String)
    case whitespace
    case hostMissing
    case invalidHost
    case invalidPort
    case severalHosts
    case tooManyHosts
    case masterNameMissing
    case invalidMasterName
    case databaseNotSupported
    case queryNotSupported
    case invalidPercentEncoding
    case unixPathMissing
    case sameServerTwice

    private static let schemes = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"

    package var description: String {
        switch self {
        case .noScheme: "a Redis URL begins with \(Self.schemes)"
        case .unknownScheme(let scheme): "unknown scheme \"\(scheme)\": use \(Self.schemes)"
        case .whitespace: "a space or control character must be percent-encoded"
        case .hostMissing: "the host is missing"
        case .invalidHost:
            "the host is not valid (an IPv6 address stands in brackets, and `/` or `@` in a password must be percent-encoded)"
        case .invalidPort:
            "the port is not a number from 1 to 65535 (`/`, `:` and `@` in a password must be percent-encoded)"
        case .severalHosts:
            "one server has one host: use redis+sentinel:// or redis+cluster://, or several whole URLs separated by commas"
        case .tooManyHosts: "more than 64 hosts"
        case .masterNameMissing: "the name of the master is missing: redis+sentinel://host:26379,host:26379/name"
        case .invalidMasterName: "the name of a master has letters, digits, `.`, `-` and `_` only"
        case .databaseNotSupported: "only database 0 is supported (pub/sub has no databases)"
        case .queryNotSupported:
            "a query or fragment is not supported (`?` and `#` in a password must be percent-encoded)"
        case .invalidPercentEncoding: "a percent-encoded part is not valid"
        case .sameServerTwice: "a server is named twice"
        case .unixPathMissing: "a unix URL looks like unix:///path/of/redis.sock"
        }
    }
}
