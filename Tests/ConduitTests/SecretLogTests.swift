import ConduitTesting
import Foundation
import NIOCore
import Testing

/// A node that logs all it can, with secrets given to it in every way and names that try to be lines: no secret is in the
/// log, and every line is one of the node's own.
@Suite(.timeLimit(.minutes(5))) struct SecretLogTests {
    private static let secret = "s3cr3t0f1t"

    @Test(arguments: ["text", "json"]) func noSecretAndNoForgedLineIsLogged(_ format: String) async throws {
        let password = "p4ss" + Self.secret
        let redis = try await RedisServer.start(.init(password: password))
        let node = try await NodeProcess.start(
            "a", redis: redis.url,
            [
                "CONDUIT_LOG_LEVEL": "trace", "CONDUIT_LOG_FORMAT": format,
                "CONDUIT_ADMIN_TOKEN": "adm1n" + Self.secret, "CONDUIT_HTTP_TOKEN_COOKIE": "session",
            ])
        #expect(!node.log.isEmpty)
        try await Self.knock(node)
        try await Self.speak(node)
        for (name, value) in [
            ("Authorization", "Bearer wr0ng" + Self.secret), ("Authorization", "Bearer adm1n" + Self.secret),
        ] {
            for path in ["/api/v1/nodes", "/metrics?token=" + Self.secret, "/api/v1/rooms/%0aerror%1b[31m/presence"] {
                _ = try await node.administration(path, headers: [(name, value)])
            }
        }
        // The link to Redis is lost and made again, with its password.
        try await redis.kill()
        try await eventually("degraded") { try await node.isDegraded() }
        try await redis.restart()
        try await eventually("not degraded") { try await !node.isDegraded() }
        node.signal(SIGTERM)
        _ = try await node.exitCode()
        let log = node.log
        #expect(!log.contains(Self.secret), "\(log)")
        #expect(log.contains("client gone") && log.contains("peer broke the protocol"), "the level is trace")
        for line in log.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            #expect(!line.unicodeScalars.contains(where: HostileNameTests.isCommand), "\(line.debugDescription)")
            if format == "json" {
                let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                #expect(object?["level"] is String && object?["message"] is String, "\(line)")
            } else {
                #expect(line.firstMatch(of: /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ [a-z]+ +\S/) != nil, "\(line)")
            }
        }
    }

    /// Handshakes with tokens wherever one may stand, good ones and such as are refused.
    private static func knock(_ node: NodeProcess) async throws {
        let headers: [[(String, String)]] = [
            [("Authorization", "Bearer " + secret)], [("Cookie", "session=" + secret)],
            [("Sec-WebSocket-Protocol", "conduit.token.\(secret), conduit.v1.json")],
            [("Origin", "https://evil.example/\(secret)"), ("Authorization", "Bearer " + secret)],
            [("Upgrade", secret)], [("X-\(secret)", secret)],
        ]
        for fields in headers {
            for path in ["/ws", "/ws?token=\(secret)", "/\(secret)?token=\(secret)"] {
                let socket = try? await TestWebSocket.connect(port: node.port, path: path, headers: fields)
                await socket?.drop()
            }
        }
        for junk in [
            "GET /ws?token=\(secret) HTTP/1.1\r\nA\u{1B}: b\r\n\r\n", "\u{16}\u{3}\u{1}\(secret)", "\(secret)\n\n",
        ] {
            let socket = try await TestSocket.connect(port: node.port)
            try await socket.send(junk)
            _ = try? await socket.waitForClose()
        }
    }

    /// Names and types that try to be lines, in messages that are taken and in such as break the protocol.
    private static func speak(_ node: NodeProcess) async throws {
        let line = #"x\n2026-01-01T00:00:00.000Z critical forged line level=critical \u001b[31m\u202e\u2028"#
        let socket = try await TestWebSocket.connect(port: node.port)
        for name in [line, #"\" level=critical a=\""#, "%s%n%@"] {
            _ = try await socket.request("join_room", "{\"room\":\"\(name)\"}")
            _ = try await socket.request(name, "{\"token\":\"\(secret)\"}")
            _ = try await socket.request("broadcast", "{\"room\":\"\(name)\",\"type\":\"\(name)\"}")
        }
        _ = try await socket.request("refresh", "{\"token\":\"\(secret)\"}")
        try await socket.close(code: 3999, reason: "bye\n2026 critical forged line \u{1B}[31m")
        for bytes in [[0x01, 0x80], [0xC1, 0x80], [0x81, 0x05]] as [[UInt8]] {
            let broken = try await TestWebSocket.connect(port: node.port)
            try await broken.sendBytes(ByteBuffer(bytes: bytes + Array("\n\u{1B}\(secret)".utf8)))
            _ = try? await broken.next()
        }
    }
}
