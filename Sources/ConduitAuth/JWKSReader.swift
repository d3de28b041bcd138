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

    /// What was found.
    struct Reading: Sendable {
        var keys: [VerificationKey] = []
        /// Keys that are not for us.
        var skipped = 0
    }

    static func read(_ bytes: ByteBuffer) async throws(KeyError) -> Reading {
        guard bytes.readableBytes <= maximumBytes else { throw KeyError("the key set is larger than 256 KiB") }
        guard let document = try? JSONValue(document: bytes), let list = document.object?["keys"],
            case .array(let entries) = list.content
        else { throw KeyError("no JSON Web Key Set: an object with a list \"keys\" is needed") }
        guard entries.count <= maximumKeys else { throw KeyError("the key set has more than \(maximumKeys) keys") }
        var reading = Reading()
        for entry in entries {
            let keys = await keys(of: entry)
            if keys.isEmpty { reading.skipped += 1 }
            reading.keys += keys
        }
        guard !reading.keys.isEmpty else { throw KeyError("the key set has no key that can verify tokens") }
        return reading
    }

    private static func keys(of entry: JSONValue) async -> [VerificationKey] {
        guard let fields = entry.object else { return [] }
        func text(_ name: String) -> String? { fields[name]?.string }
        if let use = text("use"), use != "sig" { return [] }
        if let operations = fields["key_ops"] {
            guard case .array(let names) = operations.content, names.contains(where: { $0.string == "verify" }) else {
                return []
            }
        }
        let id = text("kid")
        var keys: [VerificationKey] = []
        switch (text("kty"), text("crv")) {
        case ("RSA", _):
            guard let modulus = text("n"), let exponent = text("e"), modulus.utf8.count <= maximumModulus,
                exponent.utf8.count <= 8, let key = try? Insecure.RSA.PublicKey(modulus: modulus, exponent: exponent),
                let made = try? await KeyMaterial.rsa(key, id: id)
            else { return [] }
            keys = made
        case ("EC", "P-256"):
            guard let x = text("x"), let y = text("y"), let key = try? ES256PublicKey(parameters: (x, y)),
                let made = try? await KeyMaterial.ecdsa(key, id: id)
            else { return [] }
            keys = [made]
        case ("OKP", "Ed25519"):
            guard let x = text("x"), let key = try? EdDSA.PublicKey(x: x, curve: .ed25519),
                let made = try? await KeyMaterial.edDSA(key, id: id)
            else { return [] }
            keys = [made]
        default: return []
        }
        guard let algorithm = fields["alg"] else { return keys }
        return keys.filter { $0.algorithm.rawValue == algorithm.string }
    }
}
