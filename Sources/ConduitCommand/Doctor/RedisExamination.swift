import ConduitCluster
import ConduitCore
import ConduitRedis
import ConduitTelemetry
import NIOCore

/// Looks at one Redis of a configuration, in whatever shape: as a node would use it, and at each server as it is.
struct RedisExamination {
    /// Who may see more than a node: INFO and CONFIG GET.
    struct Administrator: Sendable {
        let username: String?
        let password: String
    }

    let configuration: RedisConfiguration
    let prefix: String
    /// What findings say as their area.
    let area: String
    let administrator: Administrator?

    var shape: RedisRights.Shape {
        switch configuration.topology {
        case .single: .single
        case .sentinel: .sentinel
        case .cluster: .cluster
        }
    }

    func findings() async -> [Finding] {
        var findings: [Finding] = []
        do {
            findings += try await RedisClient.withConnection(configuration) { client in
                let reached = Finding(area, "reach", .ok, "\(configuration) answers")
                return try await [reached] + examine(client)
            }
        } catch {
            return [unreachable(area, "\(configuration)", error)]
        }
        if case .sentinel(let master, let sentinels) = configuration.topology {
            findings += await examineSentinels(master, sentinels)
        }
        return findings + [await listening()]
    }

    private func unreachable(_ area: String, _ name: String, _ error: any Error) -> Finding {
        let remedy: String? =
            switch (error as? RedisError)?.code {
            case .authentication: "redis.username and redis.password (or both in redis.url)"
            case .tls:
                "rediss:// speaks TLS, redis:// doesn't; redis.tls.ca-file names the authority of its certificate"
            case .connectFailed, .timedOut, .connectionLost:
                "is Redis running there, does it listen on that address, and does a firewall let this machine in?"
            default: nil
            }
        return Finding(area, "reach", .fail, "\(name) can't be used: \(error)", remedy: remedy)
    }

    private func examine(_ client: RedisClient) async throws -> [Finding] {
        var findings: [Finding] = []
        if case .cluster = configuration.topology {
            let map = try await ClusterMap(client)
            findings += map.findings(area)
            for master in map.masters {
                var own = configuration
                own.endpoint = master.endpoint
                own.topology = .single
                let area = "\(area) \(master.endpoint)"
                do {
                    findings += try await RedisClient.withConnection(own) { client in
                        try await examineServer(client, own, area, slots: master.slots)
                    }
                } catch {
                    findings.append(unreachable(area, "\(master.endpoint)", error))
                }
            }
        } else {
            findings += try await examineServer(client, configuration, area, slots: nil)
        }
        return findings
    }

    /// `slots`: those of a Cluster's server.
    private func examineServer(
        _ client: RedisClient, _ server: RedisConfiguration, _ area: String, slots: [ClosedRange<Int>]?
    ) async throws -> [Finding] {
        var facts = RedisFacts()
        if let administrator {
            var own = server
            (own.username, own.password) = (administrator.username, administrator.password)
            do {
                facts = try await RedisClient.withConnection(own) { try await RedisFacts.read($0) }
            } catch {
                return [unreachable(area, "\(own)", error)]
            }
        } else {
            facts = try await RedisFacts.read(client)
        }
        return try await facts.findings(area, expectsCluster: slots != nil) + guarded(server, area)
            + latency(client, area) + rights(client, area, slots)
    }

    // MARK: The server as a node feels it

    /// Who reaches Redis reads and forges everything.
    private func guarded(_ server: RedisConfiguration, _ area: String) -> [Finding] {
        guard server.password == nil, case .host(let host, _) = server.endpoint, server.tls?.certificateFile == nil
        else { return [] }
        guard host != "localhost", host != "::1", !host.hasPrefix("127.") else { return [] }
        return [
            Finding(
                area, "password", .warn, "no password: whoever reaches \(host) reads and forges everything",
                remedy: "a user with the least rights below, and redis.username and redis.password")
        ]
    }

    private func latency(_ client: RedisClient, _ area: String) async throws -> [Finding] {
        let clock = ContinuousClock()
        var times: [Double] = []
        var differences: [(Double, Double)] = []
        for _ in 0..<100 {
            let start = clock.now
            let before = Double(WallClock.microseconds)
            let answer = try await client.send("TIME").array ?? []
            let took = start.duration(to: clock.now).components
            let microseconds = Double(took.seconds) * 1e6 + Double(took.attoseconds) / 1e12
            times.append(microseconds)
            guard answer.count == 2, let seconds = answer[0].integer, let rest = answer[1].integer else { continue }
            // Redis has looked at its clock somewhere within the round trip.
            differences.append((microseconds, Double(seconds) * 1e6 + Double(rest) - before - microseconds / 2))
        }
        times.sort()
        let (median, high) = (times[times.count / 2], times[times.count * 99 / 100])
        let text =
            "round trip p50 \(ShortFigure.duration(microseconds: median)), p99 \(ShortFigure.duration(microseconds: high))"
        let level: Finding.Level = high >= 1_000_000 ? .fail : high >= 20_000 ? .warn : .ok
        var findings = [
            Finding(
                area, "latency", level, text,
                remedy: level == .ok
                    ? nil
                    : "Redis in the same place as the nodes; SLOWLOG GET and INFO commandstats say what keeps it busy")
        ]
        if let best = differences.min(by: { $0.0 < $1.0 }) {
            let seconds = best.1 / 1e6
            let size = abs(seconds)
            let text =
                size < 0.001
                ? "the same as this machine's"
                : "\(ShortFigure.duration(microseconds: abs(best.1))) \(seconds > 0 ? "ahead of" : "behind") this machine's"
            // Leases are judged by Redis's clock alone; tokens and the delays of the relay by the nodes'.
            let level: Finding.Level = size >= 30 ? .fail : size >= 1 ? .warn : .ok
            findings.append(
                Finding(
                    area, "clock", level, text,
                    remedy: level == .ok
                        ? nil
                        : "let NTP set both clocks (timedatectl): tokens are judged by a node's, events by Redis's"))
        }
        return findings
    }

    /// Tries each command that a node needs, on keys of its own under the prefix, which it removes.
    private func rights(_ client: RedisClient, _ area: String, _ slots: [ClosedRange<Int>]?) async throws -> [Finding] {
        let trial = RightsTrial(prefix: prefix, shape: shape, slots: slots)
        let outcome = try await trial.run(client)
        let user = configuration.username ?? "default"
        var findings: [Finding] = []
        if !outcome.denied.isEmpty {
            findings.append(
                Finding(
                    area, "rights", .fail,
                    "the user \(user) may not: \(outcome.denied.sorted().joined(separator: ", "))",
                    remedy: RedisRights.line(user: user, prefix: prefix, shape: shape)))
        } else if outcome.failures.isEmpty {
            findings.append(
                Finding(
                    area, "rights", .ok, "the user \(user) may do all that a node needs, under \(prefix):"))
        }
        for (message, names) in outcome.failures.sorted(by: { $0.key < $1.key }).prefix(3) {
            findings.append(Finding(area, "writes", .fail, "\(message) (\(names.joined(separator: ", ")))"))
        }
        return findings
    }

    /// Subscribes to a channel of the prefix and publishes there: the way that every message takes.
    private func listening() async -> Finding {
        let name = "conduit-doctor-" + randomTag()
        guard let room = RoomName(name) else { return Finding(area, "channels", .fail, "no channel") }
        let channel = ClusterKeys(prefix: prefix).channel(.room(room))
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(3)
        do {
            return try await RedisListener.withSubscriptions(configuration, to: [channel]) { listener in
                let watchdog = Task {
                    try? await clock.sleep(until: deadline)
                    listener.stop()
                }
                defer { watchdog.cancel() }
                var sent: ContinuousClock.Instant?
                for await event in listener.events {
                    listener.took(event)
                    switch event {
                    case .subscribed:
                        try await RedisClient.withConnection(configuration) { client in
                            sent = clock.now
                            try await client.send(.string(client.publishWord), .string(channel), "doctor")
                        }
                    case .message:
                        let took = (sent ?? clock.now).duration(to: clock.now).components
                        let microseconds = Double(took.seconds) * 1e6 + Double(took.attoseconds) / 1e12
                        return Finding(
                            area, "channels", .ok,
                            "a message came back after \(ShortFigure.duration(microseconds: microseconds))")
                    case .refused(_, let error), .lost(let error): throw error
                    }
                }
                return Finding(area, "channels", .fail, "a message that was published did not come back within 3 s")
            }
        } catch {
            let isRefused = (error as? RedisError)?.serverPrefix == "NOPERM"
            return Finding(
                area, "channels", .fail, "channels can't be used: \(error)",
                remedy: isRefused ? RedisRights.line(prefix: prefix, shape: shape) : nil)
        }
    }

    private func randomTag() -> String {
        var generator: any RandomNumberGenerator = SystemRandomNumberGenerator()
        return randomText(8, using: &generator)
    }

    // MARK: Sentinels

    private func examineSentinels(_ master: String, _ sentinels: [RedisConfiguration.Endpoint]) async -> [Finding] {
        var findings: [Finding] = []
        var masters: Set<String> = []
        for endpoint in sentinels {
            var own = configuration
            own.endpoint = endpoint
            own.topology = .single
            (own.username, own.password) = (configuration.sentinelUsername, configuration.sentinelPassword)
            let area = "\(area) sentinel \(endpoint)"
            do {
                let words = try await RedisClient.withConnection(own) { client in
                    try await client.send("SENTINEL", "MASTER", .string(master)).array ?? []
                }
                var fields: [String: String] = [:]
                for index in stride(from: 0, to: words.count - 1, by: 2) {
                    if let name = words[index].string { fields[name] = words[index + 1].string }
                }
                let address = "\(fields["ip"] ?? "?"):\(fields["port"] ?? "?")"
                masters.insert(address)
                let others = min(max(0, fields["num-other-sentinels"].flatMap { Int($0) } ?? 0), 1_000_000)
                let quorum = fields["quorum"].flatMap { Int($0) } ?? 0
                let text = "\(master) is at \(address); \(others + 1) Sentinels, quorum \(quorum)"
                let flags = fields["flags"] ?? "master"
                let isDown = flags.contains("down")
                let isFew = others + 1 < 3
                findings.append(
                    Finding(
                        area, "sentinel", isDown ? .fail : isFew ? .warn : .ok,
                        text + (isDown ? "; it takes the master for down (\(flags))" : ""),
                        remedy: isFew ? "three Sentinels at least, on different machines" : nil))
            } catch {
                findings.append(
                    Finding(
                        area, "sentinel", .warn, "can't be asked: \(error)",
                        remedy: "each Sentinel of redis.url must be there; redis.sentinel-username and "
                            + "redis.sentinel-password where they ask for one"))
            }
        }
        if masters.count > 1 {
            findings.append(
                Finding(
                    area, "sentinels", .fail,
                    "they differ about the master: \(masters.sorted().joined(separator: ", "))"))
        }
        return findings
    }
}

/// The masters of a Redis Cluster and their slots, by CLUSTER SLOTS.
private struct ClusterMap {
    struct Master {
        let endpoint: RedisConfiguration.Endpoint
        var slots: [ClosedRange<Int>]
        var replicas: Int
    }

    private(set) var masters: [Master] = []

    init(_ client: RedisClient) async throws {
        for entry in try await client.send("CLUSTER", "SLOTS").array ?? [] {
            guard let parts = entry.array, parts.count >= 3, let first = parts[0].integer, let last = parts[1].integer,
                first >= 0, last < Int64(RedisSlot.count), first <= last,
                let server = parts[2].array, server.count >= 2, let host = server[0].string, !host.isEmpty,
                let port = server[1].integer.flatMap({ Int(exactly: $0) }), (1...65_535).contains(port)
            else { continue }
            let endpoint = RedisConfiguration.Endpoint.host(host, port: port)
            let range = Int(first)...Int(last)
            if let index = masters.firstIndex(where: { $0.endpoint == endpoint }) {
                masters[index].slots.append(range)
            } else {
                masters.append(Master(endpoint: endpoint, slots: [range], replicas: parts.count - 3))
            }
        }
    }

    func findings(_ area: String) -> [Finding] {
        let covered = masters.flatMap(\.slots).reduce(0) { $0 + $1.count }
        let alone = masters.filter { $0.replicas == 0 }.map { "\($0.endpoint)" }
        var findings: [Finding] = []
        if covered < RedisSlot.count {
            findings.append(
                Finding(
                    area, "slots", .fail, "\(RedisSlot.count - covered) of \(RedisSlot.count) slots have no server",
                    remedy: "redis-cli --cluster check, then --cluster fix"))
        } else {
            findings.append(Finding(area, "slots", .ok, "all \(RedisSlot.count) slots, on \(masters.count) masters"))
        }
        if !alone.isEmpty {
            findings.append(
                Finding(
                    area, "replicas", .warn,
                    "no replica: \(alone.joined(separator: ", ")); its rooms stop when it does",
                    remedy: "redis-cli --cluster add-node … --cluster-slave"))
        }
        return findings
    }
}
