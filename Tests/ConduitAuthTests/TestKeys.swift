import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import ConduitTesting
import Crypto
import Foundation
import JWTKit
import Logging
import Testing

@testable import ConduitAuth

/// A pair of keys of one test.
struct TestKey: Sendable {
    let algorithm: TokenAlgorithm
    /// PEM; empty for a secret.
    let privatePEM: String
    let publicPEM: String
    /// The members of a JWK, without `kid`.
    let jwk: String
    let secret: String

    static let secret = String(repeating: "0123456789abcdef", count: 4)
    static let otherSecret = String(repeating: "another secret! ", count: 4)

    static func make(_ algorithm: TokenAlgorithm) async throws -> TestKey {
        switch algorithm {
        case .hs256, .hs384, .hs512:
            return TestKey(algorithm: algorithm, privatePEM: "", publicPEM: "", jwk: "", secret: secret)
        case .rs256, .ps256:
            let outcome = try await ChildProcess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA"])
            let start = try #require(outcome.output.range(of: "-----BEGIN"))
            let key = try Insecure.RSA.PrivateKey(pem: String(outcome.output[start.lowerBound...]))
            let numbers = try key.publicKey.getKeyPrimitives()
            let (n, e) = (Base64URL.encode(numbers.modulus), Base64URL.encode(numbers.publicExponent))
            return TestKey(
                algorithm: algorithm, privatePEM: key.pemRepresentation, publicPEM: key.publicKey.pemRepresentation,
                jwk: "\"kty\":\"RSA\",\"n\":\"\(n)\",\"e\":\"\(e)\"", secret: "")
        case .es256:
            let key = P256.Signing.PrivateKey()
            let point = key.publicKey.rawRepresentation
            let (x, y) = (Base64URL.encode(point.prefix(32)), Base64URL.encode(point.suffix(32)))
            return TestKey(
                algorithm: algorithm, privatePEM: key.pemRepresentation, publicPEM: key.publicKey.pemRepresentation,
                jwk: "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"\(x)\",\"y\":\"\(y)\"", secret: "")
        case .edDSA:
            let key = try EdDSA.PrivateKey()
            return TestKey(
                algorithm: algorithm, privatePEM: key.pemRepresentation, publicPEM: key.publicKey.pemRepresentation,
                jwk:
                    "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"\(Base64URL.encode(key.publicKey.rawRepresentation))\"",
                secret: "")
        }
    }

    func issuer() async throws -> TokenIssuer {
        algorithm.isSymmetric
            ? try await TokenIssuer(secret: secret, algorithm: algorithm)
            : try await TokenIssuer(privateKey: privatePEM, algorithm: algorithm)
    }

    /// A token that is good for a minute, for the user `ann` unless `claims` say otherwise.
    func token(_ claims: String = "\"sub\":\"ann\"", keyID: String? = nil) async throws -> String {
        try await issuer().token(claims: "{\"exp\":\(TestKey.now + 60),\(claims)}", keyID: keyID)
    }

    func jwk(keyID: String, _ more: String = "") -> String { "{\(jwk),\"kid\":\"\(keyID)\"\(more)}" }

    static func set(_ keys: String...) -> String { "{\"keys\":[\(keys.joined(separator: ","))]}" }

    static var now: Int64 { WallClock.milliseconds / 1000 }
}

/// One that lives for a closure.
func withAuthenticator<Value>(
    _ configuration: AuthConfiguration, times: KeyStore.Times = KeyStore.Times(),
    _ body: (Authenticator) async throws -> Value
) async throws -> Value {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let authenticator = try await Authenticator.make(configuration, times: times, logger: logger)
    let result: Result<Value, any Error>
    do {
        result = .success(try await body(authenticator))
    } catch {
        result = .failure(error)
    }
    await authenticator.shutdown()
    return try result.get()
}

extension Authenticator {
    /// Why a token is refused; `nil` when it isn't.
    func refusal(of token: String?) async throws -> AuthenticationError.Reason? {
        do {
            _ = try await authenticate(Credentials(token: token))
            return nil
        } catch let error as AuthenticationError {
            return error.reason
        }
    }
}

extension AuthConfiguration {
    static func secret(_ secret: String = TestKey.secret, _ change: (inout AuthConfiguration) -> Void = { _ in })
        -> Self
    {
        var configuration = AuthConfiguration()
        configuration.jwt.secret = secret
        change(&configuration)
        return configuration
    }
}
