import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import ConduitTesting
import Foundation
import NIOConcurrencyHelpers
import Testing

@testable import ConduitAuth

@Suite struct HookTests {
    private static func configuration(
        _ server: TestHTTPServer, _ change: (inout HookConfiguration) -> Void = { _ in }
    ) -> AuthConfiguration {
        var configuration = AuthConfiguration()
        var hook = HookConfiguration(url: server.url("/auth"))
        hook.timeout = .seconds(20)
        change(&hook)
        configuration.hook = hook
        return configuration
    }

    private static func credentials() -> Credentials {
        var credentials = Credentials(token: "abc")
        credentials.path = "/ws"
        credentials.remoteAddress = "192.0.2.1:5"
        credentials.query = [("token", "abc"), ("room", "a\"b"), ("room", "c")]
        credentials.headers = [
            ("Host", "x"), ("Cookie", "session=1"), ("User-Agent", "ü"), ("X-Request-ID", "7"), ("Authorization", "z"),
        ]
        return credentials
    }

    @Test func theServerSaysWhoItIs() async throws {
        let server = try await TestHTTPServer.start { _ in
            .status(
                200,
                """
                {"user":"ann","info":{"n":1},"rooms":{"chat:*":["join"]},"join":["lobby"],"expires_at":4102444800,
                "meta":{"a":"b"},"publish_anywhere":true,"jti":"x","more":1}
                """)
        }
        let configuration = Self.configuration(server) { $0.secret = "s3cr3t" }
        try await withAuthenticator(configuration) { authenticator in
            let identity = try await authenticator.authenticate(Self.credentials())
            #expect(identity.user == UserID("ann") && identity.expiresAt == 4_102_444_800_000)
            #expect(identity.info?.description == "{\"n\":1}" && identity.tokenID == "x")
            #expect(identity.rooms == [RoomName(literal: "lobby")] && identity.metadata == ["a": "b"])
            #expect(identity.rights?.grants == [.init("chat:*", .join)])
            #expect(identity.mayPublishWithoutJoining && !identity.mayBroadcastToEverybody)
            let request = try #require(server.requests.first)
            #expect(request.method == "POST" && request.path == "/auth")
            #expect(request.headers["authorization"] == "Bearer s3cr3t")
            #expect(request.headers["content-type"] == "application/json")
            let body = try #require(try JSONSerialization.jsonObject(with: Data(request.body.utf8)) as? [String: Any])
            #expect(body["event"] as? String == "connect" && body["token"] as? String == "abc")
            #expect(body["remote_address"] as? String == "192.0.2.1:5" && body["path"] as? String == "/ws")
            #expect(body["query"] as? [String: String] == ["room": "a\"b"])
            #expect(body["client_certificate"] is NSNull)
            #expect(
                body["headers"] as? [String: String] == ["cookie": "session=1", "user-agent": "ü", "x-request-id": "7"])
            let again = try await authenticator.refresh("def", identity)
            #expect(again.user == identity.user)
            #expect(server.requests.last?.body == "{\"event\":\"refresh\",\"token\":\"def\",\"user\":\"ann\"}")
            // One connection for all.
            #expect(server.connections == 1)
        }
    }

    @Test func addressesAreToldPlainly() {
        #expect(Credentials.plain("[IPv4]192.0.2.1:80") == "192.0.2.1:80")
        #expect(Credentials.plain("[IPv6]2001:db8::1:80") == "[2001:db8::1]:80")
        #expect(Credentials.plain("[IPv4]localhost/127.0.0.1:80") == "127.0.0.1:80")
        #expect(Credentials.plain("192.0.2.1") == "192.0.2.1")
    }

    @Test func theServerRefuses() async throws {
        let server = try await TestHTTPServer.start { _ in .status(403, "{\"message\":\"come back tomorrow\"}") }
        try await withAuthenticator(Self.configuration(server)) { authenticator in
            await #expect(throws: AuthenticationError(.refused, "come back tomorrow")) {
                _ = try await authenticator.authenticate(Self.credentials())
            }
            server.answer { _ in .status(401, "{\"message\":\"a\\r\\nSet-Cookie: b\"}") }
            await #expect(throws: AuthenticationError(.refused, "not allowed")) {
                _ = try await authenticator.authenticate(Self.credentials())
            }
            server.answer { _ in .status(204) }
            let nobody = try await authenticator.authenticate(Credentials(token: nil))
            #expect(nobody.user == nil)
            #expect(authenticator.statistics.hookResults == ["refused": 2, "granted": 1])
            #expect(authenticator.statistics.results == ["refused": 2, "anonymous": 1])
        }
    }

    @Test func noUsableAnswerMeansNobodyCanTell() async throws {
        let server = try await TestHTTPServer.start { _ in .status(500) }
        func expectRefusals(
            _ answers: [TestHTTPServer.Answer], timeout: Duration, timeouts: UInt64?
        ) async throws {
            let configuration = Self.configuration(server) {
                $0.timeout = timeout
                $0.breakerFailures = 1000
                $0.answerBytes = 1000
            }
            try await withAuthenticator(configuration) { authenticator in
                for answer in answers {
                    server.answer { _ in answer }
                    await #expect(throws: HookUnavailable.self, "\(answer)") {
                        _ = try await authenticator.authenticate(Self.credentials())
                    }
                }
                #expect(authenticator.statistics.results == ["unavailable": UInt64(answers.count)])
                #expect(authenticator.statistics.hookResults["timeout"] == timeouts)
            }
        }
        let useless: [TestHTTPServer.Answer] = [
            .status(500), .status(404), .status(302), .status(200, "ok"), .status(200, "[]"), .hangUp,
            .status(200, "{\"user\":7}"), .status(200, "{}" + String(repeating: " ", count: 2000)),
        ]
        try await expectRefusals(useless, timeout: .seconds(20), timeouts: nil)
        try await expectRefusals([.silence, .half], timeout: .milliseconds(300), timeouts: 2)
        await server.stop()
    }

    @Test func theBreakerOpensAndCloses() async throws {
        let server = try await TestHTTPServer.start { _ in .status(500) }
        let configuration = Self.configuration(server) {
            $0.breakerFailures = 3
            $0.breakerPause = .milliseconds(100)
        }
        try await withAuthenticator(configuration) { authenticator in
            func ask() async -> Bool { (try? await authenticator.authenticate(Self.credentials())) != nil }
            for _ in 0..<3 { #expect(await !ask()) }
            #expect(authenticator.statistics.breaker == .open)
            let asked = server.requests.count
            #expect(asked == 3)
            #expect(await !ask())
            // Whether that one came within the pause or after it, the server saw one more question at most.
            #expect(server.requests.count <= asked + 1)
            server.answer { _ in .status(204) }
            try await eventually("the breaker closes") { await ask() }
            #expect(authenticator.statistics.breaker == .closed)
        }
    }

    @Test func aServerThatIsAwayIsNoReasonToWait() async throws {
        let server = try await TestHTTPServer.start { _ in .status(204) }
        let configuration = Self.configuration(server)
        await server.stop()
        try await withAuthenticator(configuration) { authenticator in
            await #expect(throws: HookUnavailable.self) {
                _ = try await authenticator.authenticate(Self.credentials())
            }
            #expect(authenticator.statistics.hookResults == ["failed": 1])
        }
    }

    /// One place and four that wait: whoever else comes is told at once. Who has waited for a place until the time is
    /// over may get one at that moment, and is told the same.
    @Test func questionsAreBounded() async throws {
        let server = try await TestHTTPServer.start { _ in .silence }
        let configuration = Self.configuration(server) {
            $0.concurrency = 1
            $0.timeout = .seconds(4)
            $0.breakerFailures = 1000
        }
        try await withAuthenticator(configuration) { authenticator in
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask { _ = try? await authenticator.authenticate(Self.credentials()) }
                }
                await group.waitForAll()
            }
            let results = authenticator.statistics.hookResults
            let timeouts = results["timeout", default: 0]
            #expect(
                (1...5).contains(timeouts) && results == ["timeout": timeouts, "busy": 20 - timeouts], "\(results)")
            #expect(server.requests.count <= 5)
            // Whoever waited in vain has left no place taken.
            server.answer { _ in .status(204) }
            let refusal = try await authenticator.refusal(of: "x")
            #expect(refusal == nil)
        }
    }

    /// Who gets a place late has little time left: the server isn't asked, or isn't blamed for what it had no time to answer.
    @Test(arguments: [0.4, 0.8]) func waitingIsNotTheServersFault(_ share: Double) async throws {
        let server = try await TestHTTPServer.start { _ in .silence }
        let timeout = Duration.seconds(8)
        let configuration = Self.configuration(server) {
            $0.concurrency = 1
            $0.timeout = timeout
            $0.breakerFailures = 1
        }
        try await withAuthenticator(configuration) { authenticator in
            let first = Task { try await authenticator.authenticate(Self.credentials()) }
            try await eventually("the server is asked") { server.requests.count == 1 }
            let start = NIOLockedValueBox<ContinuousClock.Instant?>(nil)
            let second = Task {
                start.withLockedValue { $0 = .now }
                return try await authenticator.authenticate(Self.credentials())
            }
            try await eventually("some of the second's time is over") {
                start.withLockedValue { $0 }.map { ContinuousClock.now - $0 > timeout * share } == true
            }
            first.cancel()
            await #expect(throws: HookUnavailable.self) { _ = try await second.value }
            let results = authenticator.statistics.hookResults
            if share > 0.75 {
                #expect(results["busy"] == 1 && server.requests.count == 1, "\(results)")
            } else {
                #expect(authenticator.statistics.breaker == .closed, "\(results)")
            }
        }
    }

    @Test func joinsAndMessagesAreAskedWhereWanted() async throws {
        let server = try await TestHTTPServer.start { request in
            request.body.contains("\"room\":\"good\"") ? .status(200, "{}") : .status(403)
        }
        let configuration = Self.configuration(server) { $0.asks = [.join] }
        try await withAuthenticator(configuration) { authenticator in
            #expect(authenticator.questions == [.join])
            var generator = SystemRandomNumberGenerator()
            let client = ClientID(node: try #require(NodeID("n")), using: &generator)
            func question(_ action: AuthorizationQuestion.Action, _ room: String) throws -> AuthorizationQuestion {
                AuthorizationQuestion(action, room: try #require(RoomName(room)), client: client, user: UserID("ann"))
            }
            #expect(try await authenticator.authorize(try question(.join, "good")))
            #expect(try await !authenticator.authorize(try question(.join, "bad")))
            #expect(try await authenticator.authorize(try question(.publish, "bad")))
            #expect(
                server.requests.first?.body
                    == "{\"event\":\"join\",\"user\":\"ann\",\"client\":\"\(client)\",\"room\":\"good\"}")
            #expect(server.requests.count == 2)
            await server.stop()
            server.answer { _ in .hangUp }
            await #expect(throws: HookUnavailable.self) {
                _ = try await authenticator.authorize(try question(.join, "good"))
            }
        }
    }

    @Test func tokensAreJudgedHereWhenThereAreKeys() async throws {
        let server = try await TestHTTPServer.start { _ in .status(200, "{\"user\":\"by-cookie\"}") }
        var configuration = Self.configuration(server)
        configuration.jwt.secret = TestKey.secret
        try await withAuthenticator(configuration) { authenticator in
            let token = try await TestKey.make(.hs256).token()
            #expect(try await authenticator.authenticate(Credentials(token: token)).user == UserID("ann"))
            #expect(try await authenticator.refusal(of: "nonsense") == .malformed)
            #expect(server.requests.isEmpty)
            #expect(try await authenticator.authenticate(Credentials(token: nil)).user == UserID("by-cookie"))
        }
    }
}

@Suite struct CircuitBreakerTests {
    @Test func opensAfterFailuresInARowAndTriesOnce() {
        var breaker = CircuitBreaker(failures: 2, pause: .seconds(5))
        let start = ContinuousClock.now
        var changes: [CircuitBreaker.Change] = []
        let first = breaker.mayAsk(at: start)
        #expect(first)
        changes.append(breaker.failed(at: start))
        changes.append(breaker.succeeded())
        changes.append(breaker.failed(at: start))
        changes.append(breaker.failed(at: start))
        #expect(changes == [.none, .none, .none, .opened])
        #expect(breaker.isShut(at: start + .seconds(4)))
        let early = breaker.mayAsk(at: start + .seconds(4))
        let probe = breaker.mayAsk(at: start + .seconds(5))
        let second = breaker.mayAsk(at: start + .seconds(5))
        #expect(!early && probe && !second)
        // The trial fails: another pause.
        changes = [breaker.failed(at: start + .seconds(6))]
        let during = breaker.mayAsk(at: start + .seconds(10))
        let next = breaker.mayAsk(at: start + .seconds(11))
        #expect(changes == [.none] && !during && next)
        // It is given up: somebody else may try at once.
        breaker.abandoned(at: start + .seconds(12))
        let other = breaker.mayAsk(at: start + .seconds(12))
        changes = [breaker.succeeded()]
        #expect(other && changes == [.closed] && breaker.state == .closed)
    }
}

@Suite struct TurnstileTests {
    @Test func firstComeFirstServed() async throws {
        let turnstile = Turnstile(places: 1, waiting: 3)
        let far = ContinuousClock.now + .seconds(60)
        try await turnstile.enter(until: far)
        let order = NIOLockedValueBox<[Int]>([])
        var tasks: [Task<Void, any Error>] = []
        for number in 0..<3 {
            tasks.append(
                Task {
                    try await turnstile.enter(until: far)
                    order.withLockedValue { $0.append(number) }
                    await turnstile.leave()
                })
            try await eventually { await turnstile.waitingCount == number + 1 }
        }
        await #expect(throws: Turnstile.Full.self) { try await turnstile.enter(until: far) }
        // One loses patience; its place goes to the next.
        tasks[1].cancel()
        try await eventually { await turnstile.waitingCount == 2 }
        await turnstile.leave()
        for (number, task) in tasks.enumerated() where number != 1 { try await task.value }
        await #expect(throws: CancellationError.self) { try await tasks[1].value }
        #expect(order.withLockedValue { $0 } == [0, 2])
        try await turnstile.enter(until: far)
        await #expect(throws: TimedOut.self) { try await turnstile.enter(until: .now) }
        await turnstile.leave()
    }
}
