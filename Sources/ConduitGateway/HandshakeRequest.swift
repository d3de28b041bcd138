import ConduitCore

/// What a client asked for when it connected: all that an authentication handler or origin rule may look at.
///
/// Its description leaves out query, headers and token, so that it can stand in a log.
public struct HandshakeRequest: Sendable, CustomStringConvertible {
    /// A secret that names the client.
    public struct Token: Sendable, Hashable, CustomStringConvertible {
        /// Where it was found.
        public enum Source: String, Sendable, CaseIterable {
            /// `Authorization: Bearer …`
            case authorization
            /// The subprotocol `conduit.token.…`
            case subprotocol
            /// `?token=…`
            case query
            /// The cookie of the configuration.
            case cookie
        }

        /// The secret.
        public let value: String
        /// Where it was found.
        public let source: Source

        /// Says where it was found, never the secret.
        public var description: String { "token from \(source.rawValue)" }
    }

    /// The path, as sent.
    public let path: String
    /// The query, percent-decoded.
    public let query: [(name: String, value: String)]
    /// The header fields, as sent.
    public let headers: [(name: String, value: String)]
    /// The client's IP address: the peer's, or what `http.trusted-proxies` say of it.
    public let remoteAddress: String?
    /// Whom the client's certificate names, where it has shown one (`http.tls-client-certificates`).
    public let clientCertificate: ClientCertificate?
    /// The token, where there is one. What a page says on purpose goes before what a browser adds by itself.
    public let token: Token?

    /// The path.
    public var description: String { path }

    /// The first value of a header field.
    public func header(_ name: String) -> String? {
        let name = name.lowercased()
        return headers.first { $0.name.lowercased() == name }?.value
    }

    /// The first value of a name in the query.
    public func query(_ name: String) -> String? {
        query.first { $0.name == name }?.value
    }

    init(
        head: RequestHead, remoteAddress: String?, tokenCookie: String, clientCertificate: ClientCertificate? = nil
    ) {
        let (path, query) = Self.split(uri: head.target)
        self.path = path
        self.query = query
        self.headers = head.headers
        self.remoteAddress = remoteAddress
        self.clientCertificate = clientCertificate
        self.token = Self.token(headers: headers, query: query, cookie: tokenCookie)
    }

    // MARK: Tokens

    /// The prefix of the subprotocol that carries a token: browsers can set no header but that one.
    static let tokenSubprotocol = "conduit.token."

    private static func token(
        headers: [(name: String, value: String)], query: [(name: String, value: String)], cookie: String
    ) -> Token? {
        func values(_ name: String) -> [String] {
            headers.filter { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name }.map(\.value)
        }
        for value in values("authorization") {
            let words = value.split(separator: " ", maxSplits: 1)
            if words.count == 2, words[0].lowercased() == "bearer" {
                let token = words[1].trimming(" ")
                if !token.isEmpty { return Token(value: String(token), source: .authorization) }
            }
        }
        for name in list(values("sec-websocket-protocol")) where name.hasPrefix(tokenSubprotocol) {
            let token = name.dropFirst(tokenSubprotocol.count)
            if !token.isEmpty { return Token(value: String(token), source: .subprotocol) }
        }
        if let value = query.first(where: { $0.name == "token" })?.value, !value.isEmpty {
            return Token(value: value, source: .query)
        }
        if !cookie.isEmpty {
            for line in values("cookie") {
                for pair in line.split(separator: ";") {
                    let parts = pair.trimming(" ").split(separator: "=", maxSplits: 1)
                    guard parts.count == 2, parts[0] == cookie else { continue }
                    let value = parts[1].trimming("\"")
                    if !value.isEmpty { return Token(value: String(value), source: .cookie) }
                }
            }
        }
        return nil
    }

    /// The elements of a comma-separated header, over all of its lines.
    static func list(_ values: [String]) -> [Substring] {
        values.flatMap { $0.split(separator: ",") }.map { $0.trimming(" \t") }.filter { !$0.isEmpty }
    }

    // MARK: The target

    /// Takes a request target apart; what stands behind `#` should not be there and is dropped.
    static func split(uri: String) -> (path: String, query: [(name: String, value: String)]) {
        let target = uri.prefix { $0 != "#" }
        guard let mark = target.firstIndex(of: "?") else { return (String(target), []) }
        let pairs = target[target.index(after: mark)...].split(separator: "&")
        let query = pairs.map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (name: percentDecoded(parts[0]), value: parts.count == 2 ? percentDecoded(parts[1]) : "")
        }
        return (String(target[..<mark]), query)
    }

    /// `%41` is A and `+` is a space; a `%` without two digits stays as it is.
    private static func percentDecoded(_ text: Substring) -> String {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else {
            return String(text)
        }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
                let high = bytes[index + 1].hexDigitValue, let low = bytes[index + 2].hexDigitValue
            {
                result.append(high << 4 | low)
                index += 3
            } else {
                result.append(bytes[index] == UInt8(ascii: "+") ? UInt8(ascii: " ") : bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension Substring {
    /// Without the characters of `set` at both ends.
    fileprivate func trimming(_ set: String) -> Substring {
        var text = self
        while let first = text.first, set.contains(first) { text.removeFirst() }
        while let last = text.last, set.contains(last) { text.removeLast() }
        return text
    }
}
