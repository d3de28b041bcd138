import Foundation
import JWTKit
import NIOCore

/// Why a key can't be used: in words that never repeat it.
package struct KeyError: Error, Hashable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Makes keys of what stands in settings and files.
///
/// jwt-kit keeps its algorithms to itself and lends them by a collection; one collection a key, asked once.
enum KeyMaterial {
    /// jwt-kit's algorithm for a secret that is long enough for it.
    static func hmac(_ secret: String, _ algorithm: TokenAlgorithm) async throws(KeyError) -> any JWTAlgorithm {
        guard secret.utf8.count >= algorithm.leastSecretBytes else {
            throw KeyError("\(algorithm.rawValue) needs a secret of at least \(algorithm.leastSecretBytes) bytes")
        }
        let digest: DigestAlgorithm
        switch algorithm {
        case .hs256: digest = .sha256
        case .hs384: digest = .sha384
        case .hs512: digest = .sha512
        case .rs256, .ps256, .es256, .edDSA:
            throw KeyError("\(algorithm.rawValue) signs with a private key, not with a secret")
        }
        let key = HMACKey(from: Data(secret.utf8))
        return try await lent { await $0.add(hmac: key, digestAlgorithm: digest) }
    }

    /// The keys of a shared secret.
    static func secret(_ secret: String) async throws(KeyError) -> [VerificationKey] {
        guard secret.utf8.count >= TokenConfiguration.leastSecretBytes else {
            throw KeyError("the secret is shorter than \(TokenConfiguration.leastSecretBytes) bytes")
        }
        // A short secret is no secret for a long digest.
        var keys: [VerificationKey] = []
        for algorithm in TokenAlgorithm.symmetric where secret.utf8.count >= algorithm.leastSecretBytes {
            keys.append(
                VerificationKey(id: nil, algorithm: algorithm, verifier: try await hmac(secret, algorithm)))
        }
        return keys
    }

    static func verification(
        _ algorithm: TokenAlgorithm, id: String? = nil, _ add: (JWTKeyCollection) async -> Void
    ) async throws(KeyError) -> VerificationKey {
        VerificationKey(id: id, algorithm: algorithm, verifier: try await lent(add))
    }

    /// The algorithm that jwt-kit makes of what `add` gives to a collection.
    static func lent(_ add: (JWTKeyCollection) async -> Void) async throws(KeyError) -> any JWTAlgorithm {
        let collection = JWTKeyCollection()
        await add(collection)
        do {
            return try await collection.getKey()
        } catch {
            throw KeyError("the key can't be used")
        }
    }

    /// A text file of at most 256 KiB.
    static func text(ofFile path: String) throws(KeyError) -> String {
        guard let handle = FileHandle(forReadingAtPath: path) else { throw KeyError("the file can't be read") }
        defer { try? handle.close() }
        guard let data = try? handle.read(upToCount: JWKSReader.maximumBytes + 1) else {
            throw KeyError("the file can't be read, or is empty")
        }
        guard data.count <= JWKSReader.maximumBytes else { throw KeyError("the file is larger than 256 KiB") }
        guard let text = String(data: data, encoding: .utf8) else { throw KeyError("the file is not UTF-8") }
        return text
    }
}

extension TokenConfiguration {
    /// The keys that stand in the settings themselves, and those that they name a file for.
    ///
    /// - Throws: which setting is wrong and why.
    func fixedKeys() async throws(AuthSetupError) -> [VerificationKey] {
        var keys: [VerificationKey] = []
        for (name, secret) in [("secret", secret), ("previous-secret", previousSecret)] where !secret.isEmpty {
            do throws(KeyError) {
                keys += try await KeyMaterial.secret(secret)
            } catch {
                throw AuthSetupError(key: "auth.jwt.\(name)", message: error.description)
            }
        }
        for (name, file) in [("public-key", publicKeyFile), ("previous-public-key", previousPublicKeyFile)]
        where !file.isEmpty {
            do throws(KeyError) {
                keys += try await PublicKey(pem: try KeyMaterial.text(ofFile: file)).verificationKeys()
            } catch {
                throw AuthSetupError(key: "auth.jwt.\(name)", message: "\(file.debugDescription): \(error)")
            }
        }
        return keys.filter { allows($0.algorithm) }
    }

    /// What is wrong with the keys, as far as it can be told without asking anybody.
    package func problem() -> AuthSetupError? {
        for (name, secret) in [("secret", secret), ("previous-secret", previousSecret)]
        where !secret.isEmpty && secret.utf8.count < Self.leastSecretBytes {
            return AuthSetupError(
                key: "auth.jwt.\(name)", message: "the secret is shorter than \(Self.leastSecretBytes) bytes")
        }
        for (name, file) in [("public-key", publicKeyFile), ("previous-public-key", previousPublicKeyFile)]
        where !file.isEmpty {
            do throws(KeyError) {
                _ = try PublicKey(pem: try KeyMaterial.text(ofFile: file))
            } catch {
                return AuthSetupError(key: "auth.jwt.\(name)", message: "\(file.debugDescription): \(error)")
            }
        }
        guard !jwksFile.isEmpty else { return nil }
        do throws(KeyError) {
            _ = try JWKSReader.parse(ByteBuffer(string: try KeyMaterial.text(ofFile: jwksFile)))
            return nil
        } catch {
            return AuthSetupError(key: "auth.jwt.jwks-file", message: "\(jwksFile.debugDescription): \(error)")
        }
    }

    func allows(_ algorithm: TokenAlgorithm) -> Bool { algorithms.isEmpty || algorithms.contains(algorithm) }
}

/// Why authentication can't be set up: which setting, and what is wrong with it.
package struct AuthSetupError: Error, Hashable, CustomStringConvertible {
    /// The setting.
    package let key: String
    /// What is wrong with it.
    package let message: String

    package var description: String { "\(key): \(message)" }
}
