import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import Foundation
import Logging
import NIOCore

extension NodeConfiguration {
    /// Reads the settings of a node: overrides win over environment variables, those over the file, that over the
    /// defaults. Docs/configuration.md lists them all.
    ///
    /// - Parameters:
    ///   - overrides: what the command line says.
    ///   - variables: those that begin with `CONDUIT_` count; the process's own when `nil`.
    ///   - file: a YAML or JSON file; without one, `CONDUIT_CONFIG` may name it.
    /// - Throws: every problem at once.
    public static func load(
        overrides: [ConfigurationOverride] = [],
        environment variables: [String: String]? = nil,
        file: String? = nil
    ) throws(ConfigurationError) -> NodeConfiguration {
        let environment = variables ?? ProcessInfo.processInfo.environment
        var sources = [ConfigurationSource.overrides(overrides), .environment(environment)]
        var fileProblems: [ConfigurationProblem] = []
        let named = environment[ConfigurationSource.configurationFileVariable] ?? ""
        if let path = file ?? (named.isEmpty ? nil : named) {
            do {
                sources.append(try .file(path))
            } catch {
                fileProblems = error.problems
            }
        }
        var values = ConfigurationValues(sources: sources)
        let configuration = NodeConfiguration(checking: &values)
        let problems = fileProblems + values.problems
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        return configuration
    }

    private init(checking values: inout ConfigurationValues) {
        if let id = NodeID(values.text("node.id")) { self.init(nodeID: id) } else { self.init() }
        eventLoops = values.integer("node.event-loops")
        hub = Self.hub(values)
        gateway = Self.gateway(values)
        cluster = Self.cluster(values)
        admin = Self.admin(values)
        auth = Self.auth(values)
        logLevel = Logger.Level(rawValue: values.text("log.level")) ?? .info
        logFormat = LogFormat(rawValue: values.text("log.format")) ?? .auto
        hub.rooms = Self.rooms(values)
        hub.refreshGraceMilliseconds = values.milliseconds("auth.refresh-grace")
        hub.revocationAgeMilliseconds = Int64(values.milliseconds("auth.revocation-age"))
        cluster.rooms = hub.rooms
        tracing = Self.tracing(values)
        shutdownTimeout = .milliseconds(values.milliseconds("shutdown.timeout"))
        drain = Self.drain(values)
        rebalance = Self.rebalance(values)
        Self.findContradictions(in: &values)
        loaded = values
    }

    private static func hub(_ values: ConfigurationValues) -> HubConfiguration {
        var hub = HubConfiguration()
        hub.messageBytes = values.integer("limits.message-bytes")
        hub.framesPerMessage = values.integer("limits.frames-per-message")
        hub.compression = compression(values)
        hub.readBufferBytes = values.integer("limits.read-buffer-bytes")
        hub.roomsPerClient = values.integer("limits.rooms-per-client")
        hub.membersPerRoom = values.integer("limits.members-per-room")
        hub.pendingBytes = values.integer("limits.pending-bytes")
        hub.handlerQueue = values.integer("limits.handler-queue")
        hub.pingIntervalMilliseconds = values.milliseconds("heartbeat.ping-interval")
        hub.idleTimeoutMilliseconds = values.milliseconds("heartbeat.timeout")
        hub.writeTimeoutMilliseconds = values.milliseconds("heartbeat.write-timeout")
        hub.readTimeoutMilliseconds = values.milliseconds("heartbeat.read-timeout")
        readClientLimits(values, into: &hub)
        return hub
    }

    private static func gateway(_ values: ConfigurationValues) -> GatewayConfiguration {
        var gateway = GatewayConfiguration()
        gateway.host = values.text("http.host")
        gateway.port = values.integer("http.port")
        gateway.tls = tls(values)
        gateway.path = values.text("http.path")
        gateway.echo = values.boolean("http.echo")
        gateway.exampleClient = values.boolean("http.example-client")
        // Each entry was checked by the same rules.
        gateway.origins = OriginPolicy.list(values.list("http.origins")) ?? .sameHost
        gateway.handshakeTimeoutMilliseconds = values.milliseconds("http.handshake-timeout")
        gateway.maxHeaderBytes = values.integer("http.max-header-bytes")
        gateway.tokenCookie = values.text("http.token-cookie")
        gateway.backlog = values.integer("http.backlog")
        gateway.connections = values.integer("limits.connections")
        readDoor(values, into: &gateway)
        gateway.degradedStatus = values.text("ready.degraded-status") == "503" ? 503 : 200
        return gateway
    }

    private static func cluster(_ values: ConfigurationValues) -> ClusterConfiguration {
        var cluster = ClusterConfiguration()
        let servers = redis(values)
        cluster.redis = servers.first
        cluster.furtherRedis = Array(servers.dropFirst())
        cluster.prefix = values.text("redis.prefix")
        cluster.surveyMilliseconds = Int64(values.milliseconds("admin.survey-timeout"))
        cluster.heartbeatMilliseconds = Int64(values.milliseconds("cluster.heartbeat"))
        cluster.leaseMilliseconds = Int64(values.milliseconds("cluster.lease"))
        cluster.lingerMilliseconds = Int64(values.milliseconds("redis.unsubscribe-linger"))
        cluster.outboxBytes = values.integer("redis.outbox-bytes")
        cluster.outboxAgeMilliseconds = Int64(values.milliseconds("redis.outbox-age"))
        cluster.publishHoldMicroseconds = Int64(values.integer("redis.publish-hold-us"))
        cluster.ringBytes = values.integer("redis.ring-bytes")
        cluster.ringAgeMilliseconds = Int64(values.milliseconds("redis.ring-age"))
        cluster.positionCheckMilliseconds = Int64(values.milliseconds("redis.position-check"))
        cluster.seriesLength = values.integer("cluster.series-length")
        cluster.eventsLength = values.integer("cluster.events-length")
        cluster.roomEvents = values.boolean("events.rooms")
        cluster.clientEvents = values.boolean("events.clients")
        cluster.eventsPerSecond = values.integer("events.per-second")
        cluster.presenceEnabled = values.boolean("presence.enabled")
        cluster.presenceDiffMilliseconds = Int64(values.milliseconds("presence.diff-interval"))
        cluster.host = hostName()
        return cluster
    }

    private static func redis(_ values: ConfigurationValues) -> [RedisConfiguration] {
        ((try? RedisURL.list(values.text("redis.url"))) ?? []).map { redis($0, values) }
    }

    private static func redis(_ url: RedisURL, _ values: ConfigurationValues) -> RedisConfiguration {
        var redis = RedisConfiguration(url)
        let username = values.text("redis.username")
        let password = values.text("redis.password")
        if !username.isEmpty { redis.username = username }
        if !password.isEmpty { redis.password = password }
        redis.sentinelUsername = values.given("redis.sentinel-username")
        redis.sentinelPassword = values.given("redis.sentinel-password")
        if redis.tls != nil { redis.tls = redisTLS(values) }
        redis.connectTimeout = .milliseconds(Int64(values.milliseconds("redis.connect-timeout")))
        redis.commandTimeout = .milliseconds(Int64(values.milliseconds("redis.command-timeout")))
        redis.reconnectMin = .milliseconds(Int64(values.milliseconds("redis.reconnect-min")))
        redis.reconnectMax = .milliseconds(Int64(values.milliseconds("redis.reconnect-max")))
        return redis
    }

    private static func redisTLS(_ values: ConfigurationValues) -> RedisConfiguration.TLS {
        RedisConfiguration.TLS(
            caFile: values.given("redis.tls.ca-file"),
            certificateFile: values.given("redis.tls.certificate-file"), keyFile: values.given("redis.tls.key-file"),
            verify: values.boolean("redis.tls.verify"))
    }

    private static func admin(_ values: ConfigurationValues) -> AdminConfiguration {
        var admin = AdminConfiguration()
        admin.isEnabled = values.boolean("admin.enabled")
        admin.host = values.text("admin.host")
        admin.port = values.integer("admin.port")
        admin.token = values.text("admin.token")
        return admin
    }

    /// Values that are well-formed by themselves and make no sense together.
    private static func findContradictions(in values: inout ConfigurationValues) {
        let ping = values.milliseconds("heartbeat.ping-interval")
        if values.milliseconds("heartbeat.timeout") <= ping {
            values.contradiction(
                "heartbeat.timeout", "heartbeat.ping-interval",
                message: "heartbeat.timeout must be longer than heartbeat.ping-interval (\(DurationText.write(ping)))")
        }
        let beat = values.milliseconds("cluster.heartbeat")
        if values.milliseconds("cluster.lease") <= 2 * beat {
            values.contradiction(
                "cluster.lease", "cluster.heartbeat",
                message: "cluster.lease must be longer than twice cluster.heartbeat (\(DurationText.write(beat)))")
        }
        let first = values.milliseconds("redis.reconnect-min")
        if first > values.milliseconds("redis.reconnect-max") {
            values.contradiction(
                "redis.reconnect-min", "redis.reconnect-max",
                message: "redis.reconnect-min must not be longer than redis.reconnect-max")
        }
        if values.integer("limits.pending-bytes") < values.integer("limits.message-bytes") {
            values.contradiction(
                "limits.pending-bytes", "limits.message-bytes",
                message: "limits.pending-bytes must not be less than limits.message-bytes, "
                    + "or the largest message would close each client that it is for")
        }
        findContradictionsOfDoor(in: &values)
        findContradictionsOfClientLimits(in: &values)
        findContradictionsOfEcho(in: &values)
        findContradictionsOfPorts(in: &values)
        findContradictionsOfRedis(in: &values)
        findContradictionsOfRooms(in: &values)
        findContradictionsOfAuth(in: &values)
        findContradictionsOfDrain(in: &values)
        findContradictionsOfTracing(in: &values)
    }

    private static func findContradictionsOfPorts(in values: inout ConfigurationValues) {
        guard values.boolean("admin.enabled") else { return }
        let host = values.text("admin.host")
        if !AdminConfiguration.isLoopback(host), values.text("admin.token").isEmpty {
            values.contradiction(
                "admin.host", "admin.token",
                message: "admin.host \(ConfigurationKey.quoted(host)) can be reached by other machines, "
                    + "so admin.token must be set; allowed without a token: 127.0.0.1, ::1, localhost")
        }
        let port = values.integer("admin.port")
        if port != 0, port == values.integer("http.port"), host == values.text("http.host") {
            values.contradiction(
                "admin.port", "http.port", message: "admin.port and http.port are both \(port); they must differ")
        }
    }

    private static func findContradictionsOfRedis(in values: inout ConfigurationValues) {
        let url = values.text("redis.url")
        let named = ((try? RedisURL.list(url)) ?? []).contains { $0.username != nil || $0.password != nil }
        if named, values.isSet("redis.password") || values.isSet("redis.username") {
            values.contradiction(
                "redis.password", "redis.username", "redis.url",
                message: "redis.url names a user or password already; give them in one place")
        }
        if !values.text("redis.username").isEmpty, values.text("redis.password").isEmpty {
            values.contradiction(
                "redis.username", "redis.password", message: "redis.username needs redis.password")
        }
        if values.given("redis.sentinel-username") != nil, values.given("redis.sentinel-password") == nil {
            values.contradiction(
                "redis.sentinel-username", "redis.sentinel-password",
                message: "redis.sentinel-username needs redis.sentinel-password")
        }
        if let file = values.given("redis.tls.ca-file"), !FileManager.default.isReadableFile(atPath: file) {
            values.contradiction("redis.tls.ca-file", message: "\(ConfigurationKey.quoted(file)) can't be read")
        }
        let names = ["redis.tls.certificate-file", "redis.tls.key-file"]
        for (name, other) in zip(names, names.reversed()) where values.given(name) != nil && values.given(other) == nil
        {
            values.contradiction(name, other, message: "\(name) needs \(other)")
        }
        if let problem = redisTLS(values).clientCertificateProblem() {
            let name = names[problem.isAboutKey ? 1 : 0]
            values.contradiction(name, message: "\(ConfigurationKey.quoted(values.text(name))) \(problem.message)")
        }
    }
}
