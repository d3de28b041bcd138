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

    package init(token: String?) { self.token = token }

    package init(_ request: HandshakeRequest) {
        token = request.token?.value
        path = request.path
        query = request.query
        headers = request.headers
        remoteAddress = request.remoteAddress
    }

    /// The header fields that the application's server is told: what sessions and logs need.
    static let toldHeaders = ["x-request-id", "cookie", "origin", "user-agent"]
}
