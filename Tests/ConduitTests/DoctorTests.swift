import Conduit
import ConduitBench
import ConduitCluster
import ConduitCommand
import ConduitCore
import ConduitTesting
import Foundation
import NIOCore
import NIOPosix
import Testing

/// `conduit doctor` on real servers, good and bad ones.
@Suite(.timeLimit(.minutes(5))) struct DoctorTests {
    private struct Diagnosis {
        let status: Int32
        let output: String
        let isGood: Bool
        let findings: [(area: String, check: String, level: String, text: String, remedy: String?)]
        let rights: [String]

        func level(_ check: String, area: String? = nil) -> String? {
            findings.first { $0.check == check && (area == nil || $0.area == area) }?.level
        }

        func remedy(_ check: String) -> String { findings.first { $0.check == check }?.remedy ?? "" }
        var failed: Set<String> { Set(findings.filter { $0.level == "fail" }.map(\.check)) }
    }

    /// Free ports, so that nobody else is in the way.
    private func ask(_ arguments: String..., environment: [String: String] = [:]) async throws -> Diagnosis {
        try await ask(arguments + ["--port", "0", "--admin-port", "0"], environment: environment)
    }

    private func ask(_ arguments: [String], environment: [String: String] = [:]) async throws -> Diagnosis {
        let outcome = try await Program.run(["doctor", "--json"] + arguments, environment: environment)
        // What it says of waiting stands on standard error.
        let line = outcome.output.split(separator: "\n").first { $0.hasPrefix("{") } ?? ""
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(outcome)")
        let findings = try #require(object["findings"] as? [[String: String]])
        return Diagnosis(
            status: outcome.status, output: outcome.output, isGood: object["ok"] as? Bool == true,
            findings: findings.map {
                ($0["area"] ?? "", $0["check"] ?? "", $0["level"] ?? "", $0["text"] ?? "", $0["remedy"])
            }, rights: object["acl"] as? [String] ?? [])
    }

    @Test func aGoodRedisIsGood() async throws {
        let redis = try await RedisServer.start()
        let diagnosis = try await ask("--redis-url", redis.url)
        #expect(diagnosis.status == 0 && diagnosis.isGood, "\(diagnosis.output)")
        for check in [
            "reach", "version", "role", "eviction", "pubsub-buffer", "maxclients", "clock", "rights", "channels",
        ] {
            #expect(diagnosis.level(check) == "ok", "\(check): \(diagnosis.output)")
        }
        #expect(diagnosis.level("nodes") == "ok")
        #expect(diagnosis.rights == [RedisRights.line(prefix: "conduit", shape: .single)])
        // Its trials have left nothing.
        #expect(try await redis.redisCLI("DBSIZE") == "0")
        let text = try await Program.run("doctor", "--redis-url", redis.url, "--port", "0", "--admin-port", "0")
        #expect(text.status == 0)
        #expect(text.output.contains("least rights of a node") && text.output.contains("ACL SETUSER conduit"))
        #expect(!text.output.contains("\u{1B}"))
    }

    @Test func aBadRedisIsToldWhatToChange() async throws {
        let redis = try await RedisServer.start(
            RedisServer.Options(arguments: [
                "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--timeout", "5", "--maxclients", "40",
                "--client-output-buffer-limit", "pubsub 1mb 1mb 10",
            ]))
        let diagnosis = try await ask("--redis-url", redis.url)
        #expect(diagnosis.status == 1 && !diagnosis.isGood)
        #expect(diagnosis.failed == ["eviction"])
        #expect(diagnosis.remedy("eviction").contains("noeviction"))
        for check in ["pubsub-buffer", "timeout", "maxclients"] {
            #expect(diagnosis.level(check) == "warn", "\(check): \(diagnosis.output)")
            #expect(diagnosis.remedy(check).contains("CONFIG SET"))
        }
        // The remedies help.
        try await redis.redisCLI("CONFIG", "SET", "maxmemory-policy", "noeviction")
        try await redis.redisCLI("CONFIG", "SET", "timeout", "0")
        try await redis.redisCLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 67108864 33554432 60")
        let better = try await ask("--redis-url", redis.url)
        #expect(
            better.isGood && better.level("pubsub-buffer") == "ok" && better.level("timeout") == nil, "\(better.output)"
        )
    }

    @Test func aRedisThatRefusesWritesFails() async throws {
        let redis = try await RedisServer.start(
            RedisServer.Options(arguments: ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]))
        let full = try await ask("--redis-url", redis.url)
        #expect(full.level("memory", area: "redis") != "ok" && full.failed.contains("writes"), "\(full.output)")
        #expect(full.output.contains("OOM"))
    }

    @Test func aReplicaIsNoPlaceForNodes() async throws {
        let master = try await RedisServer.start()
        let replica = try await RedisServer.start(
            RedisServer.Options(arguments: ["--replicaof", "127.0.0.1", String(master.port)]))
        let diagnosis = try await ask("--redis-url", replica.url)
        #expect(diagnosis.status == 1)
        #expect(diagnosis.failed.isSuperset(of: ["role", "writes"]), "\(diagnosis.output)")
    }

    @Test func missingRightsAreNamedAndTheLineGivesThem() async throws {
        let some =
            "conduit on >secret ~conduit:* &other:* -@all +auth +ping +client|setname +time +subscribe +hset +del"
        let redis = try await RedisServer.start(RedisServer.Options(users: [some]))
        let login = ["CONDUIT_REDIS_USERNAME": "conduit", "CONDUIT_REDIS_PASSWORD": "secret"]
        let poor = try await ask("--redis-url", redis.url, environment: login)
        #expect(poor.failed == ["rights", "channels"], "\(poor.output)")
        let text = poor.findings.first { $0.check == "rights" }?.text ?? ""
        #expect(text.contains("+zadd") && text.contains("+xread") && !text.contains("+hset"), "\(text)")
        #expect(poor.level("unseen") == "warn")
        let line = poor.remedy("rights")
        #expect(line.hasPrefix("ACL SETUSER conduit on >secret resetkeys ~conduit:*"))
        #expect(try await redis.redisCLI(line.split(separator: " ").map(String.init)) == "OK")
        let rich = try await ask("--redis-url", redis.url, environment: login)
        #expect(rich.isGood && rich.level("rights") == "ok" && rich.level("channels") == "ok", "\(rich.output)")
        // Under another prefix the keys aren't the user's.
        let elsewhere = try await ask("--redis-url", redis.url, "--prefix", "shop", environment: login)
        #expect(elsewhere.failed == ["rights", "channels"])
        #expect(elsewhere.output.contains("keys of the prefix") && elsewhere.output.contains("~shop:*"))
        // An administrator sees the rest.
        try await redis.redisCLI("ACL", "SETUSER", "boss", "on", ">t0psecret", "+@all", "~*", "&*")
        let seen = try await ask(
            "--redis-url", redis.url, "--redis-admin-username", "boss",
            environment: login.merging(["DOCTOR_REDIS_PASSWORD": "t0psecret"]) { $1 })
        #expect(seen.level("unseen") == nil && seen.level("eviction") == "ok", "\(seen.output)")
        #expect(!seen.output.contains("t0psecret"))
    }

    @Test func sentinelsAreAskedEach() async throws {
        let redis = try await RedisSentinel.start(
            users: [String(RedisRights.line(prefix: "conduit", shape: .sentinel).dropFirst("ACL SETUSER ".count))],
            sentinelUsers: [String(RedisRights.sentinelLine.dropFirst("ACL SETUSER ".count))])
        let login = [
            "CONDUIT_REDIS_USERNAME": "conduit", "CONDUIT_REDIS_PASSWORD": "secret",
            "CONDUIT_REDIS_SENTINEL_USERNAME": "conduit-watch", "CONDUIT_REDIS_SENTINEL_PASSWORD": "secret",
        ]
        let diagnosis = try await ask("--redis-url", redis.url, environment: login)
        #expect(diagnosis.isGood, "\(diagnosis.output)")
        #expect(diagnosis.findings.count { $0.check == "sentinel" && $0.level == "ok" } == 3)
        #expect(diagnosis.rights.last == RedisRights.sentinelLine)
        try await redis.sentinels[2].stop()
        let less = try await ask("--redis-url", redis.url, environment: login)
        #expect(less.findings.count { $0.check == "sentinel" && $0.level == "warn" } == 1, "\(less.output)")
    }

    @Test func everyMasterOfAClusterIsLookedAt() async throws {
        let line = String(RedisRights.line(prefix: "conduit", shape: .cluster).dropFirst("ACL SETUSER ".count))
        let redis = try await RedisCluster.start(options: RedisServer.Options(users: [line]))
        let login = ["CONDUIT_REDIS_USERNAME": "conduit", "CONDUIT_REDIS_PASSWORD": "secret"]
        let diagnosis = try await ask("--redis-url", redis.url, environment: login)
        #expect(diagnosis.isGood, "\(diagnosis.output)")
        #expect(diagnosis.findings.count { $0.check == "rights" && $0.level == "ok" } == 3)
        #expect(diagnosis.level("slots") == "ok" && diagnosis.level("replicas") == "warn")
        #expect(diagnosis.level("channels") == "ok")
        for master in redis.masters { #expect(try await master.server.redisCLI("DBSIZE") == "0") }
        // One that names a single server of it.
        let single = try await ask("--redis-url", redis.masters[0].server.url)
        #expect(single.failed.contains("shape"), "\(single.output)")
    }

    @Test func theUnreachableAndTheWrongAreSaidWithoutPasswords() async throws {
        let port = try await RedisServer.freePort()
        let away = try await ask("--redis-url", "redis://:s3cr3t@127.0.0.1:\(port)")
        #expect(away.status == 1 && away.failed == ["reach"])
        let locked = try await RedisServer.start(RedisServer.Options(password: "right"))
        let refused = try await ask("--redis-url", "redis://:wr0ng@127.0.0.1:\(locked.port)")
        #expect(refused.failed == ["reach"] && refused.remedy("reach").contains("redis.password"))
        let contradictory = try await ask(
            "--redis-url", locked.url, "--set", "cluster.lease=1s", "--set", "http.prot=1")
        #expect(contradictory.findings.count { $0.check == "settings" && $0.level == "fail" } == 2)
        #expect(contradictory.level("url") == "warn", "a Redis that nobody has looked at isn't in order")
        // Nor is a machine that the defaults would fit.
        #expect(Set(contradictory.findings.map(\.check)) == ["settings", "url"], "\(contradictory.output)")
        for diagnosis in [away, refused, contradictory] {
            for secret in ["s3cr3t", "wr0ng", "right@"] { #expect(!diagnosis.output.contains(secret)) }
        }
    }

    @Test func portsAreFreeTakenByANodeOrBySomebodyElse() async throws {
        let node = try await NodeProcess.start("doctored")
        let own = try await ask(["--port", "\(node.port)", "--admin-port", "\(node.adminPort)"])
        #expect(own.isGood && own.level("http.port") == "ok" && own.output.contains("taken by a node"), "\(own.output)")
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { $0.close() }.bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(listener.localAddress?.port)
        let taken = try await ask(["--port", "\(port)", "--admin-port", "0"])
        #expect(
            taken.failed == ["http.port"] && taken.remedy("http.port").contains("sport = :\(port)"), "\(taken.output)")
        try await listener.close()
        let free = try await ask(["--port", "\(port)", "--admin-port", "0"])
        #expect(free.isGood)
        let strange = try await ask(["--admin-host", "192.0.2.1", "--port", "0", "--set", "admin.token=x"])
        #expect(strange.failed.contains("admin.port") || strange.failed.contains("settings"), "\(strange.output)")
    }

    // MARK: The balancer

    @Test func aBalancerThatForgetsIdleClientsIsFound() async throws {
        let node = try await NodeProcess.start(
            "behind", ["CONDUIT_HEARTBEAT_PING_INTERVAL": "400ms", "CONDUIT_HEARTBEAT_TIMEOUT": "3s"])
        let ports = [try await RedisServer.freePort(), try await RedisServer.freePort()]
        let proxy = try await HAProxy.start(
            """
            frontend hasty
             bind 127.0.0.1:\(ports[0])
             default_backend hasty
            backend hasty
             timeout tunnel 150ms
             server node 127.0.0.1:\(node.port)
            frontend patient
             bind 127.0.0.1:\(ports[1])
             default_backend patient
            backend patient
             timeout tunnel 30s
             server node 127.0.0.1:\(node.port)
            """, ports: ports)
        let settings = ["--set", "heartbeat.ping-interval=400ms", "--set", "heartbeat.timeout=3s"]
        func examine(_ port: Int, _ more: String...) async throws -> Diagnosis {
            try await ask(
                ["--port", "0", "--admin-port", "0", "--idle", "8", "--balancer", "ws://127.0.0.1:\(port)/ws"]
                    + settings + more)
        }
        let hasty = try await examine(ports[0])
        #expect(hasty.failed == ["idle"], "\(hasty.output)")
        #expect(hasty.remedy("idle").contains("timeout tunnel"))
        let patient = try await examine(ports[1])
        #expect(patient.isGood, "\(patient.output)")
        #expect(patient.level("idle") == "ok" && patient.level("pings") == nil)
        let silence = patient.findings.first { $0.check == "silence" }?.text ?? ""
        #expect(silence.contains("3012"), "\(silence)")
        // Another path, and nobody at all.
        let lost = try await ask(
            ["--port", "0", "--admin-port", "0", "--idle", "1", "--balancer", "ws://127.0.0.1:\(node.port)/nowhere"])
        #expect(lost.failed == ["connect"] && lost.output.contains("404"), "\(lost.output)")
        let nobody = try await RedisServer.freePort()
        let away = try await ask(
            ["--port", "0", "--admin-port", "0", "--idle", "1", "--balancer", "ws://127.0.0.1:\(nobody)"])
        #expect(away.failed == ["connect"] && away.output.contains("refused"), "\(away.output)")
        withExtendedLifetime(proxy) {}
    }

    @Test func whatTwoConnectionsHaveSeenIsJudged() throws {
        let target = try #require(BenchTarget("wss://chat.example.com/ws"))
        func judge(_ living: IdleProbe.Outcome, _ silent: IdleProbe.Outcome, seconds: Double = 45) -> [String: Finding]
        {
            let findings = BalancerExamination.findings(
                living: living, silent: silent, target: target, seconds: seconds, pingSeconds: 30, timeoutSeconds: 60)
            return Dictionary(findings.map { ($0.check, $0) }) { first, _ in first }
        }
        let well = IdleProbe.Outcome(end: .open, seconds: 45, pings: 1, hasAnswered: true)
        let open = IdleProbe.Outcome(end: .open, seconds: 45, pings: 1)
        #expect(judge(well, open).values.allSatisfy { $0.level == .ok })
        #expect(judge(open, open)["idle"]?.level == .fail)
        #expect(judge(.init(end: .open, seconds: 45, hasAnswered: true), open)["pings"]?.level == .warn)
        #expect(judge(well, open, seconds: 10)["pings"]?.remedy?.contains("--idle 45") == true)
        #expect(judge(well, open, seconds: 200)["silence"]?.level == .warn)
        #expect(judge(.init(end: .closed(code: 3012, reason: "no pong"), seconds: 9), open)["idle"]?.level == .warn)
        #expect(judge(.init(end: .refused("403 Forbidden")), open)["connect"]?.remedy?.contains("Origin") == true)
        #expect(judge(well, .init(end: .cut, seconds: 10))["silence"]?.level == .ok)
    }

    // MARK: The machine

    @Test func theMachineIsJudgedByWhatTheNodeWants() throws {
        var facts = MachineFacts()
        (facts.softDescriptors, facts.hardDescriptors, facts.mostDescriptors) = (1_024, 4_096, 1_048_576)
        facts.acceptBacklog = 128
        facts.localPorts = 32_768...60_999
        facts.trackedConnections = 10_000
        facts.memoryBytes = 200_000_000
        var node = NodeConfiguration()
        node.gateway.connections = 50_000
        node.gateway.port = 40_000
        func findings() -> [String: Finding] {
            Dictionary(facts.findings(node).map { ($0.check, $0) }) { $0.level == .ok ? $1 : $0 }
        }
        let bad = findings()
        #expect(bad["descriptors"]?.level == .fail && bad["descriptors"]?.remedy?.contains("50100") == true)
        for check in ["backlog", "local-ports", "conntrack", "memory"] {
            #expect(bad[check]?.level == .warn, "\(check)")
        }
        #expect(bad["backlog"]?.remedy == "sysctl net.core.somaxconn=4096")
        node.gateway.connections = 0
        #expect(findings()["descriptors"]?.level == .warn)
        #expect(findings()["local-ports"]?.text.contains("http.port 40000") == true)
        facts.reservedPorts = MachineFacts.ranges("39990-40010,5\n")
        (facts.softDescriptors, facts.acceptBacklog, facts.trackedConnections) = (1_048_576, 4_096, nil)
        #expect(findings().values.allSatisfy { $0.level == .ok }, "\(findings())")
        #expect(MachineFacts.now().softDescriptors ?? 0 > 0)
        #expect(MachineFacts().findings(node).isEmpty, "what can't be read isn't judged")
    }

    @Test func lostNodesAndDifferentVersionsAreSaid() throws {
        let (a, b) = (try #require(NodeID("a")), try #require(NodeID("b")))
        let rows = [
            NodeRow(
                node: a, heartbeatAgeMilliseconds: 100,
                fields: ["version": "1", "state": "ready", "unrecoverable": "2"]),
            NodeRow(node: b, heartbeatAgeMilliseconds: 9_000, fields: ["version": "2", "state": "ready"]),
        ]
        let findings = ClusterExamination.findings(rows, leaseMilliseconds: 5_000)
        #expect(findings.map(\.check) == ["nodes", "versions", "losses"])
        #expect(findings.allSatisfy { $0.level == .warn })
    }

    // MARK: Rights

    @Test(arguments: RedisRights.Shape.allCases) func theRightsAreThoseOfTheDocumentation(
        shape: RedisRights.Shape
    ) throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Docs/redis.md")
        let lines = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").map(String.init)
        #expect(lines.contains(RedisRights.line(prefix: "conduit", shape: shape)))
        #expect(lines.contains(RedisRights.sentinelLine))
    }

    @Test func aPrefixIsNoPattern() {
        #expect(RedisRights.line(prefix: "a*[b]", shape: .single).contains(#"~a\*\[b\]:* resetchannels &a\*\[b\]:* "#))
        #expect(RedisRights.line(prefix: "my-app", shape: .single).contains("~my-app:* "))
    }
}
