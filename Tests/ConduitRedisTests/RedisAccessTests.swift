import ConduitRedis
import ConduitTesting
import Logging
import NIOCore
import Synchronization
import Testing

/// Who may connect and how: passwords, ACL users, unix sockets, TLS.
@Suite(.timeLimit(.minutes(5))) struct RedisAccessTests {
    @Test func theRightPasswordIsTaken() async throws {
        let server = try await RedisServer.start(.init(password: "p w\r\n\"ä"))
        try await LinkProbe.withReady(RedisConfiguration(server)) { probe async throws in
            #expect(try await probe.ping() == .simple("PONG"))
        }
    }

    @Test func anACLUserIsTaken() async throws {
        let server = try await RedisServer.start(.init(users: ["alice on >secret ~* &* +@all"]))
        let configuration = try RedisConfiguration(url: "redis://alice:secret@127.0.0.1:\(server.port)")
        try await LinkProbe.withReady(configuration) { probe async throws in
            #expect(try await probe.send("ACL", "WHOAMI").string == "alice")
        }
    }

    @Test(arguments: ["wrong-password", nil])
    func aWrongOrMissingPasswordIsSaidOnceAndRetriedSlowly(password: String?) async throws {
        let server = try await RedisServer.start(.init(password: "right-password"))
        var configuration = RedisConfiguration(server)
        configuration.password = password
        configuration.authenticationRetry = .milliseconds(200)
        let log = CapturingLog()
        let probe = try await LinkProbe.start(configuration, logger: log.logger)
        let clock = ContinuousClock()
        let start = clock.now
        try await eventually("three attempts") { probe.events.failed.count >= 3 }
        #expect(clock.now - start >= .milliseconds(400))
        #expect(probe.events.failed.allSatisfy { $0.code == .authentication })
        #expect(probe.events.ready == 0)
        #expect(probe.events.lost.isEmpty)
        #expect(log.lines.filter { $0.level >= .warning }.count == 1)
        #expect(!log.lines.contains { $0.text.contains("wrong-password") || $0.text.contains("right-password") })
        #expect(log.lines.contains { $0.text.contains("authentication") })
        // The operator mends it while we retry.
        if password != nil {
            try await server.redisCLI("CONFIG", "SET", "requirepass", "wrong-password")
            try await probe.untilReady()
        }
        try await probe.close()
    }

    @Test func aUserWhoIsUnknownIsAnAuthenticationError() async throws {
        let server = try await RedisServer.start()
        var configuration = RedisConfiguration(server)
        configuration.username = "nobody"
        configuration.password = "x"
        let probe = try await LinkProbe.start(configuration)
        try await eventually("refused") { probe.events.failed.first?.code == .authentication }
        try await probe.close()
    }

    @Test func aUnixSocketWorks() async throws {
        let server = try await RedisServer.start(.init(unixSocket: true))
        let configuration = try RedisConfiguration(url: "unix://\(server.socketPath)")
        try await LinkProbe.withReady(configuration) { probe async throws in
            #expect(try await probe.send("SET", "k", "v") == .simple("OK"))
        }
    }

    @Test func tlsWithTheRightCAWorks() async throws {
        let server = try await RedisServer.start(.init(password: "pw", tls: true))
        var configuration = try RedisConfiguration(url: server.url)
        configuration.tls?.caFile = server.certificates?.caFile
        // By address, by name, and both roles.
        try await LinkProbe.withReady(configuration) { probe async throws in
            let big = ByteBuffer(repeating: 1, count: 300_000)
            #expect(try await probe.send("SET", "k", .buffer(big)) == .simple("OK"))
            #expect(try await probe.send("GET", "k") == .bulk(big))
        }
        configuration.endpoint = .host("localhost", port: server.port)
        try await LinkProbe.withReady(configuration, role: .subscriptions) { probe async throws in
            try await probe.onLoop { _ = $0.subscribe(["a"]) }
            try await eventually("confirmed") { probe.events.subscribed == ["a"] }
        }
    }

    @Test func anUnknownCAIsRefused() async throws {
        let server = try await RedisServer.start(.init(tls: true))
        let other = try await TestCertificates.make()
        var configuration = RedisConfiguration(server)
        for caFile in [other.caFile, nil] {
            configuration.tls = .init(caFile: caFile)
            let probe = try await LinkProbe.start(configuration)
            try await eventually("refused") { !probe.events.failed.isEmpty }
            #expect(probe.events.failed.first?.code == .tls)
            #expect(probe.events.ready == 0)
            try await probe.close()
        }
        configuration.tls = .init(caFile: other.caFile, verify: false)
        try await LinkProbe.withReady(configuration) { probe async throws in
            #expect(try await probe.ping() == .simple("PONG"))
        }
    }

    @Test func aCertificateForAnotherNameIsRefused() async throws {
        var options = RedisServer.Options(tls: true)
        options.certificateNames = "DNS:localhost"
        let server = try await RedisServer.start(options)
        var configuration = RedisConfiguration(server)
        configuration.tls = .init(caFile: server.certificates?.caFile, serverName: "redis.example.com")
        let probe = try await LinkProbe.start(configuration)
        try await eventually("refused") { !probe.events.failed.isEmpty || probe.events.ready > 0 }
        #expect(probe.events.failed.first?.code == .tls)
        #expect(probe.events.ready == 0)
        try await probe.close()
        configuration.tls?.serverName = "localhost"
        try await LinkProbe.withReady(configuration) { probe async throws in
            #expect(try await probe.ping() == .simple("PONG"))
        }
    }

    @Test func aMissingCAFileIsSaid() async throws {
        let server = try await RedisServer.start(.init(tls: true))
        var configuration = RedisConfiguration(server)
        configuration.tls = .init(caFile: "/nonexistent/ca.pem")
        let probe = try await LinkProbe.start(configuration)
        try await eventually("failed") { !probe.events.failed.isEmpty }
        #expect(probe.events.failed.first?.code == .tls)
        #expect(probe.events.failed.first?.message.contains("/nonexistent/ca.pem") == true)
        try await probe.close()
    }

    @Test func plainTextToATLSPortFailsAndGoesOnTrying() async throws {
        let server = try await RedisServer.start(.init(tls: true))
        let probe = try await LinkProbe.start(RedisConfiguration(server))
        try await eventually("two attempts") { probe.events.failed.count >= 2 }
        #expect(probe.events.ready == 0)
        try await probe.close()
    }
}

/// Keeps what was logged.
final class CapturingLog: Sendable {
    struct Line { var level: Logger.Level, text: String }
    private let kept = Mutex<[Line]>([])
    var lines: [Line] { kept.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .trace
        return logger
    }

    private struct Handler: LogHandler {
        let log: CapturingLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            let text = "\(event.message) \(metadata) \(event.metadata ?? [:])"
            log.kept.withLock { $0.append(Line(level: event.level, text: text)) }
        }
    }
}
