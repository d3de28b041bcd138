/// Reads `redis://[user[:password]@]host[:port][/0]`, `rediss://…` (TLS) and `unix://[…@]/path`.
package struct RedisURL: Hashable, Sendable {
    package let endpoint: RedisConfiguration.Endpoint
    package let username: String?
    package let password: String?
    package let usesTLS: Bool

    package init(_ text: String) throws(RedisURLError) {
        guard let colon = text.firstRange(of: "://") else { throw .noScheme }
        let scheme = text[..<colon.lowerBound].lowercased()
        let rest = text[colon.upperBound...]
        switch scheme {
        case "redis", "rediss", "unix": break
        case "redis+sentinel", "rediss+sentinel", "sentinel", "redis-sentinel", "redis+cluster", "rediss+cluster",
            "redis-cluster":
            throw .notSupportedYet(scheme: scheme)
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
            return
        }
        guard path.isEmpty || path == "/" || path == "/0" else { throw .databaseNotSupported }
        guard !address.contains(",") else { throw .severalHosts }
        endpoint = try Self.hostAndPort(address)
        usesTLS = scheme == "rediss"
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

    private static func hostAndPort(_ address: Substring) throws(RedisURLError) -> RedisConfiguration.Endpoint {
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
        var port = 6379
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
    case notSupportedYet(scheme: String)
    case whitespace
    case hostMissing
    case invalidHost
    case invalidPort
    case severalHosts
    case databaseNotSupported
    case queryNotSupported
    case invalidPercentEncoding
    case unixPathMissing

    package var description: String {
        switch self {
        case .noScheme: "a Redis URL begins with redis://, rediss:// or unix://"
        case .unknownScheme(let scheme): "unknown scheme \"\(scheme)\": use redis://, rediss:// or unix://"
        case .notSupportedYet(let scheme): "\(scheme):// is not supported yet: use redis://, rediss:// or unix://"
        case .whitespace: "a space or control character must be percent-encoded"
        case .hostMissing: "the host is missing"
        case .invalidHost:
            "the host is not valid (an IPv6 address stands in brackets, and `/` or `@` in a password must be percent-encoded)"
        case .invalidPort:
            "the port is not a number from 1 to 65535 (`/`, `:` and `@` in a password must be percent-encoded)"
        case .severalHosts: "several hosts are not supported yet"
        case .databaseNotSupported: "only database 0 is supported (pub/sub has no databases)"
        case .queryNotSupported:
            "a query or fragment is not supported (`?` and `#` in a password must be percent-encoded)"
        case .invalidPercentEncoding: "a percent-encoded part is not valid"
        case .unixPathMissing: "a unix URL looks like unix:///path/of/redis.sock"
        }
    }
}
