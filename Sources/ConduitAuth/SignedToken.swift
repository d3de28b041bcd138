package import ConduitGateway
import ConduitWire
import NIOCore

/// A token in the compact form of RFC 7515, taken apart. Nothing in it is to be believed until a key has verified it.
package struct SignedToken: Sendable {
    /// Largest token: with it, a request still fits into the usual 16 KiB of headers.
    package static let maximumBytes = 8192

    /// The name of the algorithm, as the token has it.
    package let algorithm: String
    /// The name of the key (`kid`).
    package let keyID: String?
    /// The header's JSON.
    package let header: JSONValue
    /// What is signed.
    let signingInput: [UInt8]
    let signature: [UInt8]
    private let payload: ByteBuffer

    /// Takes a token apart, as far as it can be told what it is.
    package init(_ text: String) throws(AuthenticationError) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw AuthenticationError(.malformed, "the token is larger than \(Self.maximumBytes) bytes")
        }
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let head = Base64URL.decode(parts[0]), let body = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2])
        else { throw AuthenticationError(.malformed, "the token is not a signed JWT") }
        guard let header = try? JSONValue(document: ByteBuffer(bytes: head)), let fields = header.object else {
            throw AuthenticationError(.malformed, "the token's header is not a JSON object")
        }
        guard let algorithm = fields["alg"]?.string else {
            throw AuthenticationError(.malformed, "the token's header names no algorithm")
        }
        // What its maker says must be understood, and we don't: RFC 7515, section 4.1.11.
        guard fields["crit"] == nil else {
            throw AuthenticationError(.malformed, "the token's header asks for extensions that are not supported")
        }
        if let id = fields["kid"] {
            guard let id = id.string else {
                throw AuthenticationError(.malformed, "the token's kid is not a string")
            }
            keyID = id
        } else {
            keyID = nil
        }
        self.algorithm = algorithm
        self.header = header
        self.signature = signature
        self.payload = ByteBuffer(bytes: body)
        self.signingInput = Array(text.utf8.prefix(parts[0].count + 1 + parts[1].count))
    }

    /// The claims' JSON.
    package func claims() throws(AuthenticationError) -> JSONValue {
        guard let claims = try? JSONValue(document: payload), claims.object != nil else {
            throw AuthenticationError(.malformed, "the token's claims are not a JSON object, or one stands twice")
        }
        return claims
    }
}
