import HTTPTypes

/// Who may use the admin port.
///
/// With a token, whoever sends it. Without one the port is bound to loopback, but a browser on this machine can be
/// led to it by any web page; so the `Host` must be a loopback name (no DNS rebinding), and commands must be JSON by
/// their `Content-Type`, which a page can't send to another origin without being asked first.
struct AdminGuard: Sendable {
    private let token: [UInt8]

    init(token: String) { self.token = Array(token.utf8) }

    func check(_ request: HTTPRequest, isOpen: Bool) throws(AdminError) {
        if token.isEmpty {
            guard let authority = request.authority, Self.isLoopback(authority) else { throw AdminError.wrongHost }
            return
        }
        // Probes of an orchestrator don't carry secrets, and learn no more than from the public port; the page holds
        // nothing and asks for the token itself.
        if isOpen { return }
        guard let header = request.headerFields[.authorization] else { throw AdminError.unauthorized }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer", Self.equal(Array(parts[1].utf8), token) else {
            throw AdminError.unauthorized
        }
    }

    /// Takes as long for a good guess as for a bad one; only the length can be told from the time.
    static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for (one, other) in zip(left, right) { difference |= one ^ other }
        return difference == 0
    }

    private static func isLoopback(_ authority: String) -> Bool {
        let host: Substring
        if authority.hasPrefix("[") {
            host = authority.prefix { $0 != "]" } + "]"
        } else {
            host = authority.prefix { $0 != ":" }
        }
        return AdminConfiguration.isLoopback(host.lowercased())
    }
}
