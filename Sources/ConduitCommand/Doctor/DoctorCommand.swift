import ArgumentParser
import Conduit
import ConduitBench
import ConduitCluster
import ConduitRedis
import Foundation

/// `conduit doctor`: looks at everything that a node needs, and says what to change.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look at the configuration, this machine, Redis and the balancer; say what to change.",
        discussion: """
            It takes the flags, variables and file of a node, and is best run where the node runs, as its user. In Redis it \
            tries each command on keys of its own under the prefix, which it removes. With --balancer it waits: a WebSocket \
            through the balancer must live longer than heartbeat.ping-interval. Exit code 1: something has failed.
            """)

    @OptionGroup var options: NodeOptions

    @Option(help: ArgumentHelp("Prefix of the keys in Redis (redis.prefix).", valueName: "prefix"))
    var prefix: String?

    @Option(
        help: ArgumentHelp(
            "A user of Redis that may INFO and CONFIG GET, to see what a node may not.", valueName: "name"))
    var redisAdminUsername: String?

    @Option(help: ArgumentHelp("Its password; else DOCTOR_REDIS_PASSWORD.", valueName: "password"))
    var redisAdminPassword: String?

    @Option(
        help: ArgumentHelp("Try WebSockets through this address, such as wss://chat.example.com/ws.", valueName: "url"))
    var balancer: String?

    @Option(
        help: ArgumentHelp(
            "How long they stay idle, in seconds; else 15 more than heartbeat.ping-interval.", valueName: "seconds"))
    var idle: Double?

    @Option(help: ArgumentHelp("Token for them.", valueName: "token"))
    var token: String?

    @Option(help: ArgumentHelp("Header for them, \"Name: value\"; may be repeated.", valueName: "header"))
    var header: [String] = []

    @Flag(help: "Take any certificate (wss://).")
    var insecure = false

    @Flag(help: "Print JSON.")
    var json = false

    mutating func validate() throws {
        if let balancer, BenchTarget(balancer) == nil {
            throw ValidationError("--balancer takes a URL such as ws://127.0.0.1:8000/ws or wss://host/ws")
        }
        if let idle, !(0.1...86_400).contains(idle) { throw ValidationError("--idle takes 0.1 to 86400 seconds") }
        for text in header where HandshakeRequest.Header(text) == nil {
            throw ValidationError("--header takes \"Name: value\"")
        }
    }

    func run() async throws {
        var report = DoctorReport()
        var node = NodeConfiguration()
        var isRead = true
        do throws(ConfigurationError) {
            let own = prefix.map { [ConfigurationOverride(key: "redis.prefix", value: $0, source: "--prefix")] } ?? []
            node = try NodeConfiguration.load(overrides: options.overrides + own, file: options.config)
            report.add(Self.settings(node))
        } catch {
            isRead = false
            report.add(
                error.problems.map {
                    Finding(
                        "configuration", "settings", .fail, $0.description,
                        remedy: "conduit config prints every setting with what it takes")
                })
        }
        if isRead {
            report.add(MachineFacts.now().findings(node))
            report.add(await PortExamination(configuration: node).findings())
            await examineRedis(node.cluster, &report)
            if let target = balancer.flatMap({ BenchTarget($0) }) { report.add(await examineBalancer(target, node)) }
        } else {
            // The defaults would be looked at, and be in order.
            report.add([
                Finding(
                    "redis", "url", .warn,
                    "not looked at, nor this machine, the ports and a balancer: the settings must be right first")
            ])
        }
        if json {
            print(report.json)
        } else {
            let colours = isatty(STDOUT_FILENO) == 1 && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty
            for line in report.lines() { print(colours ? line.coded(colours: true) : line.plain) }
        }
        if !report.isGood { throw ExitCode(1) }
    }

    private static func settings(_ node: NodeConfiguration) -> [Finding] {
        var findings: [Finding] = []
        if !node.auth.isConfigured {
            findings.append(
                Finding(
                    "configuration", "authentication", .warn, node.openNotice,
                    remedy: "auth.jwt.* or auth.url; auth.open where that is meant"))
        }
        if let notice = node.endlessTokensNotice {
            findings.append(
                Finding("configuration", "tokens", .warn, notice, remedy: "auth.jwt.require-expiry: true"))
        }
        return findings + [Finding("configuration", "settings", .ok, "in order")]
    }

    private func examineRedis(_ cluster: ClusterConfiguration, _ report: inout DoctorReport) async {
        guard !cluster.servers.isEmpty else {
            return report.add([Finding("redis", "url", .ok, "none: the node runs alone (redis.url)")])
        }
        let environment = ProcessInfo.processInfo.environment["DOCTOR_REDIS_PASSWORD"] ?? ""
        let password = redisAdminPassword ?? (environment.isEmpty ? nil : environment)
        let administrator = password.map { RedisExamination.Administrator(username: redisAdminUsername, password: $0) }
        for (index, server) in cluster.servers.enumerated() {
            let examination = RedisExamination(
                configuration: server, prefix: cluster.prefix, area: index == 0 ? "redis" : "redis \(index)",
                administrator: administrator)
            report.add(await examination.findings())
            let line = RedisRights.line(prefix: cluster.prefix, shape: examination.shape)
            if !report.rights.contains(line) { report.rights.append(line) }
            if examination.shape == .sentinel, !report.rights.contains(RedisRights.sentinelLine) {
                report.rights.append(RedisRights.sentinelLine)
            }
        }
        // A Redis that can't be reached has been said.
        if let rows = try? await ClusterReader.withServer(in: cluster, { try await $0.nodes() }) {
            report.add(ClusterExamination.findings(rows, leaseMilliseconds: cluster.leaseMilliseconds))
        }
    }

    private func examineBalancer(_ target: BenchTarget, _ node: NodeConfiguration) async -> [Finding] {
        let seconds = idle ?? Double(node.hub.pingIntervalMilliseconds) / 1_000 + 15
        CommandExit.say("conduit: two WebSockets stay idle for \(seconds) s at \(target)")
        let request = HandshakeRequest(token: token, headers: header.compactMap { HandshakeRequest.Header($0) })
        return await BalancerExamination(
            target: target, request: request, insecure: insecure, seconds: seconds,
            pingSeconds: Double(node.hub.pingIntervalMilliseconds) / 1_000,
            timeoutSeconds: Double(node.hub.idleTimeoutMilliseconds) / 1_000
        ).findings()
    }
}
