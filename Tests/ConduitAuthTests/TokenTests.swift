import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import ConduitTesting
import Foundation
import JWTKit
import NIOCore
import Testing

@testable import ConduitAuth

@Suite struct TokenTests {
    private static func file(_ text: String) throws -> (TemporaryFolder, String) {
        let folder = try TemporaryFolder("keys")
        let path = folder.path("key")
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return (folder, path)
    }

    // MARK: Signatures

    @Test(arguments: TokenAlgorithm.allCases)
    func everyAlgorithmSignsAndVerifies(_ algorithm: TokenAlgorithm) async throws {
        let (key, other) = (try await TestKey.make(algorithm), try await TestKey.make(algorithm))
        var configuration = AuthConfiguration()
        let (folder, path) = try Self.file(key.publicPEM)
        if algorithm.isSymmetric {
            configuration.jwt.secret = key.secret
        } else {
            configuration.jwt.publicKeyFile = path
        }
        try await withAuthenticator(configuration) { authenticator in
            let token = try await key.token()
            let identity = try await authenticator.authenticate(Credentials(token: token))
            #expect(identity.user == UserID("ann"))
            #expect(identity.rights == nil && !identity.mayBroadcastToEverybody && !identity.mayPublishWithoutJoining)
            // Somebody else's, and one that was changed.
            let forged =
                algorithm.isSymmetric
                ? try await TokenIssuer(secret: TestKey.otherSecret, algorithm: algorithm)
                    .token(claims: "{\"sub\":\"ann\",\"exp\":\(TestKey.now + 60)}")
                : try await other.token()
            #expect(try await authenticator.refusal(of: forged) == .badSignature)
            let parts = token.split(separator: ".")
            let claims = Base64URL.encode("{\"sub\":\"root\",\"exp\":\(TestKey.now + 60)}".utf8)
            #expect(try await authenticator.refusal(of: "\(parts[0]).\(claims).\(parts[2])") == .badSignature)
            #expect(try await authenticator.refusal(of: "\(parts[0]).\(parts[1]).") == .badSignature)
        }
        _ = folder
    }

    /// The attacks that JWT libraries are known for.
    @Test func aTokenDoesNotChooseItsAlgorithm() async throws {
        let rsa = try await TestKey.make(.rs256)
        let (folder, path) = try Self.file(rsa.publicPEM)
        var configuration = AuthConfiguration()
        configuration.jwt.publicKeyFile = path
        try await withAuthenticator(configuration) { authenticator in
            let claims = "{\"sub\":\"root\",\"exp\":\(TestKey.now + 60)}"
            let body = Base64URL.encode(claims.utf8)
            // No signature at all.
            for name in ["none", "None", "NONE", "nOnE", ""] {
                let header = Base64URL.encode("{\"alg\":\"\(name)\"}".utf8)
                #expect(try await authenticator.refusal(of: "\(header).\(body).") == .algorithm)
                #expect(try await authenticator.refusal(of: "\(header).\(body).AAAA") == .algorithm)
            }
            // The public key, known to everybody, as the secret of an HMAC.
            for secret in [rsa.publicPEM, rsa.publicPEM.trimmingCharacters(in: .newlines)] {
                let token = try await TokenIssuer(secret: secret).token(claims: claims)
                #expect(try await authenticator.refusal(of: token) == .unknownKey)
            }
            // The token brings its own key, or says where to get it.
            let own = try await TestKey.make(.rs256)
            for more in ["\"jwk\":{\(own.jwk)}", "\"jku\":\"http://127.0.0.1:1/\"", "\"x5u\":\"http://127.0.0.1:1/\""] {
                let header = Base64URL.encode("{\"alg\":\"RS256\",\(more)}".utf8)
                let signer = try await KeyMaterial.lent {
                    guard let key = try? Insecure.RSA.PrivateKey(pem: own.privatePEM) else { return }
                    await $0.add(rsa: key, digestAlgorithm: .sha256)
                }
                let signature = Base64URL.encode(try signer.sign(Array("\(header).\(body)".utf8)))
                #expect(try await authenticator.refusal(of: "\(header).\(body).\(signature)") == .badSignature)
            }
            // Extensions that must be understood and aren't.
            let critical = Base64URL.encode("{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}".utf8)
            #expect(try await authenticator.refusal(of: "\(critical).\(body).AAAA") == .malformed)
            // The other algorithm of the same key is fine, unless the settings say otherwise.
            let pss = try await TokenIssuer(privateKey: rsa.privatePEM, algorithm: .ps256).token(claims: claims)
            #expect(try await authenticator.refusal(of: pss) == nil)
        }
        configuration.jwt.algorithms = [.ps256]
        let token = try await rsa.token()
        let refusal = try await withAuthenticator(configuration) { try await $0.refusal(of: token) }
        #expect(refusal == .algorithm)
        _ = folder
    }

    @Test func previousKeysAreStillTaken() async throws {
        let (new, old) = (try await TestKey.make(.es256), try await TestKey.make(.edDSA))
        let (folder, path) = try Self.file(new.publicPEM)
        let (oldFolder, oldPath) = try Self.file(old.publicPEM)
        let configuration = AuthConfiguration.secret {
            $0.jwt.previousSecret = TestKey.otherSecret
            $0.jwt.publicKeyFile = path
            $0.jwt.previousPublicKeyFile = oldPath
        }
        try await withAuthenticator(configuration) { authenticator in
            let claims = "{\"exp\":\(TestKey.now + 60)}"
            for secret in [TestKey.secret, TestKey.otherSecret] {
                let token = try await TokenIssuer(secret: secret).token(claims: claims)
                #expect(try await authenticator.refusal(of: token) == nil)
            }
            #expect(try await authenticator.refusal(of: try await new.token()) == nil)
            #expect(try await authenticator.refusal(of: try await old.token()) == nil)
        }
        _ = (folder, oldFolder)
    }

    @Test func keysThatAreNoneAreSaid() async throws {
        let key = try await TestKey.make(.es256)
        for (text, word) in [("nonsense", "no public key"), (key.privatePEM, "private key")] {
            let (folder, path) = try Self.file(text)
            var tokens = TokenConfiguration()
            tokens.publicKeyFile = path
            #expect(tokens.problem()?.key == "auth.jwt.public-key")
            #expect(tokens.problem()?.message.contains(word) ?? false)
            await #expect(throws: AuthSetupError.self) { _ = try await tokens.fixedKeys() }
            _ = folder
        }
        var short = TokenConfiguration()
        short.secret = "short"
        #expect(short.problem()?.description == "auth.jwt.secret: the secret is shorter than 32 bytes")
    }

    @Test func aShortSecretIsForAShortDigest() async throws {
        let long = try await TestKey.make(.hs512).token()
        let secret = String(TestKey.secret.prefix(48))
        let kept = try await KeyMaterial.secret(secret)
        #expect(kept.map(\.algorithm) == [.hs256, .hs384])
        await #expect(throws: KeyError.self) { _ = try await TokenIssuer(secret: secret, algorithm: .hs512) }
        let refusal = try await withAuthenticator(.secret(secret)) { try await $0.refusal(of: long) }
        #expect(refusal == .unknownKey)
    }

    // MARK: Forms

    @Test func nonsenseIsMalformed() async throws {
        try await withAuthenticator(.secret()) { authenticator in
            let good = try await TestKey.make(.hs256).token()
            let huge = String(repeating: "a", count: SignedToken.maximumBytes + 1)
            for text in [
                "", "a", "a.b", "..", "a.b.c.d", "é.é.é", good + ".", good + "=", " " + good, huge, "e30.e30.",
            ] {
                #expect(try await authenticator.refusal(of: text) == .malformed, "\(text.prefix(40))")
            }
            let twice = Base64URL.encode("{\"alg\":\"HS256\",\"alg\":\"none\"}".utf8)
            #expect(try await authenticator.refusal(of: "\(twice).e30.AAAA") == .malformed)
        }
    }

    @Test func base64IsStrict() {
        for bytes in [[], [0], [255, 254], [1, 2, 3], Array(0...255)] as [[UInt8]] {
            #expect(Base64URL.decode(Base64URL.encode(bytes).utf8) == bytes)
        }
        for text in ["A", "AAAAA", "AA==", "A+AA", "A/AA", "AB", "AAB", "A A", "A\n"] {
            #expect(Base64URL.decode(text.utf8) == nil, "\(text)")
        }
    }

    @Test func jsonIsStrict() throws {
        let text = " {\"a\" : [1, {\"b\":\"\\u00e9\"} ,true,null] , \"c\":-1.5e2} "
        let value = try JSONValue(document: ByteBuffer(string: text))
        let members = try #require(value.object)
        guard case .array(let elements)? = members["a"]?.content, case .number(let number)? = members["c"]?.content
        else {
            Issue.record("not of the shape")
            return
        }
        #expect(elements.count == 4 && number == -150 && elements[3].isNull)
        #expect(elements[1].object?["b"]?.string == "é")
        for wrong in ["{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "[1,]", "{} {}", "\u{FEFF}{}"] {
            #expect(throws: (any Error).self) { try JSONValue(document: ByteBuffer(string: wrong)) }
        }
        #expect(throws: (any Error).self) { try JSONValue(document: ByteBuffer(bytes: [0x22, 0xFF, 0x22])) }
    }

    // MARK: Claims

    @Test func timesIssuerAndAudienceAreChecked() async throws {
        let key = try await TestKey.make(.hs256)
        let issuer = try await key.issuer()
        let now = TestKey.now
        let configuration = AuthConfiguration.secret {
            $0.jwt.issuer = "shop"
            $0.jwt.audience = ["chat", "games"]
        }
        let table: [(String, AuthenticationError.Reason?)] = [
            ("\"exp\":\(now + 60)", nil),
            ("\"exp\":\(now + 60).5,\"nbf\":\(now - 5),\"iat\":\(now - 5)", nil),
            // Within the leeway of 10 s.
            ("\"exp\":\(now - 2),\"nbf\":\(now + 5),\"iat\":\(now - 60)", nil),
            ("\"exp\":\(now - 60)", .expired),
            ("\"exp\":\(now + 600),\"nbf\":\(now + 60)", .notYetValid),
            ("\"exp\":\(now + 600),\"iat\":\(now + 60)", .notYetValid),
            ("\"exp\":\(now + 60),\"iat\":\(now + 61)", .badClaims),
            ("\"nbf\":\(now)", .badClaims),
            ("\"exp\":null", .badClaims),
            ("\"exp\":\"\(now + 60)\"", .badClaims),
            ("\"exp\":-1", .badClaims),
            ("\"exp\":1e300", .badClaims),
            ("\"exp\":\(now + 60),\"nbf\":true", .badClaims),
        ]
        try await withAuthenticator(configuration) { authenticator in
            for (claims, reason) in table {
                let token = try issuer.token(claims: "{\"iss\":\"shop\",\"aud\":[\"x\",\"chat\"],\(claims)}")
                #expect(try await authenticator.refusal(of: token) == reason, "\(claims)")
            }
            let others: [(String, AuthenticationError.Reason?)] = [
                ("\"iss\":\"shop\",\"aud\":\"games\"", nil),
                ("\"iss\":\"shop\",\"aud\":\"other\"", .wrongAudience),
                ("\"iss\":\"shop\"", .wrongAudience),
                ("\"iss\":\"shop\",\"aud\":[]", .wrongAudience),
                ("\"iss\":\"shop\",\"aud\":7", .badClaims),
                ("\"iss\":\"Shop\",\"aud\":\"chat\"", .wrongIssuer),
                ("\"aud\":\"chat\"", .wrongIssuer),
                ("\"iss\":[\"shop\"],\"aud\":\"chat\"", .badClaims),
            ]
            for (claims, reason) in others {
                let token = try issuer.token(claims: "{\"exp\":\(now + 60),\(claims)}")
                #expect(try await authenticator.refusal(of: token) == reason, "\(claims)")
            }
            #expect(authenticator.statistics.results["wrong_audience"] == 3)
        }
    }

    /// Who takes a token in spite of clocks that are apart must do so when it asks whether it is older than a revocation.
    @Test func aTokenOfAClockThatIsAheadIsRevokedToo() async throws {
        let key = try await TestKey.make(.hs256)
        let revocations = Revocations()
        let now = WallClock.milliseconds
        let end = now + 3_600_000
        revocations.add([Revocation(.user(UserID(literal: "ann")), revokedAt: now, expiresAt: end)])
        try await withAuthenticator(.secret()) { authenticator in
            let token = try await key.token("\"sub\":\"ann\",\"iat\":\(TestKey.now + 5)")
            let identity = try await authenticator.authenticate(Credentials(token: token))
            #expect(identity.leeway == 10_000)
            await #expect(throws: AuthenticationError(.revoked, "the token was revoked")) {
                _ = try await authenticator.authenticate(Credentials(token: token), revocations)
            }
        }
    }

    @Test func claimsMakeAnIdentity() async throws {
        let key = try await TestKey.make(.hs256)
        let token = try await key.token(
            """
            "sub":"ann","iat":\(TestKey.now - 1),"jti":"t-1","info":{"name":"Ann é"},"join":["lobby","news","lobby"],
            "rooms":{"chat:*":["join","publish"],"news":["join","history","presence"]},"meta":{"plan":"pro"},
            "broadcast_all":true,"publish_anywhere":true,"unknown":[{}]
            """)
        let identity = try await withAuthenticator(.secret()) { try await $0.authenticate(Credentials(token: token)) }
        #expect(identity.user == UserID("ann") && identity.tokenID == "t-1")
        #expect(identity.info?.description == "{\"name\":\"Ann é\"}")
        #expect(identity.rooms == [RoomName(literal: "lobby"), RoomName(literal: "news")])
        #expect(identity.metadata == ["plan": "pro"])
        #expect(identity.mayBroadcastToEverybody && identity.mayPublishWithoutJoining && identity.maySend)
        let silent = try await key.token("\"send\":false")
        #expect(
            try await !withAuthenticator(.secret()) { try await $0.authenticate(Credentials(token: silent)) }.maySend)
        #expect(identity.issuedAt != nil && identity.expiresAt != nil)
        let rights = try #require(identity.rights)
        #expect(rights.allows([.join, .publish], in: RoomName(literal: "chat:1")))
        #expect(!rights.allows(.history, in: RoomName(literal: "chat:1")))
        #expect(!rights.allows(.publish, in: RoomName(literal: "news")))
        let all = try await key.token("\"rooms\":[\"*\"]")
        #expect(
            try await withAuthenticator(.secret()) { try await $0.authenticate(Credentials(token: all)) }.rights == nil)
    }

    @Test(arguments: [
        "\"sub\":7", "\"sub\":\"\"", "\"sub\":\"a\\u0000b\"", "\"jti\":1", "\"jti\":\"\"", "\"info\":\"\(large)\"",
        "\"join\":\"lobby\"", "\"join\":[1]", "\"join\":[\"\"]", "\"join\":[\(many(129))]", "\"rooms\":\"*\"",
        "\"rooms\":[1]", "\"rooms\":[\"\"]", "\"rooms\":{\"a\":\"join\"}", "\"rooms\":{\"a\":[\"admin\"]}",
        "\"rooms\":{\"a\":[1]}", "\"rooms\":[\(many(257))]", "\"meta\":{\"a\":1}", "\"meta\":[]", "\"broadcast_all\":1",
        "\"publish_anywhere\":\"true\"", "\"send\":0",
    ])
    func claimsOfTheWrongFormRefuse(_ claims: String) async throws {
        let token = try await TestKey.make(.hs256).token(claims)
        try await withAuthenticator(.secret()) { authenticator in
            do {
                _ = try await authenticator.authenticate(Credentials(token: token))
                Issue.record("accepted: \(claims.prefix(60))")
            } catch let error as AuthenticationError {
                #expect(error.reason == .badClaims)
                let name = claims.split(separator: "\"")[0]
                #expect(error.message.contains(name), "\(error.message)")
                #expect(!error.message.contains("admin") && error.message.utf8.count < 120)
            }
        }
    }

    private static let large = String(repeating: "x", count: 4096)
    private static func many(_ count: Int) -> String {
        (0..<count).map { "\"r\($0)\"" }.joined(separator: ",")
    }

    // MARK: Who brings nothing

    @Test func anonymousOnlyWhenTheConfigurationSaysSo() async throws {
        let refusal = try await withAuthenticator(.secret()) { try await $0.refusal(of: nil) }
        #expect(refusal == .missing)
        let rights = RoomRights([.init("public:*", [.join])])
        let configuration = AuthConfiguration.secret {
            $0.allowsAnonymous = true
            $0.anonymousRights = rights
        }
        try await withAuthenticator(configuration) { authenticator in
            let identity = try await authenticator.authenticate(Credentials(token: nil))
            #expect(identity.user == nil && identity.rights == rights)
            #expect(!identity.mayBroadcastToEverybody && !identity.mayPublishWithoutJoining && !identity.maySend)
            // A bad token is no way to be nobody.
            #expect(try await authenticator.refusal(of: "nonsense") == .malformed)
            #expect(authenticator.statistics.results == ["anonymous": 1, "malformed": 1])
        }
    }

    @Test func refreshKeepsTheUser() async throws {
        let key = try await TestKey.make(.hs256)
        try await withAuthenticator(.secret()) { authenticator in
            let ann = try await authenticator.authenticate(Credentials(token: try await key.token()))
            let next = try await authenticator.refresh(try await key.token("\"sub\":\"ann\",\"jti\":\"2\""), ann)
            #expect(next.tokenID == "2")
            await #expect(throws: RequestError(.permissionDenied, "the token is for another user")) {
                _ = try await authenticator.refresh(try await key.token("\"sub\":\"bob\""), ann)
            }
            let old = try await key.issuer().token(claims: "{\"sub\":\"ann\",\"exp\":\(TestKey.now - 60)}")
            await #expect(throws: RequestError(.tokenExpired, "the token has expired")) {
                _ = try await authenticator.refresh(old, ann)
            }
            let results = authenticator.statistics.results
            #expect(results == ["accepted": 1, "refreshed": 1, "refused": 1, "expired": 1])
        }
    }

    @Test func rightsAreReadFromText() {
        #expect(RoomRights.Grant(text: "chat:*=join+publish") == .init("chat:*", [.join, .publish]))
        #expect(RoomRights.Grant(text: "chat:*=join,publish") == .init("chat:*", [.join, .publish]))
        #expect(RoomRights.Grant(text: "lobby") == .init("lobby", .all))
        #expect(RoomRights.Grant(text: "a=b=join") == .init("a=b", .join))
        #expect(RoomRights.Grant(text: "secret=") == .init("secret", []))
        for wrong in ["", "=join", "a=admin", "a\u{7}=join"] { #expect(RoomRights.Grant(text: wrong) == nil) }
    }
}
