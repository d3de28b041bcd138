package import ConduitGateway

/// What a client brings along when it connects.
package struct Credentials: Sendable {
    /// The token, wherever it stood.
    package var token: String?
    /// The path, as sent.
    package var path = "/"
    package var query: [(name: String, value: String)] = []
    package var headers: [(name: String, value: String)] = []
    package var remoteAddress: String?
    /// Whom the client's certificate names; TLS has verified it.
    package var clientCertificate: ClientCertificate?

    package init(token: String?) { self.token = token }

    package init(_ request: HandshakeRequest) {
        token = request.token?.value
        path = request.path
        query = request.query
        headers = request.headers
        remoteAddress = request.remoteAddress.map(Self.plain)
        clientCertificate = request.clientCertificate
    }

    /// `192.0.2.1:80` and `[2001:db8::1]:80` for an address as NIO describes it; others stay as they are.
    static func plain(_ address: String) -> String {
        guard address.hasPrefix("[IPv"), let mark = address.firstIndex(of: "]") else { return address }
        let rest = address[address.index(after: mark)...]
        // Where a name led to the address, both are there.
        let place = rest.lastIndex(of: "/").map { rest[rest.index(after: $0)...] } ?? rest
        guard address.hasPrefix("[IPv6]"), let colon = place.lastIndex(of: ":") else { return String(place) }
        return "[\(place[..<colon])]\(place[colon...])"
    }

    /// The header fields that the application's server is told: what sessions and logs need.
    static let toldHeaders = ["x-request-id", "cookie", "origin", "user-agent"]
}
