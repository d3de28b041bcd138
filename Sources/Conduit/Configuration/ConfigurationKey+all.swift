import ConduitCore
import ConduitGateway
import ConduitRedis

extension ConfigurationKey {
    /// Every setting of a node, in the order of the sample file. Those with `<namespace>` in their name are patterns.
    package static let all: [ConfigurationKey] =
        node + http + echo + httpDoor + auth + authTimes + limits + frames + limitsDoor + clientLimits + compression
        + heartbeat + rooms + redis + cluster + events + presence + admin + tracing + logging + drain + rebalance

    private static let node: [ConfigurationKey] = [
        ConfigurationKey(
            "node.id",
            .text(allowed: "1 to 64 of A-Z a-z 0-9 . _ -, or empty", check: { $0.isEmpty || NodeID($0) != nil }),
            default: "",
            "Name of this node, unique in its cluster; empty makes one from the host name and four random characters."),
        ConfigurationKey(
            "node.event-loops", .integer(0...64), default: "0",
            "Threads that carry connections; 0 is one for each core that the process may use."),
    ]

    private static let http: [ConfigurationKey] = [
        ConfigurationKey("http.host", host, default: "127.0.0.1", "Address that the public port listens on."),
        ConfigurationKey("http.port", .integer(0...65_535), default: "8080", "The public port; 0 takes any free one."),
        ConfigurationKey(
            "http.tls-certificate", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "Certificate of the public port and those that vouch for it (PEM); empty speaks plain HTTP."),
        ConfigurationKey(
            "http.tls-key", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "Private key of http.tls-certificate (PEM)."),
        ConfigurationKey(
            "http.path",
            .text(allowed: "a path that begins with / and is none of /, /health, /ready", check: isUpgradePath),
            default: "/ws", "Path of the WebSocket upgrade."),
        ConfigurationKey("http.example-client", .boolean, default: "true", "Whether / serves the example client."),
        ConfigurationKey(
            "http.origins",
            .list(allowed: "https://app.example.com, https://*.example.com or *", check: isOrigin), default: "[]",
            "Origins whose pages may connect; empty allows the same host only. Requests without Origin pass."),
        ConfigurationKey(
            "http.handshake-timeout", .duration(10...300_000), default: "10s",
            "A request must be complete this long after the connection was made."),
        ConfigurationKey(
            "http.max-header-bytes", .integer(1024...1_048_576), default: "16384", "Largest header of a request."),
        ConfigurationKey(
            "http.token-cookie", .text(allowed: "a cookie's name, or empty for none", check: isCookieName),
            default: "conduit_token", "Cookie that may carry the token; empty reads none."),
        ConfigurationKey(
            "http.backlog", .integer(1...65_535), default: "4096", "Connections that may wait to be accepted."),
    ]

    private static let limits: [ConfigurationKey] = [
        ConfigurationKey(
            "limits.message-bytes", .integer(128...67_108_864), default: "524288", "Largest message of a client."),
        ConfigurationKey(
            "limits.rooms-per-client", .integer(1...100_000), default: "128", "Most rooms that a client may be in."),
        ConfigurationKey(
            "limits.members-per-room", .integer(1...10_000_000), default: "100000",
            "Most members that a room may have on one event loop of a node."),
        ConfigurationKey(
            "limits.pending-bytes", .integer(1024...1_073_741_824), default: "1048576",
            "Bytes that may wait for a client that reads slowly; more closes it with 3008."),
        ConfigurationKey(
            "limits.connections", .integer(0...10_000_000), default: "0",
            "Most connections of this node; 0 is as many as there are file descriptors."),
        ConfigurationKey(
            "limits.read-buffer-bytes", .integer(512...1_048_576), default: "16384", "Bytes read from a socket at once."
        ),
        ConfigurationKey(
            "limits.handler-queue", .integer(1...65_536), default: "64",
            "Requests of one client that may wait for the application's own handlers."),
    ]

    private static let heartbeat: [ConfigurationKey] = [
        ConfigurationKey(
            "heartbeat.ping-interval", .duration(10...3_600_000), default: "30s", "How often clients are pinged."),
        ConfigurationKey(
            "heartbeat.timeout", .duration(20...86_400_000), default: "60s",
            "A client without a sign of life for this long is closed with 3012; longer than the ping interval."),
        ConfigurationKey(
            "heartbeat.write-timeout", .duration(10...3_600_000), default: "10s",
            "A client whose socket takes nothing for this long is closed with 3008."),
        ConfigurationKey(
            "heartbeat.read-timeout", .duration(10...3_600_000), default: "30s",
            "A message must be complete this long after its first byte."),
    ]

    private static let redis: [ConfigurationKey] = [
        ConfigurationKey(
            "redis.url",
            .text(
                allowed: "redis://[user:password@]host[:port], rediss://…, unix:///path/to/socket, "
                    + "redis+sentinel://host[:port],…/master, redis+cluster://host[:port],…, "
                    + "several of them separated by commas, or empty",
                check: isRedisURL),
            default: "", secret: true,
            "Redis that joins the nodes into a cluster; several are independent servers that share the rooms; "
                + "empty runs this node alone."),
        ConfigurationKey(
            "redis.prefix", .text(allowed: "1 to 64 visible ASCII characters, without { } %", check: isPrefix),
            default: "conduit", "Begins the name of every Redis key and channel; the same on all nodes of a cluster."),
        ConfigurationKey(
            "redis.username", .text(allowed: "text without control characters", check: isPlain), default: "",
            "User of Redis's ACL; may be in the URL instead."),
        ConfigurationKey(
            "redis.password", .text(allowed: "text without control characters", check: isPlain), default: "",
            secret: true, "Password of Redis; may be in the URL instead."),
        ConfigurationKey(
            "redis.connect-timeout", .duration(10...60_000), default: "2s", "A connection to Redis must stand by then."),
        ConfigurationKey(
            "redis.command-timeout", .duration(10...300_000), default: "5s",
            "A connection that leaves a command unanswered for this long is made again."),
        ConfigurationKey(
            "redis.reconnect-min", .duration(1...60_000), default: "50ms", "First wait before connecting again."),
        ConfigurationKey(
            "redis.reconnect-max", .duration(1...600_000), default: "2s",
            "Longest wait before connecting again; not less than redis.reconnect-min."),
        ConfigurationKey(
            "redis.outbox-bytes", .integer(0...1_073_741_824), default: "8388608",
            "Bytes for other nodes that are kept while Redis is away."),
        ConfigurationKey(
            "redis.outbox-age", .duration(0...3_600_000), default: "30s",
            "How long messages for other nodes are kept while Redis is away."),
        ConfigurationKey(
            "redis.publish-hold-us", .integer(0...10_000), default: "500",
            "How long messages for other nodes may wait for each other when there are many, in microseconds; 0 for never."
        ),
        ConfigurationKey(
            "redis.ring-bytes", .integer(0...1_073_741_824), default: "16777216",
            "Bytes of sent messages that a node remembers, to give them again to a node that missed them; 0 for none."),
        ConfigurationKey(
            "redis.ring-age", .duration(0...3_600_000), default: "60s",
            "How long sent messages are remembered for nodes that missed them."),
        ConfigurationKey(
            "redis.position-check", .duration(100...600_000), default: "5s",
            "How often the positions of ordered rooms are compared with their logs."),
        ConfigurationKey(
            "redis.unsubscribe-linger", .duration(1_000...3_600_000), default: "2s",
            "How long a room stays subscribed after its last local member left."),
        ConfigurationKey(
            "redis.sentinel-username", .text(allowed: "text without control characters", check: isPlain), default: "",
            "User of the Sentinels themselves, where they ask for one."),
        ConfigurationKey(
            "redis.sentinel-password", .text(allowed: "text without control characters", check: isPlain), default: "",
            secret: true, "Password of the Sentinels themselves, where they ask for one."),
        ConfigurationKey(
            "redis.tls.ca-file", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "Certificates (PEM) that vouch for Redis with rediss://; empty takes the system's."),
        ConfigurationKey(
            "redis.tls.certificate-file", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "This node's own certificate (PEM), for a Redis that asks for one; needs redis.tls.key-file."),
        ConfigurationKey(
            "redis.tls.key-file", .text(allowed: "a path, or empty", check: isPlain), default: "",
            "The key (PEM) of redis.tls.certificate-file."),
        ConfigurationKey(
            "redis.tls.verify", .boolean, default: "true", "Whether the certificate of Redis is verified."),
    ]

    private static let cluster: [ConfigurationKey] = [
        ConfigurationKey(
            "cluster.heartbeat", .duration(20...60_000), default: "1s", "How often a node renews its lease in Redis."),
        ConfigurationKey(
            "cluster.lease", .duration(50...600_000), default: "5s",
            "A node silent for this long is dead to the others; more than twice the heartbeat."),
        ConfigurationKey(
            "cluster.series-length", .integer(1...1_000_000), default: "3600",
            "Samples of its figures that a node keeps in Redis."),
        ConfigurationKey(
            "cluster.events-length", .integer(1...1_000_000), default: "10000",
            "Events of the cluster that are kept in Redis."),
    ]

    private static let presence: [ConfigurationKey] = [
        ConfigurationKey("presence.enabled", .boolean, default: "true", "Whether rosters of rooms are kept."),
        ConfigurationKey(
            "presence.diff-interval", .duration(1...60_000), default: "100ms",
            "How soon joins and leaves are told; while they go on, up to ten times as long passes between two diffs."),
        ConfigurationKey(
            "ready.degraded-status", .choice(["200", "503"]), default: "200",
            "HTTP status of /ready while Redis is away."),
    ]

    private static let admin: [ConfigurationKey] = [
        ConfigurationKey("admin.enabled", .boolean, default: "true", "Whether there is an admin port."),
        ConfigurationKey("admin.host", host, default: "127.0.0.1", "Address that the admin port listens on."),
        ConfigurationKey("admin.port", .integer(0...65_535), default: "8181", "The admin port; 0 takes any free one."),
        ConfigurationKey(
            "admin.token", .text(allowed: "visible ASCII characters, or empty", check: isToken), default: "",
            secret: true,
            "Bearer token of the admin port; empty asks for none, which is allowed on a loopback address only."),
        ConfigurationKey(
            "admin.survey-timeout", .duration(50...10_000), default: "1s",
            "How long other nodes may take to answer what an operator asks; who is silent is named in the answer."),
    ]

    private static let logging: [ConfigurationKey] = [
        ConfigurationKey(
            "log.level", .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]),
            default: "info", "Least level of log lines that are written."),
        ConfigurationKey(
            "log.format", .choice(["auto", "text", "json"]), default: "auto",
            "Form of log lines; auto is text on a terminal, else JSON."),
        ConfigurationKey(
            "shutdown.timeout", .duration(10...3_600_000), default: "30s",
            "How long a graceful stop may take before the rest is cut off."),
    ]

    private static let host = Kind.text(allowed: "an IP address or host name", check: isHost)
}

// What texts are allowed. Pure functions of bytes; nothing is resolved or opened here.
extension ConfigurationKey {
    @Sendable static func isPlain(_ text: String) -> Bool {
        text.utf8.count <= 4096 && !text.containsControlCharacter
    }

    private static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

    @Sendable static func isToken(_ text: String) -> Bool {
        text.utf8.count <= 4096 && text.utf8.allSatisfy(isVisible)
    }

    @Sendable private static func isPrefix(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { isVisible($0) && $0 != 0x7B && $0 != 0x7D && $0 != 0x25 }
    }

    @Sendable private static func isHost(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x3A, 0x5F, 0x25: true
                default: false
                }
            }
    }

    @Sendable private static func isUpgradePath(_ text: String) -> Bool {
        text.utf8.first == 0x2F && text.utf8.count <= 1024
            && text.utf8.allSatisfy { isVisible($0) && $0 != 0x3F && $0 != 0x23 }
            && !["/", "/health", "/ready"].contains(text)
    }

    @Sendable private static func isCookieName(_ text: String) -> Bool {
        text.utf8.count <= 256 && text.utf8.allSatisfy { isVisible($0) && !"()<>@,;:\\\"/[]?={}".utf8.contains($0) }
    }

    @Sendable private static func isOrigin(_ text: String) -> Bool { OriginPolicy.isValid(entry: text) }

    @Sendable private static func isRedisURL(_ text: String) -> Bool {
        text.isEmpty || (text.utf8.count <= 4096 && (try? RedisURL.list(text)) != nil)
    }
}
