import ConduitCluster
import ConduitRedis

/// What one Redis server tells of itself.
package struct RedisFacts: Sendable, Hashable {
    /// The fields of INFO; `nil` where the user may not ask.
    package var info: [String: String]?
    /// Some fields of CONFIG GET; `nil` where the user may not ask.
    package var settings: [String: String]?

    package init(info: [String: String]? = nil, settings: [String: String]? = nil) {
        self.info = info
        self.settings = settings
    }

    /// Asks for what may be asked for.
    static func read(_ client: RedisClient) async throws -> RedisFacts {
        var facts = RedisFacts()
        if let text = try await allowed({ try await client.send("INFO") })?.string { facts.info = fields(ofInfo: text) }
        // One by one: Redis before 7 takes one name only.
        for name in ["maxclients", "timeout", "client-output-buffer-limit"] {
            guard let words = try await allowed({ try await client.send("CONFIG", "GET", .string(name)) })?.array
            else { break }
            var settings = facts.settings ?? [:]
            if words.count >= 2, let value = words[1].string { settings[name] = value }
            facts.settings = settings
        }
        return facts
    }

    /// `nil` for what Redis refuses or doesn't know, as hosted ones do.
    private static func allowed(_ ask: () async throws -> RedisValue) async throws -> RedisValue? {
        do {
            return try await ask()
        } catch let error as RedisError where error.code == .server && !error.isPassing {
            return nil
        }
    }

    /// `name:value`, a line each.
    package static func fields(ofInfo text: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[String(line[..<colon])] = String(line[line.index(after: colon)...])
        }
        return fields
    }

    // MARK: What that means

    /// Redis's own default: 32 MB at once, 8 MB for a minute.
    private static let usualBufferLimit: UInt64 = 32 << 20

    /// `area`: which server it is. `expectsCluster`: the URL is one of a Cluster.
    package func findings(_ area: String, expectsCluster: Bool) -> [Finding] {
        var findings: [Finding] = []
        if let info {
            findings += version(area, info, expectsCluster) + role(area, info) + eviction(area, info)
            findings += persistence(area, info)
        }
        if let settings { findings += buffers(area, settings) + clients(area, settings) + timeout(area, settings) }
        let unseen = (info == nil ? ["INFO"] : []) + (settings == nil ? ["CONFIG GET"] : [])
        if !unseen.isEmpty {
            findings.append(
                Finding(
                    area, "unseen", .warn,
                    "the user may not \(unseen.joined(separator: " and ")): "
                        + (info == nil ? "version, role, eviction policy, " : "")
                        + (settings == nil ? "buffer limits, maxclients, timeout " : "") + "were not looked at",
                    remedy: "run the doctor once with --redis-admin-username and --redis-admin-password, or set up a "
                        + "node's least rights below and look yourself"))
        }
        return findings
    }

    private func version(_ area: String, _ info: [String: String], _ expectsCluster: Bool) -> [Finding] {
        let valkey = info["valkey_version"]
        let text = info["redis_version"] ?? "unknown"
        let parts = text.split(separator: ".").compactMap { Int($0) }.map { min(max(0, $0), 1_000_000) }
        let number = (parts.first ?? 0) * 100 + (parts.count > 1 ? parts[1] : 0)
        let name = valkey.map { "Valkey \($0), as Redis \(text)" } ?? "Redis \(text)"
        var findings: [Finding] = []
        let least = expectsCluster ? 700 : 602
        if number < least {
            findings.append(
                Finding(
                    area, "version", .fail,
                    "\(name): "
                        + (expectsCluster
                            ? "sharded channels need 7.0" : "the logs of ordered rooms need 6.2 (XTRIM MINID)"),
                    remedy: "Redis 7 or Valkey"))
        } else {
            findings.append(Finding(area, "version", .ok, name))
        }
        if !expectsCluster, info["redis_mode"] == "cluster" || info["cluster_enabled"] == "1" {
            findings.append(
                Finding(
                    area, "shape", .fail,
                    "this server is part of a Redis Cluster, and the URL is one of a single server",
                    remedy: "redis.url: redis+cluster://… (or rediss+cluster://…)"))
        }
        return findings
    }

    private func role(_ area: String, _ info: [String: String]) -> [Finding] {
        guard let role = info["role"] else { return [] }
        guard role == "master" else {
            return [
                Finding(
                    area, "role", .fail,
                    "this server is a replica (of \(info["master_host"] ?? "?")): it takes no writes",
                    remedy: "name the master, or let Sentinels name it: redis+sentinel://…/name")
            ]
        }
        let replicas = info["connected_slaves"] ?? "0"
        return [Finding(area, "role", .ok, "master, \(replicas) replica\(replicas == "1" ? "" : "s")")]
    }

    private func eviction(_ area: String, _ info: [String: String]) -> [Finding] {
        guard let policy = info["maxmemory_policy"], let most = info["maxmemory"].flatMap({ UInt64($0) }) else {
            return []
        }
        let used = info["used_memory"].flatMap { UInt64($0) } ?? 0
        var findings: [Finding] = []
        let limit = most == 0 ? "no maxmemory" : "maxmemory \(ShortFigure.bytes(Double(most)))"
        if policy == "noeviction" {
            findings.append(Finding(area, "eviction", .ok, "noeviction, \(limit)"))
        } else {
            findings.append(
                Finding(
                    area, "eviction", most == 0 ? .warn : .fail,
                    "\(policy), \(limit): "
                        + (most == 0
                            ? "harmless until a maxmemory is set"
                            : "Redis throws rosters, leases and the logs of ordered rooms away when memory runs short"),
                    remedy: "CONFIG SET maxmemory-policy noeviction, and in redis.conf"))
        }
        let evicted = info["evicted_keys"].flatMap { UInt64($0) } ?? 0
        if evicted > 0 {
            findings.append(
                Finding(area, "evicted", .warn, "\(evicted) keys have been thrown away since Redis started"))
        }
        if most > 0, used > most / 5 * 4 {
            let percent = Int(min(Double(used) / Double(most), 1_000) * 100)
            findings.append(
                Finding(
                    area, "memory", percent >= 95 ? .fail : .warn,
                    "\(percent) % of maxmemory is used: writes are refused at 100 %",
                    remedy: "a higher maxmemory, shorter logs (rooms.*.history-size, history-age), or more servers"))
        }
        return findings
    }

    /// Nothing must survive a restart, but a snapshot that fails makes Redis refuse writes.
    private func persistence(_ area: String, _ info: [String: String]) -> [Finding] {
        guard info["rdb_last_bgsave_status"] == "err" || info["aof_last_write_status"] == "err" else { return [] }
        return [
            Finding(
                area, "persistence", .fail,
                "the last snapshot or the append-only file failed: Redis refuses writes (MISCONF)",
                remedy: "free its disk, or switch persistence off, which nodes don't need: CONFIG SET save \"\"")
        ]
    }

    private func buffers(_ area: String, _ settings: [String: String]) -> [Finding] {
        let words = (settings["client-output-buffer-limit"] ?? "").split(separator: " ")
        guard let place = words.firstIndex(of: "pubsub"), place + 3 < words.count,
            let hard = UInt64(words[place + 1]), let soft = UInt64(words[place + 2]),
            let seconds = UInt64(words[place + 3])
        else { return [] }
        let text =
            hard == 0 && soft == 0
            ? "no limit"
            : "\(ShortFigure.bytes(Double(hard))) at once, \(ShortFigure.bytes(Double(soft))) for \(seconds) s"
        let remedy = "CONFIG SET client-output-buffer-limit \"pubsub 67108864 33554432 60\", and in redis.conf"
        if hard > 0 && hard < Self.usualBufferLimit || soft > 0 && soft < Self.usualBufferLimit / 4 {
            return [
                Finding(
                    area, "pubsub-buffer", .warn, text + ": a node that is slow for a moment is cut off", remedy: remedy
                )
            ]
        }
        guard hard > 0 else {
            return [
                Finding(
                    area, "pubsub-buffer", .warn, text + ": a node that hangs takes all of Redis's memory",
                    remedy: remedy)
            ]
        }
        return [Finding(area, "pubsub-buffer", .ok, text)]
    }

    private func clients(_ area: String, _ settings: [String: String]) -> [Finding] {
        guard let most = settings["maxclients"].flatMap({ UInt64($0) }) else { return [] }
        let now = info?["connected_clients"].flatMap { UInt64($0) }
        let text = "maxclients \(most)" + (now.map { ", \($0) are connected" } ?? "") + "; each node takes two"
        let rejected = info?["rejected_connections"].flatMap { UInt64($0) } ?? 0
        guard (now ?? 0) <= most / 5 * 4, most >= 64 else {
            return [
                Finding(
                    area, "maxclients", .warn, text,
                    remedy: "CONFIG SET maxclients 10000 (its open files must allow it)")
            ]
        }
        return rejected > 0
            ? [Finding(area, "maxclients", .warn, text + "; \(rejected) connections were turned away since it started")]
            : [Finding(area, "maxclients", .ok, text)]
    }

    /// A node's connections for commands are used each second; its subscriptions are exempt.
    private func timeout(_ area: String, _ settings: [String: String]) -> [Finding] {
        guard let seconds = settings["timeout"].flatMap({ UInt64($0) }), seconds > 0 else { return [] }
        guard seconds < 30 else {
            return [
                Finding(area, "timeout", .ok, "idle clients are cut after \(seconds) s; nodes are never idle so long")
            ]
        }
        return [
            Finding(
                area, "timeout", .warn,
                "idle clients are cut after \(seconds) s: a node that pauses must connect again",
                remedy: "CONFIG SET timeout 0")
        ]
    }
}
