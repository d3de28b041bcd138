public import ConduitHub

/// Decides who a client is, before its connection is upgraded.
///
/// It is asked for every client, whether or not it brings a token. `nil` or a thrown ``AuthenticationError`` refuses
/// with 401; any other error means that nobody could tell, and answers 503 so that the client comes back.
public typealias AuthenticationHandler = @Sendable (_ request: HandshakeRequest) async throws -> Identity?

/// A client is not who it says, or says nothing.
public struct AuthenticationError: Error, Hashable, Sendable {
    /// Why a token is refused, in one word: the label of a metric, and what a client's developer looks for first.
    public enum Reason: String, Sendable, CaseIterable {
        /// There is no token, and clients without one don't come in.
        case missing
        /// It is no token at all.
        case malformed
        /// It is signed in a way that isn't allowed, or not signed.
        case algorithm
        /// No key of that name is known.
        case unknownKey = "unknown_key"
        /// The signature is somebody else's, or the token was changed.
        case badSignature = "bad_signature"
        /// Its time is over.
        case expired
        /// Its time has not begun.
        case notYetValid = "not_yet_valid"
        /// Somebody else has issued it.
        case wrongIssuer = "wrong_issuer"
        /// It is for somebody else.
        case wrongAudience = "wrong_audience"
        /// A claim is missing or not of its form.
        case badClaims = "bad_claims"
        /// It was revoked.
        case revoked
        /// The application says no.
        case refused
    }

    /// Why, in one word.
    public let reason: Reason
    /// Why, for the developer of the client: it is part of the answer. Never what the token holds.
    public let message: String

    /// Makes an error: the application says no.
    public init(_ message: String = "no valid token") { self.init(.refused, message) }

    /// Makes an error for a reason.
    public init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }
}
