import ConduitCore
import ConduitHub
import ConduitTesting
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing

@testable import ConduitGateway

/// A gateway on real sockets, with a hub behind it.
@Suite struct GatewayTests {
    /// Starts a gateway, runs a test, and ends both.
    static func withGateway(
        hub limits: HubConfiguration = HubConfiguration(),
        _ configure: (inout GatewayConfiguration) -> Void = { _ in },
        readiness: @escaping @Sendable () -> Readiness = { .ready }, authenticate: AuthenticationHandler? = nil,
        _ body: (_ port: Int, _ gateway: Gateway, _ hub: Hub) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        var configuration = GatewayConfiguration()
        configuration.port = 0
        configure(&configuration)
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        let loops = Array(group.makeIterator())
        let hub = try await Hub.make(
            node: try #require(NodeID("n1")), eventLoops: loops, configuration: limits, logger: logger)
        let gateway = Gateway(
            configuration: configuration, hub: hub, group: group, logger: logger, readiness: readiness,
            authenticate: authenticate)
        let address = try await gateway.start()
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(try #require(address.port), gateway, hub))
        } catch {
            result = .failure(error)
        }
        await gateway.stopAccepting()
        await hub.shutdown(within: .seconds(1))
        try await group.shutdownGracefully()
        try result.get()
    }

    static let upgrade =
        "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: \(TestWebSocket.sampleKey)\r\n"

    /// Sends bytes and reads the answer until the server closes.
    static func exchange(_ port: Int, _ request: String) async throws -> TestHTTPResponse {
        let socket = try await TestSocket.connect(port: port)
        try await socket.send(request)
        let text = try await socket.waitForClose()
        await socket.close()
        return try #require(TestHTTPResponse(text), "\(text.prefix(200))")
    }

    static func refusal(_ connect: () async throws -> TestWebSocket) async -> TestHTTPResponse? {
        do {
            _ = try await connect()
            return nil
        } catch {
            return error as? TestHTTPResponse
        }
    }

    // MARK: Pages

    @Test func servesItsPages() async throws {
        try await Self.withGateway { port, gateway, _ in
            let health = try await Self.exchange(port, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(health.status == 200)
            #expect(health.body == "{\"status\":\"alive\"}\n")
            #expect(health["content-type"] == "application/json")
            #expect(health["connection"] == "close")
            let ready = try await Self.exchange(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(ready.body == "{\"status\":\"ready\"}\n")
            let page = try await Self.exchange(port, "GET /?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(page.status == 200)
            #expect(page["content-type"] == "text/html; charset=utf-8")
            #expect(page["x-content-type-options"] == "nosniff")
            #expect(page["content-security-policy"]?.contains("connect-src 'self' ws: wss:") == true)
            #expect(page.body.lowercased().hasPrefix("<!doctype html>"))
            #expect(page["content-length"] == String(page.body.utf8.count))
            let head = try await Self.exchange(port, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(head.body.isEmpty)
            #expect(head["content-length"] == page["content-length"])
            // As the health checks of old load balancers are.
            let old = try await Self.exchange(port, "GET /health HTTP/1.0\r\n\r\n")
            #expect(old.status == 200)
            #expect(gateway.statistics.results["page"] == 5)
        }
    }

    @Test func theExampleClientCanBeTurnedOff() async throws {
        try await Self.withGateway({ $0.exampleClient = false }) { port, _, _ in
            let answer = try await Self.exchange(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(answer.status == 404)
        }
    }

    @Test(arguments: [
        (Readiness.starting, 503, false), (.ready, 200, true), (.degraded, 299, true), (.overloaded, 503, false),
        (.draining, 503, false),
    ])
    func readinessDecides(_ readiness: Readiness, _ status: Int, _ accepts: Bool) async throws {
        try await Self.withGateway({ $0.degradedStatus = 299 }, readiness: { readiness }) { port, _, _ in
            let ready = try await Self.exchange(port, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(ready.status == status)
            #expect(ready.body == "{\"status\":\"\(readiness.rawValue)\"}\n")
            #expect(try await Self.exchange(port, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
            let refusal = await Self.refusal { try await TestWebSocket.connect(port: port) }
            #expect(refusal?.status == (accepts ? nil : 503))
            #expect(refusal.map { $0["retry-after"] != nil } ?? true)
        }
    }

    // MARK: Refusals

    @Test(arguments: [
        ("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 426), ("POST /ws HTTP/1.1\r\n\(upgrade)\r\n", 405),
        ("GET /ws HTTP/1.0\r\n\(upgrade)\r\n", 400), ("GET /other HTTP/1.1\r\n\(upgrade)\r\n", 404),
        ("GET /ws HTTP/1.1\r\n\(upgrade)Host: b\r\n\r\n", 400),
        ("GET /ws HTTP/1.1\r\n\(upgrade)Sec-WebSocket-Key: \(TestWebSocket.sampleKey)\r\n\r\n", 400),
        ("GET /ws HTTP/1.1\r\n\(upgrade)Content-Length: 5\r\n\r\nhello", 400),
        ("GET /ws HTTP/1.1\r\n\(upgrade)Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET /ws HTTP/1.1\r\n\(upgrade)Origin: http://evil.example\r\n\r\n", 403),
        ("GET /ws HTTP/1.1\r\n\(upgrade)Origin: null\r\n\r\n", 403),
        ("GET /ws HTTP/1.1\r\n\(upgrade.replacing("Version: 13", with: "Version: 8"))\r\n", 426),
        ("GET / HTTP/1.1\r\n\r\n", 400), ("DELETE /health HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405), ("nonsense\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400), ("\u{16}\u{3}\u{1}\u{2}\u{0}", 400),
        ("GET /ws HTTP/1.1\r\nHost : a\r\n\r\n", 400), ("GET /ws HTTP/1.1\r\nX: a\u{0}b\r\n\r\n", 400),
        ("GET /%2e%2e/ws HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ])
    func refusesWithPlainHTTP(_ request: String, _ status: Int) async throws {
        try await Self.withGateway { port, gateway, _ in
            let answer = try await Self.exchange(port, request)
            #expect(answer.status == status)
            #expect(answer["connection"] == "close")
            #expect(answer.body.contains("\"error\""))
            if status == 426 { #expect(answer["sec-websocket-version"] == "13") }
            if status == 405 { #expect(answer["allow"] != nil) }
            #expect(gateway.statistics.results[String(status)] == 1)
        }
    }

    @Test func largeHeadsAreRefused() async throws {
        try await Self.withGateway { port, gateway, _ in
            let manyFields = (0..<10_000).map { "X-\($0): y\r\n" }.joined()
            let requests = [
                "GET /ws HTTP/1.1\r\n\(Self.upgrade)\(manyFields)\r\n",
                "GET /\(String(repeating: "u", count: 400_000)) HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /ws HTTP/1.1\r\nX: \(String(repeating: "v", count: 20_000))\r\n\r\n",
                "GET /ws HTTP/1.1\r\n\((0..<20).map { "X\($0): \(String(repeating: "v", count: 1000))\r\n" }.joined())\r\n",
            ]
            for request in requests {
                let answer = try await Self.exchange(port, request)
                #expect(answer.status == 431)
            }
            #expect(gateway.statistics.results["431"] == 4)
        }
    }

    @Test func aPipelinedRequestIsNotAnswered() async throws {
        try await Self.withGateway { port, _, _ in
            let one = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
            let answer = try await Self.exchange(port, one + one + "GET /ws HTTP/1.1\r\n\(Self.upgrade)\r\n")
            #expect(answer.status == 200)
            #expect(answer.body == "{\"status\":\"alive\"}\n")
        }
    }

    @Test func whoeverDribblesIsCutOff() async throws {
        try await Self.withGateway({ $0.handshakeTimeoutMilliseconds = 300 }) { port, gateway, _ in
            let silent = try await TestSocket.connect(port: port)
            let slow = try await TestSocket.connect(port: port)
            // On a busy machine it may be cut off before it has said anything; the verdict is the same.
            try? await slow.send("GET /ws HTTP/1.1\r\nHost: a\r\n")
            #expect(TestHTTPResponse(try await silent.waitForClose())?.status == 408)
            #expect(TestHTTPResponse(try await slow.waitForClose())?.status == 408)
            #expect(gateway.statistics.results["timeout"] == 2)
            await silent.close()
            await slow.close()
        }
    }

    @Test func whoeverLeavesEarlyIsForgotten() async throws {
        try await Self.withGateway { port, gateway, _ in
            for request in ["", "GET /ws HT", "GET /ws HTTP/1.1\r\nHost: a\r\n"] {
                let socket = try await TestSocket.connect(port: port)
                if !request.isEmpty { try await socket.send(request) }
                await socket.close()
            }
            try await eventually { gateway.statistics.open == 0 && gateway.statistics.accepted == 3 }
        }
    }

    // MARK: Upgrades

    @Test func anUpgradedClientSpeaksWithTheHub() async throws {
        try await Self.withGateway { port, gateway, hub in
            let client = try await TestWebSocket.connect(port: port, subprotocols: ["other", "conduit.v1.json"])
            #expect(client.subprotocol == "conduit.v1.json")
            #expect(try await client.request("echo", "[1]").string("original") == "[1]")
            #expect(await hub.clientCount() == 1)
            #expect(gateway.statistics.upgraded == 1)
            try await client.close()
            #expect(try await client.waitForCloseCode() == 1000)
            try await client.waitUntilGone()
            try await eventually { gateway.statistics.upgraded == 0 && gateway.statistics.open == 0 }
        }
    }

    @Test func unknownSubprotocolsSelectNone() async throws {
        try await Self.withGateway { port, _, _ in
            let client = try await TestWebSocket.connect(port: port, subprotocols: ["graphql-ws"])
            #expect(client.subprotocol == nil)
            await client.drop()
        }
    }

    @Test func bytesBehindTheRequestAreNotLost() async throws {
        try await Self.withGateway { port, _, _ in
            var tail = ByteBuffer()
            for number in 0..<100 {
                tail.writeImmutableBuffer(MaskedFrame.text("{\"type\":\"ping\",\"data\":\(number),\"id\":\(number)}"))
            }
            let client = try await TestWebSocket.connect(port: port, sendingBehindRequest: tail)
            for number in 0..<100 {
                #expect(try await client.next(type: "pong").int("timestamp") == number)
            }
            await client.drop()
        }
    }

    @Test func aRequestInSingleBytesIsUnderstood() async throws {
        try await Self.withGateway { port, _, _ in
            let socket = try await TestSocket.connect(port: port)
            for byte in "GET /ws HTTP/1.1\r\n\(Self.upgrade)\r\n".utf8 {
                try await socket.send(ByteBuffer(integer: byte))
            }
            try await socket.wait { $0.hasPrefix("HTTP/1.1 101 ") && $0.hasSuffix("\r\n\r\n") }
            await socket.close()
        }
    }

    @Test func nothingOfHTTPStaysInThePipeline() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let handlers = Mutex<[String]?>(nil)
        var configuration = GatewayConfiguration()
        configuration.port = 0
        let gateway = Gateway(
            configuration: configuration, group: group, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            readiness: { .ready }
        ) { channel, _ in
            let description = channel.pipeline.debugDescription
            handlers.withLock { $0 = ["FrontDoorHandler", "Admission", "HTTP"].filter { description.contains($0) } }
        }
        let port = try #require(try await gateway.start().port)
        let client = try await TestWebSocket.connect(port: port)
        try await eventually { handlers.withLock { $0 != nil } }
        #expect(handlers.withLock { $0 } == [])
        await client.drop()
        await gateway.stopAccepting()
        try await group.shutdownGracefully()
    }

    @Test func connectionsAreLimited() async throws {
        try await Self.withGateway({ $0.connections = 2 }) { port, gateway, _ in
            let first = try await TestWebSocket.connect(port: port)
            let second = try await TestWebSocket.connect(port: port)
            let refusal = await Self.refusal { try await TestWebSocket.connect(port: port) }
            #expect(refusal?.status == 503)
            #expect(refusal?["retry-after"] != nil)
            #expect(try await Self.exchange(port, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
            await first.drop()
            try await eventually { gateway.statistics.upgraded == 1 }
            let third = try await TestWebSocket.connect(port: port)
            await second.drop()
            await third.drop()
        }
    }

    // MARK: TLS

    @Test(arguments: [TLSVersion.tlsv12, .tlsv13])
    func aClientSpeaksTLSToTheEnd(_ version: TLSVersion) async throws {
        let certificates = try await TestCertificates.make()
        let tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        try await Self.withGateway({ $0.tls = tls }) { port, gateway, hub in
            let client = try await TestWebSocket.connect(
                port: port, sendingBehindRequest: MaskedFrame.text("{\"type\":\"ping\",\"data\":1}"),
                authority: certificates.caFile, tlsVersion: version)
            #expect(try await client.next(type: "pong").int("timestamp") == 1)
            let text = "\"\(String(repeating: "x", count: 100_000))\""
            #expect(try await client.request("echo", text).string("original") == text)
            #expect(await hub.clientCount() == 1)
            try await client.close()
            #expect(try await client.waitForCloseCode() == 1000)
            try await client.waitUntilGone()
            try await eventually { gateway.statistics.upgraded == 0 && gateway.statistics.open == 0 }
        }
    }

    @Test func whoSpeaksNoTLSIsLetGo() async throws {
        let certificates = try await TestCertificates.make()
        let tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        try await Self.withGateway({
            $0.tls = tls
            $0.handshakeTimeoutMilliseconds = 300
        }) { port, gateway, _ in
            let plain = try await TestSocket.connect(port: port)
            try await plain.send("GET /ws HTTP/1.1\r\n\(Self.upgrade)\r\n")
            #expect(!(try await plain.waitForClose()).contains("HTTP/1.1 101"))
            await plain.close()
            let silent = try await TestSocket.connect(port: port)
            _ = try await silent.waitForClose()
            await silent.close()
            let old = await Self.refusal {
                try await TestWebSocket.connect(port: port, authority: certificates.caFile, tlsVersion: .tlsv11)
            }
            #expect(old == nil)
            try await eventually { gateway.statistics.open == 0 }
            #expect(gateway.statistics.upgraded == 0)
        }
    }

    // MARK: Authentication

    @Test func anIdentityReachesTheHub() async throws {
        let user = try #require(UserID("ann"))
        try await Self.withGateway(authenticate: { request in
            request.token?.value == "good" ? Identity(user: user) : nil
        }) { port, _, _ in
            let client = try await TestWebSocket.connect(port: port, path: "/ws?token=good")
            #expect(try await client.request("status").string("user_id") == "ann")
            await client.drop()
            let bearer = try await TestWebSocket.connect(port: port, headers: [("Authorization", "Bearer good")])
            #expect(try await bearer.request("status").string("user_id") == "ann")
            await bearer.drop()
            let offered = try await TestWebSocket.connect(
                port: port, subprotocols: ["conduit.token.good", "conduit.v1.json"])
            #expect(offered.subprotocol == "conduit.v1.json")
            await offered.drop()
            for path in ["/ws", "/ws?token=bad"] {
                let refusal = await Self.refusal { try await TestWebSocket.connect(port: port, path: path) }
                #expect(refusal?.status == 401)
                #expect(refusal?["www-authenticate"] == "Bearer")
            }
        }
    }

    @Test func errorsOfAuthenticationAreToldApart() async throws {
        struct BackendDown: Error {}
        try await Self.withGateway(authenticate: { request in
            if request.query("kind") == "refused" { throw AuthenticationError("token has expired") }
            throw BackendDown()
        }) { port, gateway, _ in
            let refused = await Self.refusal { try await TestWebSocket.connect(port: port, path: "/ws?kind=refused") }
            #expect(refused?.status == 401)
            #expect(refused?.body.contains("token has expired") == true)
            let down = await Self.refusal { try await TestWebSocket.connect(port: port, path: "/ws?kind=down") }
            #expect(down?.status == 503)
            #expect(gateway.statistics.upgraded == 0)
        }
    }

    @Test func slowAuthenticationLosesNothing() async throws {
        let gate = AsyncStream<Void>.makeStream()
        try await Self.withGateway(authenticate: { _ in
            for await _ in gate.stream { break }
            return .anonymous
        }) { port, _, _ in
            let socket = try await TestSocket.connect(port: port)
            try await socket.send("GET /ws HTTP/1.1\r\n\(Self.upgrade)\r\n")
            try await socket.send(MaskedFrame.text("{\"type\":\"ping\",\"data\":1}"))
            try await socket.send(MaskedFrame.text("{\"type\":\"ping\",\"data\":2}"))
            #expect(socket.received.readableBytes == 0)
            gate.continuation.yield()
            try await socket.wait { $0.contains("{\"timestamp\":1}") && $0.contains("{\"timestamp\":2}") }
            await socket.close()
        }
    }

    @Test func hangingAuthenticationEndsWithTheHandshakeTimeout() async throws {
        let cancelled = Mutex(false)
        try await Self.withGateway(
            { $0.handshakeTimeoutMilliseconds = 300 },
            authenticate: { _ in
                do {
                    try await Task.sleep(for: .seconds(600))
                } catch {
                    cancelled.withLock { $0 = true }
                }
                return .anonymous
            }
        ) { port, gateway, _ in
            let refusal = await Self.refusal { try await TestWebSocket.connect(port: port) }
            #expect(refusal?.status == 503)
            try await eventually { cancelled.withLock { $0 } }
            #expect(gateway.statistics.upgraded == 0)
        }
    }

    // MARK: The listener

    @Test func aBusyPortIsAnError() async throws {
        try await Self.withGateway { port, _, _ in
            await #expect(throws: IOError.self) {
                try await Self.withGateway({ $0.port = port }) { _, _, _ in }
            }
        }
    }

    @Test func clientsStayWhenAcceptingStops() async throws {
        try await Self.withGateway { port, gateway, _ in
            let client = try await TestWebSocket.connect(port: port)
            await gateway.stopAccepting()
            #expect(try await client.request("ping", "1").int("timestamp") == 1)
            await #expect(throws: (any Error).self) { try await TestWebSocket.connect(port: port) }
            await client.drop()
        }
    }
}
