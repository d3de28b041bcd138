import Conduit
import ConduitAuth
import ConduitTesting
import Foundation
import NIOCore
import Testing

/// Other settings while clients are here.
@Suite(.timeLimit(.minutes(5)))
struct ReloadTests {
    /// A configuration as a file would say it.
    private static func load(_ settings: [String: String] = [:]) throws -> NodeConfiguration {
        let base = [
            "node.id": "reload", "http.port": "0", "admin.enabled": "false", "node.event-loops": "2",
            "log.level": "critical",
        ]
        return try NodeConfiguration.load(
            overrides: base.merging(settings) { $1 }.map {
                ConfigurationOverride(key: $0.key, value: $0.value, source: "test")
            }, environment: [:])
    }

    private func publish(_ socket: TestWebSocket, _ room: String = "r", payload: String = "1") async throws -> TestEvent
    {
        try await socket.request("broadcast", "{\"room\":\"\(room)\",\"type\":\"note\",\"payload\":\(payload)}")
    }

    @Test func clientsWhoAreHereAreHeldToTheNewLimits() async throws {
        try await TestNode.with(try Self.load()) { node in
            let (client, other) = (try await node.connect(), try await node.connect())
            #expect(try await client.request("join_room", #"{"room":"r"}"#).type == "room_joined")
            var report = try await node.node.reload(
                try Self.load(["limits.rooms-per-client": "1", "limits.room-name-bytes": "4"]))
            #expect(report.changed == ["limits.room-name-bytes", "limits.rooms-per-client"])
            #expect(report.needsRestart.isEmpty && !report.hasNewCertificate)
            #expect(try await client.request("join_room", #"{"room":"s"}"#).string("code") == "limit_exceeded")
            #expect(try await other.request("join_room", #"{"room":"sssss"}"#).string("code") == "limit_exceeded")
            #expect(node.node.configuration.hub.roomsPerClient == 1)
            // Back to the defaults: what isn't said any more holds no more.
            report = try await node.node.reload(try Self.load())
            #expect(report.changed == ["limits.room-name-bytes", "limits.rooms-per-client"])
            #expect(try await client.request("join_room", #"{"room":"s"}"#).type == "room_joined")
            report = try await node.node.reload(try Self.load())
            #expect(report.changed.isEmpty && report.needsRestart.isEmpty)
            // A rate, for who had none.
            _ = try await node.node.reload(
                try Self.load(["limits.messages-per-second": "1", "limits.messages-burst": "5"]))
            var codes: [String?] = []
            for _ in 0..<20 { codes.append(try await client.request("ping", "1").string("code")) }
            #expect(codes.contains("rate_limited"))
            _ = try await node.node.reload(try Self.load(["limits.message-bytes": "256"]))
            #expect(try await publish(client, payload: "\"\(String(repeating: "x", count: 100))\"").type == "ack")
            try await client.send(#"{"type":"echo","data":"\#(String(repeating: "x", count: 300))"}"#)
            #expect(try await client.waitForCloseCode() == 1009)
            // Times: a client that is silent is closed by the new ones.
            _ = try await node.node.reload(
                try Self.load(["heartbeat.ping-interval": "10ms", "heartbeat.timeout": "20ms"]))
            await other.drop()
            try await eventually("nobody is left") { await node.hub.clientCount() == 0 }
        }
    }

    @Test func policiesChangeAndOrderDoesNot() async throws {
        let redis = try await RedisServer.start()
        func load(_ settings: [String: String] = [:]) throws -> NodeConfiguration {
            try Self.load(["redis.url": redis.url, "rooms.log.mode": "ordered"].merging(settings) { $1 })
        }
        try await TestNode.with(try load()) { node in
            try await eventually("Redis is there") { node.node.readiness == "ready" }
            let client = try await node.connect()
            for room in ["r", "log:a"] {
                #expect(try await client.request("join_room", "{\"room\":\"\(room)\"}").type == "room_joined")
            }
            let report = try await node.node.reload(
                try load([
                    "rooms.default.mode": "ordered", "rooms.default.publish": "nobody", "rooms.log.publish": "anyone",
                    "rooms.log.history-size": "2", "rooms.log.mode": "fast", "rooms.log.slow": "drop-oldest",
                    "rooms.new.mode": "ordered", "rooms.new.publish": "members", "rooms.new.presence": "off",
                ]))
            #expect(
                report.changed.filter { $0.hasPrefix("rooms.") }
                    == ["rooms.default.publish", "rooms.log.history-size", "rooms.new.publish"])
            #expect(
                report.needsRestart == [
                    "rooms.default.mode", "rooms.log.mode", "rooms.log.slow", "rooms.new.mode", "rooms.new.presence",
                ])
            #expect(try await publish(client).string("code") == "permission_denied")
            for offset in 1...5 { #expect(try await publish(client, "log:a").int("offset") == offset) }
            let history = try await client.request("history", #"{"room":"log:a"}"#)
            #expect(history.data["messages"] != nil)
            #expect(try await redis.redisCLI("XLEN", "conduit:log:{log:a}") == "2")
            #expect(try await publish(client, "new:a").string("code") == "not_in_room")
            #expect(node.node.configuration.hub.rooms.namespaces["log"]?.mode == .ordered)
            // Said again as long as it isn't so.
            let again = try await node.node.reload(try load(["rooms.log.mode": "fast", "rooms.log.publish": "anyone"]))
            #expect(again.needsRestart == ["rooms.log.mode"])
        }
    }

    @Test func theDoorKeepsToOtherLimitsAndOrigins() async throws {
        func status(_ node: TestNode, origin: String) async throws -> Int {
            do {
                let socket = try await TestWebSocket.connect(port: node.node.httpPort, headers: [("Origin", origin)])
                await socket.drop()
                return 101
            } catch let answer as TestHTTPResponse {
                return answer.status
            }
        }
        try await TestNode.with(try Self.load()) { node in
            let client = try await node.connect()
            #expect(try await status(node, origin: "https://app.example") == 403)
            var report = try await node.node.reload(try Self.load(["http.origins": "https://app.example"]))
            #expect(report.changed == ["http.origins"])
            #expect(try await status(node, origin: "https://app.example") == 101)
            #expect(try await status(node, origin: "https://other.example") == 403)
            try await eventually("one client is left") { await node.hub.clientCount() == 1 }
            report = try await node.node.reload(
                try Self.load([
                    "http.origins": "*", "limits.connections": "1", "http.path": "/other", "http.port": "1",
                ]))
            #expect(report.changed == ["http.origins", "limits.connections"])
            #expect(report.needsRestart == ["http.path", "http.port"])
            try await eventually("the place is taken") {
                try await status(node, origin: "https://other.example") == 503
            }
            #expect(node.node.readiness == "overloaded")
            _ = try await node.node.reload(try Self.load(["http.origins": "*", "limits.connections-per-address": "1"]))
            // The one who was here before isn't counted by address.
            let counted = try await node.connect()
            #expect(try await status(node, origin: "https://other.example") == 429)
            await counted.drop()
            try await eventually("the place is free") {
                try await status(node, origin: "https://other.example") == 101
            }
            #expect(try await client.request("ping", "1").type == "pong")
        }
    }

    @Test func keysChangeAndClientsStay() async throws {
        let (one, two) = (AuthenticationTests.secret, "another secret, of at least thirty-two bytes too")
        func connects(_ node: TestNode, _ secret: String) async throws -> TestWebSocket? {
            try? await node.connect(token: try await AuthenticationTests.token(secret: secret))
        }
        try await TestNode.with(try Self.load(["auth.jwt.secret": one])) { node in
            let client = try #require(try await connects(node, one))
            #expect(try await connects(node, two) == nil)
            var report = try await node.node.reload(
                try Self.load(["auth.jwt.secret": two, "auth.jwt.previous-secret": one]))
            #expect(report.changed == ["auth.jwt.previous-secret", "auth.jwt.secret"])
            await (try #require(try await connects(node, two))).drop()
            await (try #require(try await connects(node, one))).drop()
            report = try await node.node.reload(try Self.load(["auth.jwt.secret": two]))
            #expect(try await connects(node, one) == nil)
            #expect(try await client.request("status").type == "status")
            // A key that is no good changes nothing, not even what is good beside it.
            var bad = try Self.load(["auth.jwt.secret": two, "limits.rooms-per-client": "7"])
            bad.auth.jwt.publicKeyFile = "/nowhere/key.pem"
            await #expect(throws: (any Error).self) { try await node.node.reload(bad) }
            #expect(node.node.configuration.hub.roomsPerClient == 128)
            await (try #require(try await connects(node, two))).drop()
            // Nobody would be asked any more: that decides where the port listens.
            report = try await node.node.reload(try Self.load())
            #expect(report.changed.isEmpty && report.needsRestart == ["auth.jwt.secret"])
            #expect(try await connects(node, one) == nil)
            // A new token of one who is here is judged by the new keys.
            let token = try await AuthenticationTests.token(secret: two)
            #expect(try await client.request("refresh", "{\"token\":\"\(token)\"}").type != "error")
        }
    }

    @Test func anAddressWithoutKeysDoesNotTakeTheKeysAway() async throws {
        let key = try await TestCertificates.make()
        let folder = try TemporaryFolder("keys")
        try Data(contentsOf: URL(fileURLWithPath: key.certificateFile))
            .write(to: URL(fileURLWithPath: folder.path("key.pem")))
        let server = try await TestHTTPServer.start { _ in .status(404) }
        let good = ["auth.jwt.public-key": folder.path("key.pem")]
        try await TestNode.with(try Self.load(good)) { node in
            func connects() async throws -> Bool {
                let now = Int64(Date().timeIntervalSince1970)
                let token = try await TokenIssuer(
                    privateKey: try String(contentsOfFile: key.keyFile, encoding: .utf8)
                ).token(claims: "{\"exp\":\(now + 60),\"sub\":\"ann\"}")
                let socket = try? await node.connect(token: token)
                await socket?.drop()
                return socket != nil
            }
            let before = try await connects()
            #expect(before)
            for _ in 0..<2 {
                await #expect(throws: (any Error).self) {
                    try await node.node.reload(
                        try Self.load(["auth.jwt.jwks-url": server.url("/jwks.json"), "limits.rooms-per-client": "7"]))
                }
            }
            #expect(node.node.configuration.hub.roomsPerClient == 128)
            let after = try await connects()
            #expect(after)
        }
    }

    @Test func filesOfKeysAreReadAgainAndTheServerIsAskedAnew() async throws {
        let server = try await TestHTTPServer.start { request in
            request.body.contains(#""event":"publish""#) ? .status(403) : .status(200, "{}")
        }
        let asked = ["auth.url": server.url(), "auth.url-asks": "connect"]
        try await TestNode.with(try Self.load(asked)) { node in
            let client = try await node.connect(token: "any")
            #expect(try await client.request("join_room", #"{"room":"r"}"#).type == "room_joined")
            #expect(try await publish(client).type == "ack")
            let report = try await node.node.reload(
                try Self.load(asked.merging(["auth.url-asks": "connect,publish"]) { $1 }))
            #expect(report.changed == ["auth.url-asks"])
            #expect(try await publish(client).string("code") == "permission_denied")
            _ = try await node.node.reload(try Self.load(asked))
            #expect(try await publish(client).type == "ack")
            await client.drop()
        }
        let folder = try TemporaryFolder("keys")
        let pair = [try await TestCertificates.make(), try await TestCertificates.make()]
        func put(_ number: Int) throws {
            try Data(contentsOf: URL(fileURLWithPath: pair[number].certificateFile))
                .write(to: URL(fileURLWithPath: folder.path("key.pem")))
        }
        func connects(_ node: TestNode, _ number: Int) async throws -> Bool {
            let key = try String(contentsOfFile: pair[number].keyFile, encoding: .utf8)
            let now = Int64(Date().timeIntervalSince1970)
            let token = try await TokenIssuer(privateKey: key).token(claims: "{\"exp\":\(now + 60),\"sub\":\"ann\"}")
            let socket = try? await node.connect(token: token)
            await socket?.drop()
            return socket != nil
        }
        try put(0)
        let configuration = try Self.load(["auth.jwt.public-key": folder.path("key.pem")])
        try await TestNode.with(configuration) { node in
            #expect(try await connects(node, 0))
            try put(1)
            _ = try await node.node.reload(configuration)
            #expect(try await connects(node, 1))
            #expect(try await !connects(node, 0))
        }
    }

    @Test func aConfigurationThatWasMadeByHandIsComparedByProperties() async throws {
        try await TestNode.with { node in
            var other = node.node.configuration
            other.hub.messagesPerSecond = 9
            other.gateway.port = 1
            other.auth.jwt.secret = "a secret that must not be shown to anybody"
            other.gateway.exampleClient = false
            let report = try await node.node.reload(other)
            #expect(report.changed == ["limits.messages-per-second"])
            #expect(report.needsRestart == ["auth.jwt.secret", "gateway.exampleClient", "gateway.port"])
            #expect(node.node.configuration.hub.messagesPerSecond == 9)
            #expect(node.node.configuration.gateway.port == 0)
            // At the same time: one after the other, and the last one holds.
            try await withThrowingTaskGroup(of: Void.self) { group in
                let last = other
                for number in 1...20 {
                    group.addTask {
                        try await node.node.reload {
                            var next = last
                            next.hub.roomsPerClient = number
                            return next
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect((1...20).contains(node.node.configuration.hub.roomsPerClient))
        }
    }

    @Test func everySettingSaysWhetherAReloadTakesIt() {
        let reloadable = ConfigurationKey.plain.filter(\.isReloadable).map(\.name)
        for group in ["limits.", "heartbeat.", "rooms.", "auth."] {
            #expect(reloadable.contains { $0.hasPrefix(group) })
        }
        let fixed = ConfigurationKey.plain.filter { !$0.isReloadable }.map(\.name)
        for name in [
            "node.id", "http.port", "http.tls-certificate", "redis.url", "rooms.default.mode", "rooms.default.inbox",
            "rooms.default.presence", "auth.open", "limits.read-buffer-bytes", "tracing.enabled", "log.format",
        ] { #expect(fixed.contains(name)) }
        for key in ConfigurationKey.all {
            let marked = "| `\(key.name)` | `\(key.environmentName)` |"
            let row = ConfigurationDocument.markdown.split(separator: "\n").first { $0.hasPrefix(marked) }
            #expect(row?.contains("| \(key.isReloadable ? "yes" : "") |") == true, "\(key.name)")
        }
        let marks = { (text: String) in text.split(separator: "\n").filter { $0.hasSuffix("(reload)") }.count }
        #expect(marks(ConfigurationDocument.yaml) == reloadable.count)
        #expect(marks(ConfigurationDocument.environment) == reloadable.count)
    }

    @Test func aSignalReloadsTheFileOrSaysEverythingThatIsWrong() async throws {
        let file = try TemporaryFile("conduit.yaml", "limits: {rooms-per-client: 2}\nlog: {level: info}\n")
        let secret = "a secret that must not be shown to anybody"
        let node = try await NodeProcess.start(
            "signalled", waitsForRedis: false, ["CONDUIT_LOG_FORMAT": "json"], arguments: ["--config", file.path])
        func write(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: file.path)) }
        func lines(_ text: String) -> [Substring] { node.log.split(separator: "\n").filter { $0.contains(text) } }
        func metric(_ result: String) async throws -> String {
            let socket = try await TestSocket.connect(port: node.adminPort)
            try await socket.send("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            let page = try await socket.waitForClose()
            let name = "conduit_config_reloads_total{result=\"\(result)\"} "
            return page.split(separator: "\n").first { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
                ?? ""
        }
        try await eventually("it takes clients") { try await node.get("/ready").status == 200 }
        let client = try await TestWebSocket.connect(port: node.port)
        try write(
            "limits: {rooms-per-client: 1}\nlog: {level: debug}\nhttp: {path: /other}\nadmin: {token: \(secret)}\n")
        node.signal(SIGHUP)
        // A token with spaces is none: that file is wrong as a whole.
        try await eventually("the mistake is told") { lines("not reloaded").count == 1 }
        #expect(lines("the configuration is wrong").count == 1)
        #expect(lines("\"key\":\"admin.token\"").count == 1)
        #expect(try await client.request("join_room", #"{"room":"a"}"#).type == "room_joined")
        #expect(try await client.request("join_room", #"{"room":"b"}"#).type == "room_joined")
        try write("limits: {rooms-per-client: 0, json-depth: many}\nlogs: {level: debug}\n")
        node.signal(SIGHUP)
        try await eventually("all mistakes are told") { lines("not reloaded").count == 2 }
        #expect(lines("the configuration is wrong").count == 4)
        #expect(lines("did you mean log.level?").count == 1)
        try write(
            "limits: {rooms-per-client: 3}\nlog: {level: debug}\nhttp: {path: /other}\nadmin: {token: s3cr3t-0f-all}\n")
        node.signal(SIGHUP)
        try await eventually("the change is told") { lines("configuration reloaded").count == 1 }
        let told = try #require(lines("configuration reloaded").first)
        #expect(told.contains("\"changed\":\"limits.rooms-per-client,log.level\""))
        #expect(told.contains("\"needs_restart\":\"admin.token,http.path\""))
        #expect(try await client.request("join_room", #"{"room":"c"}"#).type == "room_joined")
        #expect(try await client.request("join_room", #"{"room":"d"}"#).string("code") == "limit_exceeded")
        await client.drop()
        try await eventually("debug lines are written") { lines("client gone").count == 1 }
        #expect(!node.log.contains("s3cr3t") && !node.log.contains(secret))
        #expect(try await metric("failed") == "2")
        #expect(try await metric("changed") == "1")
        node.signal(SIGHUP)
        try await eventually("nothing new is told too") { lines("configuration reloaded").count == 2 }
        #expect(try await metric("unchanged") == "1")
        node.signal(SIGTERM)
        #expect(try await node.exitCode() == 0)
    }
}
