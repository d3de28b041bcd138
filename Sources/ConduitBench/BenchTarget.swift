/// Where a run connects to: a `ws://` or `wss://` URL, taken apart.
package struct BenchTarget: Sendable, Hashable, CustomStringConvertible {
    /// TLS.
    package let isSecure: Bool
    /// A name or address, without brackets.
    package let host: String
    package let port: Int
    /// Path and query; `/ws` when the URL has none.
    package let path: String

    /// `nil` for anything that is not such a URL. Names and passwords in it are refused: tokens have an option.
    package init?(_ text: String) {
        guard let colon = text.range(of: "://") else { return nil }
        switch text[..<colon.lowerBound].lowercased() {
        case "ws": self.isSecure = false
        case "wss": self.isSecure = true
        default: return nil
        }
        let rest = text[colon.upperBound...]
        // It becomes the first line of a request: nothing but visible ASCII may stand there.
        guard rest.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }) else { return nil }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        var authority = rest[..<end]
        let path = String(rest[end...])
        self.path = path.isEmpty ? "/ws" : path.hasPrefix("?") ? "/ws" + path : path

        guard !authority.contains("@") else { return nil }
        var port = isSecure ? 443 : 80
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { return nil }
            self.host = String(authority[authority.index(after: authority.startIndex)..<close])
            authority = authority[authority.index(after: close)...]
            guard authority.isEmpty || authority.hasPrefix(":") else { return nil }
        } else {
            let stop = authority.firstIndex(of: ":") ?? authority.endIndex
            self.host = String(authority[..<stop])
            authority = authority[stop...]
        }
        if authority.hasPrefix(":") {
            guard let number = Int(authority.dropFirst()), (1...65_535).contains(number) else { return nil }
            port = number
        }
        guard !host.isEmpty else { return nil }
        self.port = port
    }

    /// `host:port` as the `Host` header has it.
    package var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    package var description: String { "\(isSecure ? "wss" : "ws")://\(authority)\(path)" }
}

extension String {
    /// The first occurrence of a text; Foundation's is not at hand here.
    fileprivate func range(of text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
