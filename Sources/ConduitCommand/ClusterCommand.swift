import ArgumentParser
import ConduitCluster
import ConduitCore
import ConduitRedis

/// `conduit cluster`: the table of nodes, read from Redis alone; no node is asked.
struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Show the nodes of a cluster and their figures, as Redis has them.")

    @OptionGroup var options: ClusterOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        let cluster = try options.load()
        let prefix = cluster.prefix
        let table: ClusterTable
        do {
            table = try await ClusterReader.withServer(in: cluster) { reader in
                let rows = try await reader.nodes()
                // Who is lost has a series still, which tells of the past.
                let present = rows.filter { !$0.fields.isEmpty }.map(\.node)
                let names: Set<String> = ["messages_in", "deliveries"]
                async let series = reader.series(of: present, count: 11, only: names)
                async let busiest = reader.busiest(of: present)
                let samples = try await series
                return ClusterTable(
                    prefix: prefix, rows: rows, rates: samples.compactMapValues { Self.rate($0, "messages_in") },
                    deliveryRates: samples.compactMapValues { Self.rate($0, "deliveries") }, busiest: try await busiest)
            }
        } catch {
            throw CommandExit.unreadable(cluster.redis, error)
        }
        print(json ? table.json : table.text, terminator: "")
    }

    /// How much a counter rises a second between the oldest and the newest of a few samples, the oldest first.
    private static func rate(_ samples: [Sample], _ name: String) -> Double? {
        guard let first = samples.first, let last = samples.last else { return nil }
        return last.rate(of: name, since: first)
    }
}
