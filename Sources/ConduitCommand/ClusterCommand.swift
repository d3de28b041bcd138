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
                // Who is lost has a series still, which tells of the past.
                let present = rows.filter { !$0.fields.isEmpty }.map(\.node)
                let series = try await reader.series(of: present, count: 11, only: ["messages_in"])
                let rates = series.compactMapValues { Self.rate($0) }
                return ClusterTable(prefix: prefix, rows: rows, rates: rates)
            }
        } catch {
            throw CommandExit.failure(CommandExit.unavailable, ["Redis at \(redis) can't be read: \(error)"])
        }
        print(json ? table.json : table.text, terminator: "")
    }

    /// Messages a second from clients between the oldest and the newest of a few samples, the oldest first.
    private static func rate(_ samples: [Sample]) -> Double? {
        guard let first = samples.first, let last = samples.last, last.at > first.at,
            let before = first.figures["messages_in"], let after = last.figures["messages_in"], after >= before
        else { return nil }
        return (after - before) * 1000 / Double(last.at - first.at)
    }
}
