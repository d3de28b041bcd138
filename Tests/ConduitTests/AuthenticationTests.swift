import Conduit
import ConduitAuth
import ConduitTesting
import Foundation
import NIOCore
import Testing

/// Tokens and the hook over whole nodes and real WebSockets.
@Suite struct AuthenticationTests {
    static let secret = "a secret of the tests, long enough for the longest digest of all of them"

    static func token(_ claims: String = "\"sub\":\"ann\"", secret: String = secret) async throws -> String {
        let now = Int64(Date().timeIntervalSince1970)
        return try await TokenIssuer(secret: secret).token(claims: "{\"exp\":\(now + 60),\(claims)}")
    }

    private static func configuration(_ change: (inout AuthConfiguration) -> Void = { _ in }) -> NodeConfiguration {
        var configuration = TestNode.configuration()
        configuration.auth.jwt.secret = secret
        change(&configuration.auth)
        return configuration
    }

    /// The status of a refusal; 101 when there was none.
    private static func status(
        _ node: TestNode, path: String = "/ws", headers: [(String, String)] = [], subprotocols: [String] = []
    ) async throws -> (status: Int, body: String) {
        do {
            let socket = try await TestWebSocket.connect(
                port: node.node.httpPort, path: path, headers: headers, subprotocols: subprotocols)
            await socket.drop()
            return (101, "")
        } catch let answer as TestHTTPResponse {
            return (answer.status, answer.body)
        }
    }

    @Test func aTokenMayComeInFourWays() async throws {
        try await TestNode.with(Self.configuration()) { node in
            let token = try await Self.token()
            let ways: [(path: String, headers: [(String, String)], subprotocols: [String])] = [
                ("/ws", [("Authorization", "Bearer \(token)")], []),
                ("/ws?token=\(token)", [], []),
                ("/ws", [("Cookie", "a=b; conduit_token=\(token)")], []),
                ("/ws", [], ["conduit.v1.json", "conduit.token.\(token)"]),
            ]
            for way in ways {
                let socket = try await TestWebSocket.connect(
                    port: node.node.httpPort, path: way.path, headers: way.headers, subprotocols: way.subprotocols)
                _ = try await socket.request("status")
                try node.hub.send("hello", to: UserID(literal: "ann"))
                _ = try await socket.next(type: "hello")
                await socket.drop()
            }
            let bad = try await Self.token(secret: "another secret, of thirty-two bytes too")
            for way in ways {
                let answer = try await Self.status(
                    node, path: way.path.replacing(token, with: bad),
                    headers: way.headers.map { ($0.0, $0.1.replacing(token, with: bad)) },
                    subprotocols: way.subprotocols.map { $0.replacing(token, with: bad) })
                #expect(answer.status == 401)
                #expect(answer.body.contains("signature") && !answer.body.contains(bad))
            }
            #expect(try await Self.status(node).status == 401)
        }
    }

    @Test func nobodyComesInWhereThatIsAllowed() async throws {
        try await TestNode.with(Self.configuration { $0.allowsAnonymous = true }) { node in
            let open = try await Self.status(node)
            #expect(open.status == 101)
            let bad = try await Self.status(node, path: "/ws?token=nonsense")
            #expect(bad.status == 401)
        }
    }

    @Test func aHookThatFailsKeepsEverybodyOut() async throws {
        let server = try await TestHTTPServer.start { request in
            request.body.contains("\"cookie\":\"session=good\"") ? .status(200, "{\"user\":\"ann\"}") : .status(403)
        }
        let configuration = Self.configuration {
            $0.jwt.secret = ""
            $0.hook = HookConfiguration(url: server.url())
        }
        try await TestNode.with(configuration) { node in
            let good = try await Self.status(node, headers: [("Cookie", "session=good")])
            #expect(good.status == 101)
            let bad = try await Self.status(node, headers: [("Cookie", "session=bad")])
            #expect(bad.status == 401)
            await server.stop()
            server.answer { _ in .hangUp }
            let away = try await Self.status(node, headers: [("Cookie", "session=good")])
            #expect(away.status == 503)
        }
    }

    /// The server is told whom a client's certificate names, and that there is none.
    @Test func aHookIsToldOfClientCertificates() async throws {
        let server = try await TestHTTPServer.start { request in
            let isBot = request.body.contains(
                #""client_certificate":{"common_name":"Bot \"5\"","names":["bot.example","spiffe://example/bot"]}"#)
            return isBot ? .status(200, "{\"user\":\"bot\"}") : .status(403)
        }
        let certificates = try await TestCertificates.make()
        let own = try await certificates.issue(
            "bot", subject: "/O=Example/CN=Bot \"5\"", names: "DNS:bot.example,URI:spiffe://example/bot")
        var configuration = Self.configuration {
            $0.jwt.secret = ""
            $0.hook = HookConfiguration(url: server.url())
        }
        var tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        tls.clientCAFile = certificates.caFile
        tls.clientCertificates = .optional
        configuration.gateway.tls = tls
        try await TestNode.with(configuration) { node in
            let socket = try await TestWebSocket.connect(
                port: node.node.httpPort, authority: certificates.caFile, clientCertificate: own)
            _ = try await socket.request("status")
            await socket.drop()
            do {
                _ = try await TestWebSocket.connect(port: node.node.httpPort, authority: certificates.caFile)
                Issue.record("let in without a certificate")
            } catch let answer as TestHTTPResponse {
                #expect(answer.status == 401)
            }
            #expect(server.requests.last?.body.contains("\"client_certificate\":null}") == true)
        }
    }

    /// A page whose name resolves to 127.0.0.1 has the same name in `Origin` and `Host`, and is a stranger all the same.
    @Test func aPageOfAnotherNameDoesNotReachAnOpenNode() async throws {
        func status(_ node: TestNode, _ name: String) async throws -> Int {
            let socket = try await TestSocket.connect(port: node.node.httpPort)
            try await socket.send(
                """
                GET /ws HTTP/1.1\r\nHost: \(name)\r\nOrigin: http://\(name)\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(TestWebSocket.sampleKey)\r\n\r\n
                """)
            try await socket.wait { $0.contains("\r\n\r\n") }
            let answer = String(buffer: socket.received)
            await socket.close()
            return Int(answer.split(separator: " ").dropFirst().first ?? "") ?? 0
        }
        var configuration = TestNode.configuration()
        try await TestNode.with(configuration) { node in
            let port = node.node.httpPort
            let foreign = try await status(node, "rebound.example:\(port)")
            #expect(foreign == 403)
            for name in ["127.0.0.1", "localhost", "[::1]"] {
                let own = try await status(node, "\(name):\(port)")
                #expect(own == 101)
            }
        }
        // Whoever says what is meant gets it.
        configuration.gateway.origins = try #require(OriginPolicy.list(["http://app.example"]))
        try await TestNode.with(configuration) { node in
            let (listed, foreign) = (try await status(node, "app.example"), try await status(node, "rebound.example"))
            #expect(listed == 101 && foreign == 403)
        }
        configuration.gateway.origins = .sameHost
        configuration.auth.isOpen = true
        for configuration in [configuration, Self.configuration { $0.allowsAnonymous = true }] {
            try await TestNode.with(configuration) { node in
                let same = try await status(node, "app.example")
                #expect(same == 101)
            }
        }
    }

    /// A node stops at once, and a start that fails leaves nothing behind, though a server of theirs is silent.
    @Test func silentServersHoldNobodyUp() async throws {
        let server = try await TestHTTPServer.start { _ in .silence }
        var configuration = Self.configuration {
            $0.jwt.jwksURL = server.url()
            $0.hook = HookConfiguration(url: server.url())
        }
        try await TestNode.with(configuration) { node in
            try await eventually("the key set is asked for") { !server.requests.isEmpty }
            let token = try await Self.token()
            let answer = try await Self.status(node, headers: [("Authorization", "Bearer \(token)")])
            #expect(answer.status == 101)
        }
        configuration.gateway.host = "192.0.2.1"
        await #expect(throws: PortUnavailable.self) { _ = try await ConduitNode.start(configuration: configuration) }
        configuration.auth.jwt.publicKeyFile = "/no/such/file"
        await #expect(throws: (any Error).self) { _ = try await ConduitNode.start(configuration: configuration) }
    }

    @Test func metricsTellOfTokens() async throws {
        let node = try await NodeProcess.start("metrics-1", ["CONDUIT_AUTH_JWT_SECRET": Self.secret])
        let token = try await Self.token()
        let socket = try await TestWebSocket.connect(port: node.port, headers: [("Authorization", "Bearer \(token)")])
        await #expect(throws: TestHTTPResponse.self) {
            _ = try await TestWebSocket.connect(port: node.port, path: "/ws?token=secret.token.text")
        }
        let admin = try await TestSocket.connect(port: node.adminPort)
        try await admin.send("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:\(node.adminPort)\r\nConnection: close\r\n\r\n")
        let page = try await admin.waitForClose()
        #expect(page.contains("conduit_authentications_total{result=\"accepted\"} 1"))
        #expect(page.contains("conduit_authentications_total{result=\"malformed\"} 1"))
        #expect(!page.contains("conduit_auth_hook_breaker"))
        await socket.drop()
        #expect(!node.log.contains(token) && !node.log.contains("secret.token.text"))
    }

    @Test func anOpenNodeStaysOnLoopback() async throws {
        var configuration = TestNode.configuration()
        configuration.gateway.host = "0.0.0.0"
        try await TestNode.with(configuration) { node in
            #expect(node.node.configuration.gateway.host == "127.0.0.1")
            #expect(node.node.url.hasPrefix("ws://127.0.0.1:"))
        }
        configuration.auth.isOpen = true
        try await TestNode.with(configuration) { node in #expect(node.node.configuration.gateway.host == "0.0.0.0") }
        configuration.auth.isOpen = false
        try await TestNode.with(configuration, authenticate: { _ in Identity(user: nil) }) { node in
            #expect(node.node.configuration.gateway.host == "0.0.0.0")
        }
        configuration.auth.jwt.secret = Self.secret
        try await TestNode.with(configuration) { node in #expect(node.node.configuration.gateway.host == "0.0.0.0") }
        configuration.gateway.host = "::"
        configuration.auth.jwt.secret = ""
        #expect(configuration.listeningHost(isAuthenticated: false) == "::1")
    }

    @Test func aNodeSaysLoudlyThatItIsOpen() async throws {
        let check = try await Program.run("check-config", "--host", "0.0.0.0")
        #expect(check.status == 0)
        #expect(check.output.contains("conduit: warning: this node is OPEN: no authentication is configured"))
        #expect(check.output.contains("127.0.0.1 only, not on 0.0.0.0"))
        let quiet = try await Program.run("check-config", environment: ["CONDUIT_AUTH_JWT_SECRET": Self.secret])
        #expect(quiet.output == "The configuration is in order.\n")
        let endless = try await Program.run(
            "check-config",
            environment: ["CONDUIT_AUTH_JWT_SECRET": Self.secret, "CONDUIT_AUTH_JWT_REQUIRE_EXPIRY": "false"])
        #expect(endless.status == 0)
        #expect(endless.output.contains("conduit: warning: tokens without an end are taken"))
        let node = try await NodeProcess.start("open-1", ["CONDUIT_HTTP_HOST": "0.0.0.0"])
        try await eventually { node.log.contains("this node is OPEN") }
        #expect(!node.log.contains("ws://0.0.0.0"))
        let closed = try await NodeProcess.start("closed-1", ["CONDUIT_AUTH_JWT_SECRET": Self.secret])
        #expect(try await closed.get("/health").status == 200)
        #expect(!closed.log.contains("OPEN") && !closed.log.contains(Self.secret))
    }

    // MARK: Settings

    @Test(arguments: [
        (["auth.anonymous=true"], "auth.anonymous"),
        (["auth.jwt.secret=short"], "auth.jwt.secret"),
        (["auth.jwt.previous-secret=\(secret)"], "auth.jwt.previous-secret"),
        (["auth.jwt.previous-public-key=/k"], "auth.jwt.previous-public-key"),
        (["auth.jwt.public-key=/no/such/file"], "auth.jwt.public-key"),
        (["auth.jwt.jwks-url=http://id.example/jwks"], "auth.jwt.jwks-url"),
        (["auth.jwt.issuer=a"], "auth.jwt.issuer"),
        (["auth.jwt.secret=\(secret)", "auth.jwt.algorithms=RS256"], "auth.jwt.algorithms"),
        (["auth.jwt.secret=\(secret)", "auth.jwt.algorithms=none"], "auth.jwt.algorithms"),
        (["auth.jwt.secret=\(secret.prefix(63))", "auth.jwt.algorithms=HS512"], "auth.jwt.algorithms"),
        (["auth.url=http://a/", "auth.anonymous=true"], "auth.anonymous"),
        (["auth.url=http://a/", "auth.url-asks=join"], "auth.url-asks"),
        (["auth.url=ftp://a/"], "auth.url"), (["auth.url-secret=x"], "auth.url-secret"),
        (["auth.default-rights=a=fly"], "auth.default-rights"), (["auth.ca-file=/no/such/file"], "auth.ca-file"),
    ])
    func contradictionsAreFound(_ settings: [String], _ key: String) throws {
        let overrides = settings.map { text in
            let parts = text.split(separator: "=", maxSplits: 1)
            return ConfigurationOverride(key: String(parts[0]), value: String(parts[1]), source: "--set")
        }
        do throws(ConfigurationError) {
            _ = try NodeConfiguration.load(overrides: overrides, environment: [:])
            Issue.record("accepted: \(settings)")
        } catch {
            #expect(error.problems.map(\.key) == [key])
            #expect(!error.description.contains(Self.secret))
        }
    }

    @Test func settingsAreRead() throws {
        let configuration = try NodeConfiguration.load(environment: [
            "CONDUIT_AUTH_JWT_SECRET": Self.secret, "CONDUIT_AUTH_JWT_JWKS_URL": "https://id.example/jwks",
            "CONDUIT_AUTH_JWT_ALGORITHMS": "HS256,EdDSA", "CONDUIT_AUTH_JWT_ISSUER": "shop",
            "CONDUIT_AUTH_JWT_AUDIENCE": "a,b", "CONDUIT_AUTH_JWT_LEEWAY": "1s", "CONDUIT_AUTH_JWT_JWKS_REFRESH": "1m",
            "CONDUIT_AUTH_JWT_REQUIRE_EXPIRY": "false", "CONDUIT_AUTH_DEFAULT_RIGHTS": "chat:*=join+publish,news=join",
            "CONDUIT_AUTH_URL": "http://app:3000/auth", "CONDUIT_AUTH_URL_ASKS": "join,publish",
            "CONDUIT_AUTH_URL_TIMEOUT": "1s", "CONDUIT_AUTH_URL_CONCURRENCY": "3", "CONDUIT_AUTH_URL_SECRET": "x",
            "CONDUIT_AUTH_URL_BREAKER_FAILURES": "2", "CONDUIT_AUTH_URL_BREAKER_PAUSE": "1m",
        ])
        let auth = configuration.auth
        #expect(auth.isConfigured && !auth.isOpen && !auth.allowsAnonymous)
        #expect(
            auth.jwt.algorithms == [.hs256, .edDSA] && auth.jwt.issuer == "shop" && auth.jwt.audience == ["a", "b"])
        #expect(auth.jwt.leeway == .seconds(1) && auth.jwt.jwksRefresh == .seconds(60) && !auth.jwt.requiresExpiry)
        #expect(auth.defaultRights?.grants == [.init("chat:*", [.join, .publish]), .init("news", .join)])
        #expect(auth.anonymousRights?.grants == [.init("*", [.join, .presence, .history])])
        let hook = try #require(auth.hook)
        #expect(hook.asks == [.join, .publish] && hook.timeout == .seconds(1) && hook.concurrency == 3)
        #expect(hook.secret == "x" && hook.breakerFailures == 2 && hook.breakerPause == .seconds(60))
        #expect(try NodeConfiguration.load(environment: [:]).auth.defaultRights == nil)
    }
}

@Suite struct TokenCommandTests {
    private static let environment = ["CONDUIT_AUTH_JWT_SECRET": AuthenticationTests.secret]

    @Test func issuesAndInspects() async throws {
        let issued = try await Program.run(
            [
                "token", "issue", "--sub", "ann", "--ttl", "10m", "--room", "chat:*=join,publish", "--join", "lobby",
                "--info", "{\"name\":\"Ann\"}", "--meta", "plan=pro", "--audience", "chat",
            ], environment: Self.environment)
        #expect(issued.status == 0, "\(issued.output)")
        let token = issued.output.trimmingCharacters(in: .newlines)
        let shown = try await Program.run(
            ["token", "inspect", token, "--set", "auth.jwt.audience=chat"], environment: Self.environment)
        #expect(shown.status == 0, "\(shown.output)")
        for text in [
            "\"HS256\"", "{\"chat:*\":[\"join\",\"publish\"]}", "[\"lobby\"]", "{\"name\":\"Ann\"}", "in 10 minutes",
            "good: the user ann",
        ] {
            #expect(shown.output.contains(text), "\(text) in \(shown.output)")
        }
        let elsewhere = try await Program.run(
            ["token", "inspect", token, "--set", "auth.jwt.issuer=shop"], environment: Self.environment)
        #expect(elsewhere.status == 65 && elsewhere.output.contains("refused (wrong_issuer)"))
        let unknown = try await Program.run("token", "inspect", token)
        #expect(unknown.status == 69 && unknown.output.contains("not checked"))
        let other = try await Program.run(
            ["token", "inspect", token], environment: ["CONDUIT_AUTH_JWT_SECRET": "another secret of thirty-two bytes"])
        #expect(other.status == 65 && other.output.contains("bad_signature"))
        let none = try await Program.run("token", "inspect", "nonsense")
        #expect(none.status == 65)
    }

    @Test func keysMayComeFromFilesAndStandardInput() async throws {
        let folder = try TemporaryFolder("token")
        let made = try await ChildProcess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder.path("key.pem")])
        #expect(made.status == 0)
        let derived = try await ChildProcess.run(
            ["openssl", "pkey", "-in", folder.path("key.pem"), "-pubout", "-out", folder.path("public.pem")])
        #expect(derived.status == 0)
        let issued = try await Program.run("token", "issue", "--sub", "ann", "--key", folder.path("key.pem"))
        #expect(issued.status == 0, "\(issued.output)")
        let shown = try await ChildProcess.run(
            [try Program.path, "token", "inspect", "--set", "auth.jwt.public-key=\(folder.path("public.pem"))"],
            input: issued.output)
        #expect(shown.status == 0 && shown.output.contains("\"EdDSA\""), "\(shown.output)")
        let bySecret = try await ChildProcess.run(
            [try Program.path, "token", "issue", "--sub", "bob", "--secret-file", "-", "--algorithm", "HS512"],
            input: AuthenticationTests.secret + "\n")
        #expect(bySecret.status == 0, "\(bySecret.output)")
        let checked = try await Program.run(
            ["token", "inspect", bySecret.output.trimmingCharacters(in: .newlines)], environment: Self.environment)
        #expect(checked.status == 0 && checked.output.contains("good: the user bob"), "\(checked.output)")
    }

    @Test(arguments: [
        ["--sub", ""], ["--ttl", "1"], ["--room", "a=fly"], ["--join", ""], ["--info", "{"], ["--meta", "x"],
        ["--algorithm", "none"], ["--secret", "x", "--key", "y"],
    ])
    func wrongUsageExits64(_ arguments: [String]) async throws {
        let outcome = try await Program.run(["token", "issue"] + arguments, environment: Self.environment)
        #expect(outcome.status == 64, "\(outcome.output)")
    }

    @Test func whatNobodyWouldTakeIsNotIssued() async throws {
        let short = try await Program.run("token", "issue", "--secret", "short")
        #expect(short.status == 65 && short.output.contains("32 bytes"))
        let large = try await Program.run(
            ["token", "issue", "--info", "\"" + String(repeating: "x", count: 5000) + "\""],
            environment: Self.environment)
        #expect(large.status == 65)
        let none = try await Program.run("token", "issue")
        #expect(none.status == 64)
    }
}
