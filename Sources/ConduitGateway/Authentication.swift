public import ConduitHub

/// Decides who a client is, before its connection is upgraded.
///
/// It is asked for every client, whether or not it brings a token. `nil` or a thrown ``AuthenticationError`` refuses
/// with 401; any other error means that nobody could tell, and answers 503 so that the client comes back.
public typealias AuthenticationHandler = @Sendable (_ request: HandshakeRequest) async throws -> Identity?

/// A client is not who it says, or says nothing.
public struct AuthenticationError: Error, Hashable, Sendable {
    /// Why, for the developer of the client: it is part of the answer.
    public let message: String

    /// Makes an error.
    public init(_ message: String = "no valid token") { self.message = message }
}
