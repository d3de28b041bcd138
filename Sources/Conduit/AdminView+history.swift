import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTelemetry

// What the cluster's nodes have written of themselves over time.
extension AdminView {
    func series(_ query: AdminSeriesQuery) async -> AdminSeries {
        // A node alone keeps no series.
        guard configuration.cluster.redis != nil else { return AdminSeries() }
        do {
            return try await ClusterReader.withServer(in: configuration.cluster) { reader in
                // One by its name also when it is gone: its series stays for a day.
                let nodes =
                    if let node = query.node { [node] } else { try await reader.nodes().map(\.node) }
                let samples = try await reader.series(
                    of: nodes, count: query.count(forNodes: nodes.count), only: query.fields)
                return AdminSeries(nodes: nodes.map { ($0, samples[$0] ?? []) })
            }
        } catch {
            return AdminSeries(unreachable: ["redis"])
        }
    }

    func events(before: String?, limit: Int) async -> AdminEvents {
        guard configuration.cluster.redis != nil else { return AdminEvents() }
        do {
            return try await ClusterReader.withServer(in: configuration.cluster) { reader in
                AdminEvents(events: try await reader.events(before: before, limit: limit))
            }
        } catch {
            return AdminEvents(unreachable: ["redis"])
        }
    }

    /// What a node alone says of itself: nobody writes it into Redis.
    func figuresAlone() async -> [String: String] {
        let hub = await hub.statistics()
        let process = ProcessFigures.now()
        return [
            "version": ConduitVersion.current, "state": gateway.readiness.word, "clients": "\(hub.clients)",
            "users": "\(hub.users)", "rooms": "\(hub.rooms)", "messages_in": "\(hub.messagesIn)",
            "deliveries": "\(hub.deliveries)", "bytes_out": "\(hub.bytesOut)",
            "dropped": "\(hub.dropped.values.reduce(0, +))",
            "slow_closed": "\(hub.closed[CloseReason.slowConsumer.code] ?? 0)",
            "local_p99_us": "\(hub.localDelivery.percentile(99))",
            "loop_lag_p99_us": "\(hub.loopLag.percentile(99))", "rss_bytes": "\(process.residentBytes)",
            "fds": "\(process.openDescriptors)", "cpu_ms": "\(Int64(process.cpuSeconds * 1_000))",
        ]
    }
}
