import ConduitTesting
import Foundation
import NIOCore
import Testing

@testable import Conduit

/// The door of a whole node, as a process.
@Suite struct DoorTests {
    static func metrics(_ node: NodeProcess) async throws -> Set<String> {
        let socket = try await TestSocket.connect(port: node.adminPort)
        try await socket.send("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:\(node.adminPort)\r\nConnection: close\r\n\r\n")
        let text = try await socket.waitForClose()
        return Set(text.split(whereSeparator: \.isNewline).map(String.init))
    }

    /// Memory is used up for real: by messages that are never finished.
    @Test func aNodeWithoutMemoryTakesNobodyAndComesBack() async throws {
        var settings = [
            "CONDUIT_LIMITS_MESSAGE_BYTES": "67108864", "CONDUIT_LIMITS_PENDING_BYTES": "67108864",
            "CONDUIT_HEARTBEAT_READ_TIMEOUT": "10m",
        ]
        // What such a node needs by itself depends on how it was built.
        let name = "process_resident_memory_bytes "
        var own = 0
        do {
            let idle = try await NodeProcess.start("idle", settings)
            let client = try await TestWebSocket.connect(port: idle.port)
            let line = try await Self.metrics(idle).first { $0.hasPrefix(name) }
            own = try #require(line.flatMap { Int($0.dropFirst(name.count)) })
            await client.drop()
        }
        let limit = own + 16_000_000
        settings["CONDUIT_LIMITS_MEMORY_BYTES"] = "\(limit)"
        let node = try await NodeProcess.start("memory", settings)
        let client = try await TestWebSocket.connect(port: node.port)
        let greedy = try await TestWebSocket.connect(port: node.port)
        // A frame of 60 MB, masked with zeros, of which the half is sent.
        var half = ByteBuffer(bytes: [0x81, 0xFF])
        half.writeInteger(UInt64(60_000_000))
        half.writeRepeatingByte(0, count: 4)
        half.writeRepeatingByte(0x20, count: 30_000_000)
        try await greedy.sendBytes(half)
        try await eventually("the node is overloaded") { try await node.get("/ready").status == 503 }
        #expect(try await node.get("/ready").body.contains("overloaded"))
        await #expect(throws: TestHTTPResponse.self) { try await TestWebSocket.connect(port: node.port) }
        let lines = try await Self.metrics(node)
        #expect(lines.contains("conduit_memory_over_limit 1"))
        #expect(lines.contains("conduit_memory_limit_bytes \(limit)"))
        #expect(lines.contains("conduit_connections_refused_total{limit=\"memory_bytes\"} 1"))
        #expect(lines.contains("conduit_ready 0"))
        #expect(node.log.contains("memory is at limits.memory-bytes"))
        // Who was there is served.
        #expect(try await client.request("ping", "1").int("timestamp") == 1)
        await greedy.drop()
        try await eventually("the node is ready again") { try await node.get("/ready").status == 200 }
        let again = try await TestWebSocket.connect(port: node.port)
        await again.drop()
        await client.drop()
    }

    /// The hub doesn't know the echo's connections; the node ends them with its clients.
    @Test func aNodeThatStopsClosesItsEchoes() async throws {
        var configuration = TestNode.configuration()
        configuration.gateway.echo = true
        let node = try await TestNode.start(configuration)
        let socket = try await TestWebSocket.connect(port: node.node.httpPort, path: "/echo")
        try await socket.send("x")
        #expect(try await socket.nextText() == "x")
        async let stopped: Void = node.node.shutdown()
        #expect(try await socket.waitForCloseCode() == 3001)
        await stopped
        try await socket.waitUntilGone()
    }

    @Test func aHangUpReadsTheCertificateAgain() async throws {
        let first = try await TestCertificates.make()
        let second = try await TestCertificates.make()
        let folder = try TemporaryFolder("tls")
        func put(_ certificates: TestCertificates) throws {
            for (from, to) in [(certificates.certificateFile, "crt"), (certificates.keyFile, "key")] {
                try Data(contentsOf: URL(fileURLWithPath: from)).write(to: URL(fileURLWithPath: folder.path(to)))
            }
        }
        try put(first)
        var port = try await RedisServer.freePort()
        func start() throws -> SpawnedProcess {
            try SpawnedProcess(
                [
                    NodeProcess.binary, "serve", "--port", "\(port)", "--admin-port", "0",
                    "--set", "http.tls-certificate=\(folder.path("crt"))", "--set",
                    "http.tls-key=\(folder.path("key"))",
                    "--set", "http.tls-reload-interval=0",
                ],
                environment: ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("CONDUIT_") })
        }
        var node = try start()
        defer { node.signal(SIGKILL) }
        func connect(_ certificates: TestCertificates) async -> TestWebSocket? {
            try? await TestWebSocket.connect(port: port, authority: certificates.caFile)
        }
        var connected: TestWebSocket?
        try await eventually("the node serves") {
            if node.exitStatus == 69 {
                // Somebody took the port since it was found free.
                port = try await RedisServer.freePort()
                node = try start()
            }
            try #require(node.isRunning)
            connected = await connect(first)
            return connected != nil
        }
        let client = try #require(connected)
        try put(second)
        node.signal(SIGHUP)
        try await eventually("the new certificate is served") {
            let new = await connect(second)
            await new?.drop()
            return new != nil
        }
        #expect(await connect(first) == nil)
        #expect(try await client.request("ping", "1").int("timestamp") == 1)
        await client.drop()
        node.signal(SIGTERM)
        #expect(try await node.wait() == 0)
    }

    @Test(arguments: [
        (["http.proxy-protocol": "true"], "http.proxy-protocol needs http.trusted-proxies"),
        (["http.tls-client-certificates": "required"], "needs http.tls-certificate and http.tls-key"),
        (["http.tls-client-ca": "/dev/null"], "http.tls-client-ca needs http.tls-client-certificates"),
    ])
    func contradictionsAreSaid(_ settings: [String: String], _ message: String) {
        do throws(ConfigurationError) {
            _ = try NodeConfiguration.load(
                overrides: settings.map { ConfigurationOverride(key: $0.key, value: $0.value, source: "test") },
                environment: [:])
            Issue.record("no problem found")
        } catch {
            #expect(error.problems.count == 1)
            #expect(error.description.contains(message), "\(error)")
        }
    }
}
