import ConduitGateway
import ConduitTelemetry
import ConduitTesting
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import ConduitAuth

@Suite struct KeySetTests {
    private static func configuration(_ server: TestHTTPServer, ca: TestCertificates? = nil) -> AuthConfiguration {
        var configuration = AuthConfiguration()
        configuration.jwt.jwksURL = server.url("/jwks.json")
        configuration.jwt.jwksRefresh = .seconds(3600)
        configuration.caFile = ca?.caFile ?? ""
        return configuration
    }

    @Test func anAddressRotatesItsKeysOverTLS() async throws {
        let certificates = try await TestCertificates.make()
        let (first, second) = (try await TestKey.make(.es256), try await TestKey.make(.edDSA))
        let rsa = try await TestKey.make(.rs256)
        let server = try await TestHTTPServer.start(tls: certificates) { _ in
            .status(200, TestKey.set(first.jwk(keyID: "1")))
        }
        var times = KeyStore.Times()
        times.unknownKeyPause = .zero
        try await withAuthenticator(Self.configuration(server, ca: certificates), times: times) { authenticator in
            #expect(try await authenticator.refusal(of: try await first.token(keyID: "1")) == nil)
            server.answer { _ in
                .status(200, TestKey.set(second.jwk(keyID: "2"), rsa.jwk(keyID: "3", ",\"alg\":\"RS256\"")))
            }
            // A key that nobody knows: the set is fetched at once.
            #expect(try await authenticator.refusal(of: try await second.token(keyID: "2")) == nil)
            #expect(try await authenticator.refusal(of: try await rsa.token(keyID: "3")) == nil)
            // The set says which algorithm the key is for.
            let pss = try await TokenIssuer(privateKey: rsa.privatePEM, algorithm: .ps256)
                .token(claims: "{\"exp\":\(TestKey.now + 60)}", keyID: "3")
            #expect(try await authenticator.refusal(of: pss) == .unknownKey)
            // The old key is gone, and a name is not enough.
            #expect(try await authenticator.refusal(of: try await first.token(keyID: "1")) == .unknownKey)
            #expect(try await authenticator.refusal(of: try await first.token(keyID: "2")) == .unknownKey)
            let forged = try await TestKey.make(.edDSA).token(keyID: "2")
            #expect(try await authenticator.refusal(of: forged) == .badSignature)
            // Without a name every key of the algorithm is tried.
            #expect(try await authenticator.refusal(of: try await second.token()) == nil)
            #expect(authenticator.statistics.keySetKeys == 2)
        }
    }

    /// A key without a name fits every token of its algorithm, and must not hide that the set has a new one.
    @Test func aSetAndAFileStandTogether() async throws {
        let (own, next) = (try await TestKey.make(.es256), try await TestKey.make(.es256))
        let folder = try TemporaryFolder("keys")
        try Data(own.publicPEM.utf8).write(to: URL(fileURLWithPath: folder.path("key.pem")))
        let server = try await TestHTTPServer.start { _ in .status(200, TestKey.set(own.jwk(keyID: "1"))) }
        var configuration = Self.configuration(server)
        configuration.jwt.publicKeyFile = folder.path("key.pem")
        configuration.jwt.secret = TestKey.secret
        var times = KeyStore.Times()
        times.unknownKeyPause = .zero
        try await withAuthenticator(configuration, times: times) { authenticator in
            try await eventually { authenticator.statistics.keySetKeys == 1 }
            server.answer { _ in .status(200, TestKey.set(next.jwk(keyID: "2"))) }
            #expect(try await authenticator.refusal(of: try await next.token(keyID: "2")) == nil)
            #expect(try await authenticator.refusal(of: try await own.token(keyID: "2")) == nil)
            let asked = server.requests.count
            // Nothing of a set can help a token that is signed with a secret.
            let forged = try await TokenIssuer(secret: TestKey.otherSecret)
                .token(claims: "{\"exp\":\(TestKey.now + 60)}", keyID: "3")
            #expect(try await authenticator.refusal(of: forged) == .badSignature)
            #expect(server.requests.count == asked)
        }
    }

    @Test func unknownKeysFetchSeldomAndTogether() async throws {
        let key = try await TestKey.make(.es256)
        let server = try await TestHTTPServer.start { _ in .status(200, TestKey.set(key.jwk(keyID: "1"))) }
        try await withAuthenticator(Self.configuration(server)) { authenticator in
            let stranger = try await TestKey.make(.es256)
            let tokens = try await withThrowingTaskGroup(of: String.self) { group in
                for number in 0..<50 { group.addTask { try await stranger.token(keyID: "x\(number)") } }
                return try await group.reduce(into: [String]()) { $0.append($1) }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for token in tokens {
                    group.addTask {
                        let refusal = try await authenticator.refusal(of: token)
                        #expect(refusal == .unknownKey)
                    }
                }
                try await group.waitForAll()
            }
            // All before the first answer shared it; nobody was let ask again so soon.
            #expect(server.requests.count == 1)
            #expect(try await authenticator.refusal(of: try await key.token(keyID: "1")) == nil)
        }
    }

    @Test func theLastGoodSetStays() async throws {
        let key = try await TestKey.make(.es256)
        let server = try await TestHTTPServer.start { _ in .status(200, TestKey.set(key.jwk(keyID: "1"))) }
        var configuration = Self.configuration(server)
        configuration.jwt.jwksRefresh = .milliseconds(20)
        var times = KeyStore.Times()
        times.fetch = .milliseconds(200)
        try await withAuthenticator(configuration, times: times) { authenticator in
            let token = try await key.token(keyID: "1")
            try await eventually { authenticator.statistics.keySetKeys == 1 }
            let bad: [TestHTTPServer.Answer] = [
                .status(500), .status(200, "nonsense"), .status(200, "{\"keys\":[]}"), .silence, .half, .hangUp,
                .status(200, String(repeating: " ", count: 300_000)), .status(302),
            ]
            for answer in bad {
                let failures = authenticator.statistics.keySetReadings["failed", default: 0]
                server.answer { _ in answer }
                try await eventually { authenticator.statistics.keySetReadings["failed", default: 0] >= failures + 2 }
                #expect(try await authenticator.refusal(of: token) == nil)
            }
        }
    }

    @Test func withoutASetNobodyCanTell() async throws {
        let key = try await TestKey.make(.es256)
        let server = try await TestHTTPServer.start { _ in .status(503) }
        try await withAuthenticator(Self.configuration(server)) { authenticator in
            await #expect(throws: HookUnavailable.self) {
                _ = try await authenticator.authenticate(Credentials(token: try await key.token(keyID: "1")))
            }
            #expect(authenticator.statistics.results == ["unavailable": 1])
        }
    }

    @Test func aStrangersCertificateIsNotTaken() async throws {
        let certificates = try await TestCertificates.make()
        let key = try await TestKey.make(.es256)
        let server = try await TestHTTPServer.start(tls: certificates) { _ in
            .status(200, TestKey.set(key.jwk(keyID: "1")))
        }
        try await withAuthenticator(Self.configuration(server)) { authenticator in
            await #expect(throws: HookUnavailable.self) {
                _ = try await authenticator.authenticate(Credentials(token: try await key.token(keyID: "1")))
            }
            #expect(server.requests.isEmpty)
        }
    }

    @Test func aFileIsReadAgainWhenItChanges() async throws {
        let (first, second) = (try await TestKey.make(.es256), try await TestKey.make(.edDSA))
        let folder = try TemporaryFolder("jwks")
        let url = URL(fileURLWithPath: folder.path("jwks.json"))
        try Data(TestKey.set(first.jwk(keyID: "1")).utf8).write(to: url)
        var configuration = AuthConfiguration()
        configuration.jwt.jwksFile = url.path
        var times = KeyStore.Times()
        times.filePoll = .milliseconds(10)
        times.unknownKeyPause = .seconds(3600)
        try await withAuthenticator(configuration, times: times) { authenticator in
            #expect(try await authenticator.refusal(of: try await first.token(keyID: "1")) == nil)
            try Data(TestKey.set(second.jwk(keyID: "2")).utf8).write(to: url, options: .atomic)
            let token = try await second.token(keyID: "2")
            try await eventually { try await authenticator.refusal(of: token) == nil }
            try Data("half a".utf8).write(to: url, options: .atomic)
            try await eventually { authenticator.statistics.keySetReadings["failed", default: 0] > 0 }
            #expect(try await authenticator.refusal(of: token) == nil)
        }
        try Data("{}".utf8).write(to: url)
        #expect(configuration.jwt.problem()?.key == "auth.jwt.jwks-file")
    }

    @Test func keysThatAreNotForUsAreLeftOut() async throws {
        let (ec, rsa) = (try await TestKey.make(.es256), try await TestKey.make(.rs256))
        let set = TestKey.set(
            ec.jwk(keyID: "1"), ec.jwk(keyID: "2", ",\"use\":\"enc\""), ec.jwk(keyID: "3", ",\"key_ops\":[\"sign\"]"),
            rsa.jwk(keyID: "4"), "{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"5\"}", "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
            "{\"kty\":\"RSA\",\"n\":\"\(String(repeating: "A", count: 4000))\",\"e\":\"AQAB\"}", "7",
            "{\"kty\":\"RSA\",\"n\":\"sXch\",\"e\":\"AQAB\"}",
            "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"A\",\"y\":\"A\"}")
        let reading = try await JWKSReader.read(ByteBuffer(string: set))
        #expect(reading.keys.map(\.id) == ["1", "4", "4"])
        #expect(reading.keys.map(\.algorithm) == [.es256, .rs256, .ps256])
        #expect(reading.skipped == 8)
        let many = TestKey.set(String(repeating: "1,", count: 100) + "1")
        await #expect(throws: KeyError.self) { _ = try await JWKSReader.read(ByteBuffer(string: many)) }
    }

    @Test func addressesAreHttpsOrLoopback() {
        for good in ["https://id.example/jwks", "http://127.0.0.1:8/j", "http://localhost/j", "http://[::1]:8/j"] {
            #expect(WebAddress.isSafe(good), "\(good)")
        }
        for bad in [
            "http://id.example/j", "ftp://localhost/", "https://", "https://u:p@id.example/", "http://127.0.0.1.evil/",
        ] {
            #expect(!WebAddress.isSafe(bad), "\(bad)")
        }
    }
}
