import JWTKit
import NIOCore

/// Reads a JSON Web Key Set (RFC 7517).
///
/// A set may hold keys that are not for us: other types, curves and uses are left out, and counted. What is private in
/// a key is never looked at.
enum JWKSReader {
    /// Largest set.
    static let maximumBytes = 262_144
    /// Most keys of a set.
    private static let maximumKeys = 100
    /// Longest modulus: 8192 bits in Base64. Verifying with a longer one would cost more than a stranger may cost us.
    private static let maximumModulus = 1368

    /// One key of a set.
    struct Entry: Sendable {
        let id: String?
        let key: PublicKey
        /// The one algorithm that it may be used with, where the set says so.
        let algorithm: String?
    }

    /// What was found.
    struct Reading: Sendable {
        var keys: [VerificationKey] = []
        /// Keys that are not for us.
        var skipped = 0
    }

    static func read(_ bytes: ByteBuffer) async throws(KeyError) -> Reading {
        let (entries, skipped) = try parse(bytes)
        var reading = Reading(skipped: skipped)
        for entry in entries {
            let keys = try await entry.key.verificationKeys(id: entry.id)
            reading.keys += keys.filter { entry.algorithm == nil || entry.algorithm == $0.algorithm.rawValue }
        }
        guard !reading.keys.isEmpty else { throw KeyError("the key set has no key that can verify tokens") }
        return reading
    }

    static func parse(_ bytes: ByteBuffer) throws(KeyError) -> (entries: [Entry], skipped: Int) {
        guard bytes.readableBytes <= maximumBytes else { throw KeyError("the key set is larger than 256 KiB") }
        guard let document = try? JSONValue(document: bytes), let list = document.object?["keys"],
            case .array(let elements) = list.content
        else { throw KeyError("no JSON Web Key Set: an object with a list \"keys\" is needed") }
        guard elements.count <= maximumKeys else { throw KeyError("the key set has more than \(maximumKeys) keys") }
        let entries = elements.compactMap(entry)
        guard !entries.isEmpty else { throw KeyError("the key set has no key that can verify tokens") }
        return (entries, elements.count - entries.count)
    }

    /// `nil` for a key that is not for us.
    private static func entry(_ value: JSONValue) -> Entry? {
        guard let fields = value.object else { return nil }
        func text(_ name: String) -> String? { fields[name]?.string }
        if let use = text("use"), use != "sig" { return nil }
        if let operations = fields["key_ops"] {
            guard case .array(let names) = operations.content, names.contains(where: { $0.string == "verify" }) else {
                return nil
            }
        }
        let key: PublicKey
        switch (text("kty"), text("crv")) {
        case ("RSA", _):
            guard let modulus = text("n"), let exponent = text("e"), modulus.utf8.count <= maximumModulus,
                exponent.utf8.count <= 8, let made = try? Insecure.RSA.PublicKey(modulus: modulus, exponent: exponent)
            else { return nil }
            key = .rsa(made)
        case ("EC", "P-256"):
            guard let x = text("x"), let y = text("y"), let made = try? ES256PublicKey(parameters: (x, y)) else {
                return nil
            }
            key = .ecdsa(made)
        case ("OKP", "Ed25519"):
            guard let x = text("x"), let made = try? EdDSA.PublicKey(x: x, curve: .ed25519) else { return nil }
            key = .edDSA(made)
        default: return nil
        }
        // An algorithm that isn't a text is none that we know.
        return Entry(id: text("kid"), key: key, algorithm: fields["alg"].map { $0.string ?? "" })
    }
}
