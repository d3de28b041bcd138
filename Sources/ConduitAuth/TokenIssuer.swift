package import ConduitCore
import ConduitWire
import Foundation
import JWTKit
import NIOCore

/// Signs tokens: for `conduit token`, for tests, for a first try. Applications sign their own with any JWT library.
package struct TokenIssuer: Sendable {
    package let algorithm: TokenAlgorithm
    private let signer: any JWTAlgorithm

    /// One that signs with a shared secret.
    package init(secret: String, algorithm: TokenAlgorithm = .hs256) async throws(KeyError) {
        self.algorithm = algorithm
        signer = try await KeyMaterial.hmac(secret, algorithm)
    }

    /// One that signs with a private key in PEM. An RSA key signs RS256 unless PS256 is wanted.
    package init(privateKey pem: String, algorithm: TokenAlgorithm? = nil) async throws(KeyError) {
        if let key = try? Insecure.RSA.PrivateKey(pem: pem), [nil, .rs256, .ps256].contains(algorithm) {
            self.algorithm = algorithm ?? .rs256
            signer =
                algorithm == .ps256
                ? try await KeyMaterial.lent { await $0.add(pss: key, digestAlgorithm: .sha256) }
                : try await KeyMaterial.lent { await $0.add(rsa: key, digestAlgorithm: .sha256) }
        } else if let key = try? ES256PrivateKey(pem: pem), [nil, .es256].contains(algorithm) {
            self.algorithm = .es256
            signer = try await KeyMaterial.lent { await $0.add(ecdsa: key) }
        } else if let key = try? EdDSA.PrivateKey(pem: pem), [nil, .edDSA].contains(algorithm) {
            self.algorithm = .edDSA
            signer = try await KeyMaterial.lent { await $0.add(eddsa: key) }
        } else {
            let wanted = algorithm.map { " for \($0.rawValue)" } ?? ""
            throw KeyError("no private key in PEM\(wanted): RSA from 2048 bits, P-256 or Ed25519 are taken")
        }
    }

    /// Signs claims, given as the text of a JSON object.
    package func token(claims: String, keyID: String? = nil) throws(KeyError) -> String {
        var header = ByteBuffer(string: "{\"alg\":\"\(algorithm.rawValue)\",\"typ\":\"JWT\"")
        if let keyID {
            header.writeStaticString(",\"kid\":")
            header.writeJSONString(keyID)
        }
        header.writeStaticString("}")
        let input = Base64URL.encode(header.readableBytesView) + "." + Base64URL.encode(claims.utf8)
        do {
            return input + "." + Base64URL.encode(try signer.sign(Array(input.utf8)))
        } catch {
            throw KeyError("the key can't sign")
        }
    }
}

/// What a token is to say.
package struct TokenDraft: Sendable {
    package var user: UserID?
    package var issuer: String?
    package var audience: [String] = []
    /// In milliseconds since 1970; written in seconds.
    package var issuedAt: Int64
    package var expiresAt: Int64?
    package var id: String?
    /// JSON.
    package var info: String?
    package var rights: RoomRights?
    package var rooms: [RoomName] = []
    package var metadata: [String: String] = [:]
    package var mayBroadcastToEverybody = false
    package var mayPublishWithoutJoining = false
    package var maySend = true

    package init(issuedAt: Int64) { self.issuedAt = issuedAt }

    /// The claims as JSON.
    package var json: String {
        var buffer = ByteBuffer(string: "{\"iat\":\(issuedAt / 1000)")
        func text(_ name: StaticString, _ value: String?) {
            guard let value else { return }
            buffer.writeString(",\"\(name)\":")
            buffer.writeJSONString(value)
        }
        func list(_ name: StaticString, _ values: [String]) {
            guard !values.isEmpty else { return }
            buffer.writeString(",\"\(name)\":")
            buffer.writeJSONStrings(values)
        }
        if let expiresAt { buffer.writeString(",\"exp\":\(expiresAt / 1000)") }
        text("sub", user?.rawValue)
        text("jti", id)
        text("iss", issuer)
        if audience.count == 1 { text("aud", audience.first) } else { list("aud", audience) }
        if let info { buffer.writeString(",\"info\":\(info)") }
        if let rights {
            buffer.writeStaticString(",\"rooms\":{")
            for (index, grant) in rights.grants.enumerated() {
                if index > 0 { buffer.writeStaticString(",") }
                buffer.writeJSONString(grant.pattern)
                buffer.writeStaticString(":")
                buffer.writeJSONStrings(grant.rights.names)
            }
            buffer.writeStaticString("}")
        }
        list("join", rooms.map(\.rawValue))
        if !metadata.isEmpty {
            buffer.writeStaticString(",\"meta\":{")
            for (index, entry) in metadata.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { buffer.writeStaticString(",") }
                buffer.writeJSONString(entry.key)
                buffer.writeStaticString(":")
                buffer.writeJSONString(entry.value)
            }
            buffer.writeStaticString("}")
        }
        if mayBroadcastToEverybody { buffer.writeStaticString(",\"broadcast_all\":true") }
        if mayPublishWithoutJoining { buffer.writeStaticString(",\"publish_anywhere\":true") }
        if !maySend { buffer.writeStaticString(",\"send\":false") }
        buffer.writeStaticString("}")
        return String(buffer: buffer)
    }
}

extension RoomRights.Rights {
    /// The names of the rights in it.
    package var names: [String] {
        [("join", Self.join), ("publish", .publish), ("presence", .presence), ("history", .history)]
            .filter { contains($0.1) }.map(\.0)
    }
}

extension ByteBuffer {
    fileprivate mutating func writeJSONStrings(_ texts: [String]) {
        writeStaticString("[")
        for (index, text) in texts.enumerated() {
            if index > 0 { writeStaticString(",") }
            writeJSONString(text)
        }
        writeStaticString("]")
    }
}
