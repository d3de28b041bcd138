import JWTKit

/// A key that verifies and can't sign, of one of the kinds that are taken.
enum PublicKey: Sendable {
    case rsa(Insecure.RSA.PublicKey)
    case ecdsa(ES256PublicKey)
    case edDSA(EdDSA.PublicKey)

    /// Reads a PEM text: a public key, or a certificate that has one.
    init(pem: String) throws(KeyError) {
        guard !pem.contains("PRIVATE KEY") else {
            throw KeyError("this is a private key; a node needs only the public one")
        }
        if let key = try? Insecure.RSA.PublicKey(pem: pem) {
            self = .rsa(key)
        } else if let key = try? ES256PublicKey(pem: pem) {
            self = .ecdsa(key)
        } else if let key = try? EdDSA.PublicKey(pem: pem) {
            self = .edDSA(key)
        } else if pem.contains("CERTIFICATE"), let key = try? Insecure.RSA.PublicKey(certificatePEM: pem) {
            self = .rsa(key)
        } else if pem.contains("CERTIFICATE"), let key = try? ES256PublicKey(certificate: pem) {
            self = .ecdsa(key)
        } else {
            throw KeyError("no public key in PEM: RSA from 2048 bits, P-256 or Ed25519 are taken")
        }
    }

    /// What it is good for: an RSA key for two algorithms.
    func verificationKeys(id: String? = nil) async throws(KeyError) -> [VerificationKey] {
        switch self {
        case .rsa(let key):
            [
                try await KeyMaterial.verification(.rs256, id: id) { await $0.add(rsa: key, digestAlgorithm: .sha256) },
                try await KeyMaterial.verification(.ps256, id: id) { await $0.add(pss: key, digestAlgorithm: .sha256) },
            ]
        case .ecdsa(let key): [try await KeyMaterial.verification(.es256, id: id) { await $0.add(ecdsa: key) }]
        case .edDSA(let key): [try await KeyMaterial.verification(.edDSA, id: id) { await $0.add(eddsa: key) }]
        }
    }
}
