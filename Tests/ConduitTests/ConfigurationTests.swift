import Conduit
import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitTesting
import Foundation
import Logging
import NIOCore
import Testing

/// A file in a folder of its own, gone with the test.
struct TemporaryFile: ~Copyable {
    let folder: URL
    let path: String

    init(_ name: String, _ content: String) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("conduit-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let file = folder.appendingPathComponent(name)
        try Data(content.utf8).write(to: file)
        path = file.path
    }

    deinit { try? FileManager.default.removeItem(at: folder) }
}

private func problems(
    _ environment: [String: String] = [:], file: String? = nil, overrides: [ConfigurationOverride] = []
) -> [String] {
    do throws(ConfigurationError) {
        _ = try NodeConfiguration.load(overrides: overrides, environment: environment, file: file)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

@Suite struct ConfigurationKeyTests {
    @Test(arguments: ConfigurationKey.plain.map(\.name))
    func defaultIsAllowedAndTheNameMakesTheVariable(name: String) throws {
        let key = try #require(ConfigurationKey.named(name))
        #expect(key.parse(.text(key.defaultText == "[]" ? "" : key.defaultText)) != nil)
        #expect(
            key.environmentName
                == "CONDUIT_"
                + name.uppercased().replacingOccurrences(of: ".", with: "_")
                .replacingOccurrences(of: "-", with: "_"))
        #expect(key.summary.hasSuffix("."))
        #expect(ConfigurationKey.plain.filter { $0.name == name }.count == 1)
        #expect(ConfigurationKey.plain.filter { $0.environmentName == key.environmentName }.count == 1)
    }

    /// What the contract promises, written out once more.
    @Test func defaultsAreThoseOfTheContract() {
        let expected = """
            node.id= node.event-loops=0 http.host=127.0.0.1 http.port=8080 http.tls-certificate= http.tls-key= \
            http.path=/ws http.example-client=true http.origins=[] http.handshake-timeout=10s http.max-header-bytes=16384 http.token-cookie=conduit_token \
            http.backlog=4096 http.echo=false http.tls-minimum=1.2 http.tls-client-certificates=none http.tls-client-ca= \
            http.tls-reload-interval=10s http.trusted-proxies=[] http.proxy-protocol=false \
            auth.open=false auth.anonymous=false auth.anonymous-rights=*=join+presence+history \
            auth.default-rights=*=join+publish+presence+history auth.ca-file= auth.jwt.secret= \
            auth.jwt.previous-secret= auth.jwt.public-key= auth.jwt.previous-public-key= auth.jwt.jwks-file= \
            auth.jwt.jwks-url= auth.jwt.jwks-refresh=10m auth.jwt.algorithms=[] auth.jwt.issuer= auth.jwt.audience=[] \
            auth.jwt.leeway=10s auth.jwt.require-expiry=true auth.url= auth.url-asks=connect auth.url-secret= \
            auth.url-timeout=2s auth.url-concurrency=64 auth.url-breaker-failures=5 auth.url-breaker-pause=5s \
            auth.refresh-grace=25s auth.revocation-age=720h \
            limits.message-bytes=524288 limits.rooms-per-client=128 limits.members-per-room=100000 \
            limits.pending-bytes=1048576 limits.connections=0 limits.read-buffer-bytes=16384 limits.handler-queue=64 \
            limits.frames-per-message=1024 \
            limits.connections-per-address=0 limits.connections-per-user=0 limits.handshakes-per-second=0 \
            limits.handshakes-per-second-per-address=0 limits.handshaking=4096 limits.memory-bytes=0 \
            limits.messages-per-second=0 limits.messages-burst=0 limits.bytes-per-second=0 limits.bytes-burst=0 \
            limits.rate-strikes=100 limits.room-name-bytes=255 limits.json-depth=64 limits.node-pending-bytes=268435456 \
            compression.enabled=false compression.threshold=1024 compression.level=1 \
            compression.window-bits=15 compression.max-ratio=200 \
            heartbeat.ping-interval=30s heartbeat.timeout=60s heartbeat.write-timeout=10s heartbeat.read-timeout=30s \
            rooms.default.mode=fast rooms.default.history-size=1000 rooms.default.history-age=1h \
            rooms.default.recover-limit=1000 rooms.default.presence=full rooms.default.presence-grace=0ms \
            rooms.default.presence-members=1000 rooms.default.publish=anyone \
            rooms.default.slow=disconnect rooms.default.members=0 rooms.default.inbox=false \
            redis.url= redis.prefix=conduit redis.username= redis.password= redis.connect-timeout=2s \
            redis.command-timeout=5s redis.reconnect-min=50ms redis.reconnect-max=2s redis.outbox-bytes=8388608 \
            redis.outbox-age=30s redis.publish-hold-us=500 redis.ring-bytes=16777216 \
            redis.ring-age=60s redis.position-check=5s redis.unsubscribe-linger=2s \
            redis.sentinel-username= redis.sentinel-password= redis.tls.ca-file= redis.tls.certificate-file= \
            redis.tls.key-file= \
            redis.tls.verify=true \
            cluster.heartbeat=1s cluster.lease=5s cluster.series-length=3600 cluster.events-length=10000 \
            events.rooms=true events.clients=false events.per-second=100 \
            presence.enabled=true presence.diff-interval=100ms ready.degraded-status=200 admin.enabled=true \
            admin.host=127.0.0.1 admin.port=8181 admin.token= admin.survey-timeout=1s tracing.enabled=false \
            tracing.sample=0 tracing.per-second=100 tracing.exporter=none log.level=info log.format=auto \
            shutdown.timeout=30s drain.wait=3s drain.rate=500 drain.reconnect-delay=1s drain.presence-grace=5s \
            rebalance.mode=off rebalance.share=10 rebalance.tolerance=5
            """
        #expect(ConfigurationKey.plain.map { "\($0.name)=\($0.defaultText)" }.joined(separator: " ") == expected)
    }

    /// One good and one bad value of every key; a key without a row fails.
    private static let samples: [String: (good: String, bad: String)] = [
        "node.id": ("web-1.a_B", "web 1"), "node.event-loops": ("64", "65"), "http.host": ("::", "a b"),
        "http.tls-certificate": ("", "a\u{0}"), "http.tls-key": ("", "a\u{0}"),
        "http.port": ("0", "65536"), "http.path": ("/socket/v1", "/health"), "http.example-client": ("false", "no"),
        "http.origins": ("https://a.example:8443, https://*.b.example,*", "a.example"),
        "http.handshake-timeout": ("250ms", "10"), "http.max-header-bytes": ("65536", "16k"),
        "http.token-cookie": ("", "a;b"), "http.backlog": ("1", "0"), "limits.message-bytes": ("1024", "1"),
        "limits.rooms-per-client": ("1", "0"), "limits.members-per-room": ("5", "-1"),
        "limits.pending-bytes": ("2000000", "1e6"), "limits.connections": ("100", "none"),
        "http.tls-minimum": ("1.3", "1.1"), "http.tls-client-certificates": ("none", "yes"),
        "http.tls-client-ca": ("", "a\u{0}"), "http.tls-reload-interval": ("0", "2d"),
        "http.trusted-proxies": ("10.0.0.0/8, 2001:db8::/32,192.0.2.7", "10.0.0.0/33"),
        "http.proxy-protocol": ("false", "v2"), "limits.connections-per-address": ("100", "-1"),
        "limits.connections-per-user": ("50", "x"), "limits.handshakes-per-second": ("1000", "1k"),
        "limits.handshakes-per-second-per-address": ("10", "0.5"), "limits.handshaking": ("64", "0"),
        "limits.memory-bytes": ("500000000", "1G"),
        "limits.read-buffer-bytes": ("4096", "0"), "limits.handler-queue": ("1", "0"),
        "limits.messages-per-second": ("50", "-1"), "limits.messages-burst": ("0", "ten"),
        "limits.bytes-per-second": ("65536", "64k"), "limits.bytes-burst": ("0", "-1"),
        "limits.rate-strikes": ("0", "-1"), "limits.room-name-bytes": ("64", "256"),
        "limits.json-depth": ("16", "65"), "limits.node-pending-bytes": ("0", "1G"),
        "http.echo": ("true", "on"), "limits.frames-per-message": ("1", "0"), "compression.enabled": ("true", "1"),
        "compression.threshold": ("0", "-1"), "compression.level": ("9", "0"),
        "compression.window-bits": ("9", "8"), "compression.max-ratio": ("1032", "0"),
        "heartbeat.ping-interval": ("5s", "0s"), "heartbeat.timeout": ("1h", "1d"),
        "heartbeat.write-timeout": ("5s", "-5s"), "heartbeat.read-timeout": ("1m", "5 s"),
        "auth.refresh-grace": ("0s", "2h"), "auth.revocation-age": ("48h", "0s"),
        "tracing.enabled": ("false", "on"), "tracing.sample": ("0", "1.5"), "tracing.per-second": ("0", "-1"),
        "tracing.exporter": ("none", "otlp"),
        "redis.url": ("redis://:pw@[::1]:6380/0", "redis+sentinel://a"), "redis.prefix": ("shop:prod", "a{b}"),
        "redis.username": ("", "a\u{7}"), "redis.password": ("x", "a\nb"), "redis.connect-timeout": ("1s", "1"),
        "redis.command-timeout": ("1s", "s"), "redis.reconnect-min": ("10ms", "ms"),
        "redis.reconnect-max": ("1m", "1.5s"), "redis.outbox-bytes": ("0", "-1"), "redis.outbox-age": ("0", "2h"),
        "rooms.default.mode": ("fast", "slow"), "rooms.default.history-size": ("1", "0"),
        "rooms.default.history-age": ("24h", "1d"), "rooms.default.recover-limit": ("0", "-1"),
        "rooms.default.presence": ("off", "none"), "rooms.default.presence-grace": ("5s", "5"),
        "rooms.default.presence-members": ("0", "many"), "rooms.default.publish": ("members", "all"),
        "rooms.default.slow": ("conflate", "drop"), "rooms.default.members": ("5", "-1"),
        "rooms.default.inbox": ("false", "yes"), "redis.ring-bytes": ("0", "16M"), "redis.ring-age": ("0", "2h"),
        "redis.position-check": ("1s", "0s"), "redis.publish-hold-us": ("0", "10001"),
        "redis.unsubscribe-linger": ("1s", "999ms"),
        "redis.sentinel-username": ("", "a\u{7}"), "redis.sentinel-password": ("x", "a\nb"),
        "redis.tls.certificate-file": ("", "a\u{0}"), "redis.tls.key-file": ("", "a\u{0}"),
        "redis.tls.ca-file": ("/proc/self/stat", "a\u{0}"),
        "redis.tls.verify": ("false", "0"), "cluster.heartbeat": ("500ms", "1ms"), "cluster.lease": ("10s", "11m"),
        "events.rooms": ("false", "0"), "events.clients": ("true", "some"), "events.per-second": ("1", "0"),
        "cluster.series-length": ("1", "0"), "cluster.events-length": ("1", "x"), "presence.enabled": ("true", "TRUE"),
        "presence.diff-interval": ("1s", ""), "ready.degraded-status": ("503", "404"), "admin.enabled": ("false", "1"),
        "admin.host": ("localhost", ""), "admin.port": ("0", "80a"), "admin.token": ("s3cret", "a b"),
        "admin.survey-timeout": ("250ms", "1"),
        "auth.open": ("true", "1"), "auth.anonymous": ("false", "nobody"),
        "auth.ca-file": ("/proc/self/stat", "a\u{0}"),
        "auth.anonymous-rights": ("a:*=join,b", "a=fly"), "auth.default-rights": ("a=join+publish", "=join"),
        "auth.jwt.secret": ("0123456789abcdef0123456789abcdef", "brief"), "auth.jwt.previous-secret": ("", "brief"),
        "auth.jwt.public-key": ("", "a\u{0}"), "auth.jwt.previous-public-key": ("", "a\u{0}"),
        "auth.jwt.jwks-file": ("", "a\u{0}"), "auth.jwt.jwks-url": ("https://a.example/j", "http://a.example/j"),
        "auth.jwt.jwks-refresh": ("1h", "0"), "auth.jwt.algorithms": ("", "none"), "auth.jwt.issuer": ("", "a\u{7}"),
        "auth.jwt.audience": ("", "a\u{7}"), "auth.jwt.leeway": ("0", "1h"), "auth.jwt.require-expiry": ("false", "no"),
        "auth.url": ("http://app:3000/auth", "app"), "auth.url-asks": ("connect,join", "fly"),
        "auth.url-secret": ("", "a b"), "auth.url-timeout": ("1s", "0"), "auth.url-concurrency": ("1", "0"),
        "auth.url-breaker-failures": ("1", "0"), "auth.url-breaker-pause": ("1s", "0"),
        "log.level": ("debug", "verbose"), "log.format": ("json", "xml"),
        "shutdown.timeout": ("5m", "99999999999999999999h"),
        "drain.wait": ("0", "3"), "drain.rate": ("1", "0"), "drain.reconnect-delay": ("250ms", "1d"),
        "drain.presence-grace": ("0s", "-1s"), "rebalance.mode": ("off", "on"), "rebalance.share": ("100", "101"),
        "rebalance.tolerance": ("1", "0"),
    ]

    @Test(arguments: ConfigurationKey.plain.map(\.name))
    func goodValuesPassAndBadOnesNameKeySourceAndWhatIsAllowed(name: String) throws {
        let key = try #require(ConfigurationKey.named(name))
        let sample = try #require(Self.samples[name], "no sample")
        #expect(problems([key.environmentName: sample.good]) == [])
        let found = problems([key.environmentName: sample.bad])
        #expect(found.count == 1, "\(found)")
        let line = try #require(found.first)
        #expect(line.hasPrefix("\(name) (environment \(key.environmentName)): "))
        #expect(line.hasSuffix("; allowed: " + key.allowed))
        #expect(!line.contains("\n"))
        if key.isSecret { #expect(!line.contains(sample.bad)) }
    }

    @Test(arguments: [
        ("redis://h", true), ("redis://h:1/0", true), ("rediss://u:p%40x@h.example:6379", true),
        ("unix:///run/r.sock", true),
        ("redis://", false), ("redis://h:0", false), ("redis://h/x", false), ("http://h", false), ("h:6379", false),
        ("redis+sentinel://a,b/m", true), ("rediss+cluster://u:p@a,b:7", true), ("redis://a,redis://b", true),
        ("redis+sentinel://a,b", false), ("redis+cluster://a/1", false), ("redis://a,b", false),
        ("redis://a,redis://a", false), ("unix://x", false), ("redis://[::1", false),
    ])
    func redisURLsAreCheckedByShape(url: String, good: Bool) throws {
        #expect((ConfigurationKey.named("redis.url")?.parse(.text(url)) != nil) == good)
    }

    @Test(
        arguments: [
            ("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("0", 0), ("", nil), ("s", nil),
            ("5", nil),
            ("5 s", nil), ("+5s", nil), ("5S", nil), ("9223372036854775807h", nil), ("٣s", nil),
        ] as [(String, Int?)])
    func durationsNeedAUnit(text: String, milliseconds: Int?) {
        #expect(DurationText.read(text) == milliseconds)
        if let milliseconds { #expect(DurationText.read(DurationText.write(milliseconds)) == milliseconds) }
    }
}

@Suite struct ConfigurationLoadTests {
    @Test func withoutSourcesAllIsDefault() throws {
        let node = try NodeConfiguration.load(environment: [:])
        #expect(node.hub.messageBytes == 524_288)
        #expect(node.hub.idleTimeoutMilliseconds == 60_000)
        #expect(node.admin.port == 8181)
        #expect(node.gateway.port == 8080)
        #expect(node.gateway.path == "/ws")
        #expect(node.gateway.degradedStatus == 200)
        #expect(node.shutdownTimeout == .seconds(30))
        #expect(node.nodeID.rawValue.utf8.count >= 6)
        #expect(try NodeConfiguration.load(environment: [:]).nodeID != node.nodeID)
    }

    @Test func strongerSourcesWin() throws {
        let file = try TemporaryFile("c.yaml", "admin: {port: 1}\nlimits: {rooms-per-client: 1, handler-queue: 1}\n")
        let node = try NodeConfiguration.load(
            overrides: [ConfigurationOverride(key: "admin.port", value: "3", source: "--admin-port")],
            environment: ["CONDUIT_ADMIN_PORT": "2", "CONDUIT_LIMITS_ROOMS_PER_CLIENT": "2", "PATH": "/"],
            file: file.path)
        #expect(node.admin.port == 3)
        #expect(node.hub.roomsPerClient == 2)
        #expect(node.hub.handlerQueue == 1)
        #expect(node.hub.membersPerRoom == 100_000)
    }

    @Test func everySettingArrivesWhereItBelongs() throws {
        let node = try NodeConfiguration.load(environment: [
            "CONDUIT_REDIS_URL": "rediss://cache.example:6380", "CONDUIT_REDIS_USERNAME": "u",
            "CONDUIT_REDIS_PASSWORD": "p", "CONDUIT_REDIS_PREFIX": "shop", "CONDUIT_REDIS_CONNECT_TIMEOUT": "1s",
            "CONDUIT_REDIS_COMMAND_TIMEOUT": "3s", "CONDUIT_REDIS_RECONNECT_MIN": "20ms",
            "CONDUIT_REDIS_RECONNECT_MAX": "4s", "CONDUIT_REDIS_OUTBOX_BYTES": "99", "CONDUIT_REDIS_OUTBOX_AGE": "7s",
            "CONDUIT_REDIS_PUBLISH_HOLD_US": "250", "CONDUIT_REDIS_UNSUBSCRIBE_LINGER": "6s",
            "CONDUIT_REDIS_TLS_VERIFY": "false",
            "CONDUIT_REDIS_TLS_CA_FILE": "/proc/self/stat", "CONDUIT_CLUSTER_HEARTBEAT": "2s",
            "CONDUIT_CLUSTER_LEASE": "9s", "CONDUIT_CLUSTER_SERIES_LENGTH": "11", "CONDUIT_CLUSTER_EVENTS_LENGTH": "12",
            "CONDUIT_PRESENCE_ENABLED": "false", "CONDUIT_PRESENCE_DIFF_INTERVAL": "50ms",
            "CONDUIT_HTTP_HOST": "0.0.0.0", "CONDUIT_HTTP_PORT": "81", "CONDUIT_HTTP_PATH": "/s",
            "CONDUIT_HTTP_EXAMPLE_CLIENT": "false", "CONDUIT_HTTP_HANDSHAKE_TIMEOUT": "3s",
            "CONDUIT_HTTP_MAX_HEADER_BYTES": "2048", "CONDUIT_HTTP_TOKEN_COOKIE": "c", "CONDUIT_HTTP_BACKLOG": "5",
            "CONDUIT_LIMITS_READ_BUFFER_BYTES": "4096", "CONDUIT_LIMITS_CONNECTIONS": "77",
            "CONDUIT_READY_DEGRADED_STATUS": "503", "CONDUIT_LIMITS_MESSAGE_BYTES": "1000",
            "CONDUIT_LIMITS_PENDING_BYTES": "2000", "CONDUIT_LIMITS_MEMBERS_PER_ROOM": "3",
            "CONDUIT_HEARTBEAT_PING_INTERVAL": "1s", "CONDUIT_HEARTBEAT_TIMEOUT": "2s",
            "CONDUIT_HEARTBEAT_WRITE_TIMEOUT": "3s", "CONDUIT_HEARTBEAT_READ_TIMEOUT": "4s",
            "CONDUIT_ADMIN_HOST": "0.0.0.0", "CONDUIT_ADMIN_TOKEN": "t", "CONDUIT_LOG_LEVEL": "debug",
            "CONDUIT_LOG_FORMAT": "json", "CONDUIT_SHUTDOWN_TIMEOUT": "5s", "CONDUIT_NODE_EVENT_LOOPS": "2",
        ])
        let redis = try #require(node.cluster.redis)
        #expect(redis.endpoint == .host("cache.example", port: 6380))
        #expect(redis.username == "u" && redis.password == "p")
        #expect(redis.tls == .init(caFile: "/proc/self/stat", verify: false))
        #expect(redis.connectTimeout == .seconds(1) && redis.commandTimeout == .seconds(3))
        #expect(redis.reconnectMin == .milliseconds(20) && redis.reconnectMax == .seconds(4))
        let cluster = node.cluster
        #expect(cluster.prefix == "shop" && cluster.outboxBytes == 99 && cluster.outboxAgeMilliseconds == 7000)
        #expect(cluster.publishHoldMicroseconds == 250)
        #expect(cluster.lingerMilliseconds == 6000 && cluster.heartbeatMilliseconds == 2000)
        #expect(cluster.leaseMilliseconds == 9000 && cluster.seriesLength == 11 && cluster.eventsLength == 12)
        #expect(!cluster.presenceEnabled && cluster.presenceDiffMilliseconds == 50)
        let gateway = node.gateway
        #expect(gateway.host == "0.0.0.0" && gateway.port == 81 && gateway.path == "/s" && !gateway.exampleClient)
        #expect(gateway.handshakeTimeoutMilliseconds == 3000 && gateway.maxHeaderBytes == 2048)
        #expect(gateway.tokenCookie == "c" && gateway.backlog == 5 && node.hub.readBufferBytes == 4096)
        #expect(gateway.connections == 77 && gateway.degradedStatus == 503)
        let hub = node.hub
        #expect(hub.messageBytes == 1000 && hub.pendingBytes == 2000 && hub.membersPerRoom == 3)
        #expect(hub.pingIntervalMilliseconds == 1000 && hub.idleTimeoutMilliseconds == 2000)
        #expect(hub.writeTimeoutMilliseconds == 3000 && hub.readTimeoutMilliseconds == 4000)
        #expect(node.admin.host == "0.0.0.0" && node.admin.token == "t")
        #expect(node.logLevel == .debug && node.logFormat == .json)
        #expect(node.shutdownTimeout == .seconds(5) && node.eventLoops == 2)
    }

    @Test func limitsOfClientsArriveAndFitTogether() throws {
        let hub = try NodeConfiguration.load(environment: [
            "CONDUIT_LIMITS_MESSAGES_PER_SECOND": "5", "CONDUIT_LIMITS_MESSAGES_BURST": "6",
            "CONDUIT_LIMITS_BYTES_PER_SECOND": "7", "CONDUIT_LIMITS_BYTES_BURST": "8",
            "CONDUIT_LIMITS_RATE_STRIKES": "9", "CONDUIT_LIMITS_ROOM_NAME_BYTES": "10",
            "CONDUIT_LIMITS_JSON_DEPTH": "11", "CONDUIT_LIMITS_NODE_PENDING_BYTES": "1200000",
        ]).hub
        #expect(hub.messagesPerSecond == 5 && hub.messagesBurst == 6 && hub.bytesPerSecond == 7 && hub.bytesBurst == 8)
        #expect(hub.rateStrikes == 9 && hub.roomNameBytes == 10 && hub.jsonDepth == 11)
        #expect(hub.nodePendingBytes == 1_200_000)
        #expect(
            problems(["CONDUIT_LIMITS_BYTES_BURST": "8"]) == [
                "limits.bytes-burst (environment CONDUIT_LIMITS_BYTES_BURST): limits.bytes-burst needs "
                    + "limits.bytes-per-second: without it nothing is limited"
            ])
        #expect(problems(["CONDUIT_LIMITS_NODE_PENDING_BYTES": "1000000"]).count == 1)
        #expect(problems(["CONDUIT_LIMITS_NODE_PENDING_BYTES": "0"]) == [])
    }

    @Test func certificateAndKeyBelongTogether() async throws {
        let made = try await TestCertificates.make()
        let other = try await TestCertificates.make()
        func faults(_ certificate: String, _ key: String) -> [String] {
            problems(["CONDUIT_HTTP_TLS_CERTIFICATE": certificate, "CONDUIT_HTTP_TLS_KEY": key])
        }
        #expect(faults("", "") == [])
        #expect(faults(made.certificateFile, made.keyFile) == [])
        let cases = [
            (made.certificateFile, "", "http.tls-certificate (environment CONDUIT_HTTP_TLS_CERTIFICATE): "),
            ("", made.keyFile, "http.tls-key (environment CONDUIT_HTTP_TLS_KEY): http.tls-key needs"),
            ("/nowhere", made.keyFile, "http.tls-certificate (environment CONDUIT_HTTP_TLS_CERTIFICATE): \"/nowhere\""),
            (made.keyFile, made.keyFile, "http.tls-certificate (environment CONDUIT_HTTP_TLS_CERTIFICATE): "),
            (made.certificateFile, "/nowhere", "http.tls-key (environment CONDUIT_HTTP_TLS_KEY): \"/nowhere\" is no"),
            (made.certificateFile, other.keyFile, "http.tls-key (environment CONDUIT_HTTP_TLS_KEY): "),
        ]
        for (certificate, key, beginning) in cases {
            let found = faults(certificate, key)
            #expect(found.count == 1 && found.first?.hasPrefix(beginning) == true, "\(found)")
        }
    }

    @Test func embeddersJoinAClusterByURL() throws {
        var node = NodeConfiguration()
        #expect(node.cluster.redis == nil)
        try node.joinCluster(redisURL: "redis://h", prefix: "p")
        #expect(node.cluster.redis?.endpoint == .host("h", port: 6379))
        #expect(node.cluster.prefix == "p")
        #expect(throws: ConfigurationError.self) { try node.joinCluster(redisURL: "http://h") }
        #expect(node.cluster.prefix == "p")
    }

    @Test func pageOfTheDocumentationIsTheTable() throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Docs/configuration.md")
        let written = String(decoding: try Data(contentsOf: page), as: UTF8.self)
        #expect(written == ConfigurationDocument.markdown, "write it anew: conduit config --format markdown")
    }

    @Test(arguments: [
        ("c.yaml", "node:\n  id: a\nhttp:\n  origins:\n    - https://a.example\n    - '*'\nadmin:\n  enabled: false\n"),
        ("c.yml", "node.id: a\nadmin.enabled: false\n"),
        ("c.json", #"{"node": {"id": "a"}, "http": {"origins": ["*"], "path": null}, "admin": {"enabled": false}}"#),
    ])
    func filesAreReadByTheirExtension(name: String, content: String) throws {
        let file = try TemporaryFile(name, content)
        let node = try NodeConfiguration.load(environment: [:], file: file.path)
        #expect(node.nodeID.rawValue == "a")
        #expect(!node.admin.isEnabled)
        let named = try NodeConfiguration.load(environment: ["CONDUIT_CONFIG": file.path])
        #expect(named.nodeID.rawValue == "a")
    }

    @Test func allProblemsComeAtOnce() throws {
        let file = try TemporaryFile(
            "c.yaml",
            """
            http:
              prot: 8080
              port: [1, 2]
            limits: 5
            cluster:
              lease: 2s
            redis:
              url: redis+sentinel://secret@a
            """)
        let found = problems(
            [
                "CONDUIT_HTPP_PORT": "1", "CONDUIT_HEARTBEAT_TIMEOUT": "10s", "CONDUIT_ADMIN_HOST": "0.0.0.0",
                "CONDUIT_LOG_LEVEL": "loud",
            ],
            file: file.path,
            overrides: [
                ConfigurationOverride(key: "http.port", value: "99999", source: "--port"),
                ConfigurationOverride(key: "redis.reconnect-min", value: "5s", source: "--set"),
            ])
        let expected = [
            "CONDUIT_HTPP_PORT (environment): no such setting; did you mean CONDUIT_HTTP_PORT?",
            "http.prot (file \(file.path)): no such setting; did you mean http.port?",
            "limits (file \(file.path)): this is a group of settings, not a setting",
            "http.port (file \(file.path)): [\"1\", \"2\"] is not allowed; allowed: a whole number from 0 to 65535",
            "http.port (--port): \"99999\" is not allowed; allowed: a whole number from 0 to 65535",
            "redis.url (file \(file.path)): the name of the master is missing: redis+sentinel://host:26379,host:26379/name; "
                + "allowed: redis://[user:password@]host[:port], rediss://…, unix:///path/to/socket, "
                + "redis+sentinel://host[:port],…/master, redis+cluster://host[:port],…, "
                + "several of them separated by commas, or empty",
            "log.level (environment CONDUIT_LOG_LEVEL): \"loud\" is not allowed; allowed: "
                + "trace, debug, info, notice, warning, error, critical",
            "heartbeat.timeout (environment CONDUIT_HEARTBEAT_TIMEOUT): "
                + "heartbeat.timeout must be longer than heartbeat.ping-interval (30s)",
            "cluster.lease (file \(file.path)): cluster.lease must be longer than twice cluster.heartbeat (1s)",
            "redis.reconnect-min (--set): redis.reconnect-min must not be longer than redis.reconnect-max",
            "admin.host (environment CONDUIT_ADMIN_HOST): admin.host \"0.0.0.0\" can be reached by other machines, "
                + "so admin.token must be set; allowed without a token: 127.0.0.1, ::1, localhost",
        ]
        #expect(found == expected)
        #expect(!found.joined().contains("secret"))
    }

    @Test(arguments: [
        ("c.yaml", "a: [1\npassword: s3cr3t", "not good YAML: "), ("c.yaml", "- 1", "not good YAML: "),
        ("c.yaml", "redis:\n  password: \"s3cr3t", "not good YAML: "),
        ("c.json", "{\"redis\": {\"password\": s3cr3t}}", "not good JSON: "), ("c.json", "[]", "not good JSON: "),
        ("c.toml", "", "the name must end in .yaml, .yml or .json"), ("c.yaml", "a: \u{FEFF}\u{1}", "not good YAML: "),
    ])
    func brokenFilesAreOneProblemAndQuoteNothing(name: String, content: String, message: String) throws {
        let file = try TemporaryFile(name, content)
        let found = problems(file: file.path)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("--config (file \(file.path)): " + message) == true, "\(found)")
        #expect(found.first?.contains("s3cr3t") == false)
        #expect(found.first?.contains("\n") == false)
    }

    @Test func missingFileIsSaidWithTheOtherProblems() {
        let found = problems(["CONDUIT_HTTP_PORT": "x"], file: "/nowhere/c.yaml")
        #expect(found.count == 2)
        #expect(found.first == "--config (file /nowhere/c.yaml): can't be read: no such file")
    }

    @Test(arguments: [
        (#"{"http": {"port": true}}"#, "http.port"), (#"{"http": {"example-client": 1}}"#, "http.example-client"),
        (#"{"http": {"origins": "a"}}"#, "http.origins"), (#"{"http": {"port": 80.5}}"#, "http.port"),
        (#"{"log": {"level": ["info"]}}"#, "log.level"),
    ])
    func wrongTypesInJSONAreProblems(content: String, key: String) throws {
        let file = try TemporaryFile("c.json", content)
        let found = problems(file: file.path)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix(key) == true, "\(found)")
    }

    @Test func emptyYAMLFilesAreFine() throws {
        for content in ["", "# nothing\n", "---\n\n"] {
            let file = try TemporaryFile("c.yaml", content)
            #expect(problems(file: file.path) == [])
        }
    }

    @Test func variablesOfServiceLinksAreNoSettings() {
        #expect(
            problems([
                "CONDUIT_SERVICE_HOST": "10.0.0.1", "CONDUIT_SERVICE_PORT_WEB": "80",
                "CONDUIT_PORT": "tcp://10.0.0.1:80",
                "CONDUIT_PORT_80_TCP_ADDR": "10.0.0.1", "CONDUIT_REDIS_PORT_6379_TCP": "tcp://10.0.0.1:6379",
            ]) == [])
    }

    @Test func contradictionsOfRedisAreFound() {
        #expect(
            problems(["CONDUIT_REDIS_URL": "redis://u:pw@h", "CONDUIT_REDIS_PASSWORD": "pw2"])
                == [
                    "redis.password (environment CONDUIT_REDIS_PASSWORD): "
                        + "redis.url names a user or password already; give them in one place"
                ])
        #expect(problems(["CONDUIT_REDIS_USERNAME": "u"]).count == 1)
        #expect(problems(["CONDUIT_REDIS_TLS_CA_FILE": "/nowhere"]).count == 1)
        #expect(problems(["CONDUIT_REDIS_SENTINEL_USERNAME": "u"]).count == 1)
        #expect(problems(["CONDUIT_REDIS_TLS_KEY_FILE": "/nowhere"]).count == 1)
        #expect(
            problems(["CONDUIT_REDIS_TLS_KEY_FILE": "/nowhere", "CONDUIT_REDIS_TLS_CERTIFICATE_FILE": "/nowhere"]) == [
                "redis.tls.certificate-file (environment CONDUIT_REDIS_TLS_CERTIFICATE_FILE): "
                    + "\"/nowhere\" is no readable PEM file with certificates"
            ])
        #expect(problems(["CONDUIT_LIMITS_PENDING_BYTES": "2048"]).count == 1)
        #expect(problems(["CONDUIT_HTTP_PORT": "8181"]).count == 1)
    }

    @Test func sampleFilesPassTheirOwnCheck() throws {
        let yaml = try TemporaryFile("sample.yaml", ConfigurationDocument.yaml)
        #expect(problems(file: yaml.path) == [])
        var variables: [String: String] = [:]
        for line in ConfigurationDocument.environment.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            variables[String(parts[0])] = String(parts[1])
        }
        #expect(variables.count == ConfigurationKey.plain.count)
        #expect(problems(variables) == [])
        // Every setting is in the sample under its own name: each one, changed there, arrives.
        for key in ConfigurationKey.plain where key.defaultText == "true" {
            let name = try #require(key.components.last)
            #expect(ConfigurationDocument.yaml.contains("\(name): true"))
        }
    }

    @Test(arguments: [("Web_01.example", "Web_01.example-abcd"), ("a b/ü", "a-b---abcd"), ("", "node-abcd")])
    func namesAreMadeFromTheHost(host: String, name: String) {
        var generator = SystemRandomNumberGenerator()
        #expect(NodeConfiguration.generatedName(host: host, suffix: "abcd", using: &generator).rawValue == name)
    }
}
