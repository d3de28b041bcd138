import ArgumentParser
import Conduit
import ConduitCluster
import ConduitCore
import ConduitRedis

/// `conduit cluster`: the table of nodes, read from Redis alone; no node is asked.
struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Show the nodes of a cluster and their figures, as Redis has them.")

    @Option(help: ArgumentHelp("Redis of the cluster; else CONDUIT_REDIS_URL.", valueName: "url"))
    var redisURL: String?

    @Option(help: ArgumentHelp("Prefix of its keys; else CONDUIT_REDIS_PREFIX, else conduit.", valueName: "prefix"))
    var prefix: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: ArgumentHelp("Read settings from a node's YAML or JSON file.", valueName: "file"))
    var config: String?

    func run() async throws {
        // The settings of a node, so that what makes one connect makes this connect.
        let named = [("redis.url", redisURL, "--redis-url"), ("redis.prefix", prefix, "--prefix")]
        let overrides = named.compactMap { key, value, flag in
            value.map { ConfigurationOverride(key: key, value: $0, source: flag) }
        }
        let cluster = try NodeOptions.load(overrides: overrides, file: config).cluster
        guard let redis = cluster.redis else {
            throw ValidationError("no Redis is named: give --redis-url or set CONDUIT_REDIS_URL")
        }
        let prefix = cluster.prefix
        let table: ClusterTable
        do {
            table = try await ClusterReader.withServer(in: cluster) { reader in
                let rows = try await reader.nodes()
                var rates: [NodeID: Double] = [:]
                for row in rows {
                    rates[row.node] = Self.rate(try await reader.series(of: row.node, count: 11))
                }
                return ClusterTable(prefix: prefix, rows: rows, rates: rates)
            }
        } catch {
            throw CommandExit.failure(CommandExit.unavailable, ["Redis at \(redis) can't be read: \(error)"])
        }
        print(json ? table.json : table.text, terminator: "")
    }

    /// Messages a second between the oldest and the newest of a few entries of a node's series, the newest first.
    private static func rate(_ entries: [RedisValue]) -> Double? {
        let points = entries.compactMap { entry -> (time: Int64, messages: Int64)? in
            guard let parts = entry.array, parts.count == 2, let words = parts[1].array,
                let time = parts[0].string?.split(separator: "-").first.flatMap({ Int64($0) }),
                let place = words.firstIndex(where: { $0.string == "messages_in" }), place % 2 == 0,
                place + 1 < words.count, let messages = words[place + 1].integer
            else { return nil }
            return (time, messages)
        }
        guard let last = points.first, let first = points.last, last.time > first.time,
            last.messages >= first.messages
        else { return nil }
        return Double(last.messages - first.messages) * 1000 / Double(last.time - first.time)
    }
}
