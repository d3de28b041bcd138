import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTelemetry

/// The page of `/metrics`.
enum AdminMetrics {
    static func page(_ statistics: AdminStatistics, node: NodeID, readiness: AdminReadiness) -> String {
        var page = PrometheusText()
        page.write(
            MetricName.info,
            [.init(1, [(name: "node", value: node.rawValue), (name: "version", value: ConduitVersion.current)])])
        page.write(MetricName.ready, readiness.httpStatus == 200 ? 1 : 0)
        page.write(MetricName.degraded, readiness.status == "degraded" ? 1 : 0)
        let hub = statistics.hub
        page.write(MetricName.clients, hub.clients)
        page.write(MetricName.users, hub.users)
        page.write(MetricName.rooms, hub.rooms)
        page.write(MetricName.memberships, hub.memberships)
        page.write(MetricName.accepted, hub.accepted)
        page.write(
            MetricName.closed,
            hub.closed.sorted { $0.key < $1.key }.map { .init(Double($0.value), [(name: "code", value: "\($0.key)")]) })
        page.write(MetricName.messagesIn, hub.messagesIn)
        page.write(MetricName.bytesIn, hub.bytesIn)
        page.write(MetricName.deliveries, hub.deliveries)
        page.write(MetricName.bytesOut, hub.bytesOut)
        page.write(MetricName.pendingBytes, hub.pendingBytes)
        page.write(MetricName.dropped, label: "reason", hub.dropped)
        page.write(MetricName.errors, label: "code", hub.errors)
        page.write(MetricName.revocations, hub.revocations)
        page.write(MetricName.revocationsDropped, hub.revocationsDropped)
        page.write(MetricName.localDelivery, hub.localDelivery)
        page.write(MetricName.loopLag, hub.loopLag)
        page.write(MetricName.handshakes, label: "outcome", statistics.handshakes)
        if let cluster = statistics.cluster { write(cluster, to: &page) }
        let process = statistics.process
        page.write(MetricName.processCPU, process.cpuSeconds)
        page.write(MetricName.processMemory, process.residentBytes)
        page.write(MetricName.processDescriptors, process.openDescriptors)
        page.write(MetricName.processMaxDescriptors, process.maxDescriptors)
        return page.text
    }

    private static func write(_ cluster: ClusterStatistics, to page: inout PrometheusText) {
        page.write(MetricName.relayPublished, cluster.relayPublished)
        page.write(MetricName.relayReceived, cluster.relayReceived)
        page.write(MetricName.relayDropped, label: "reason", cluster.relayDropped)
        page.write(MetricName.relayGaps, cluster.relayGaps)
        page.write(MetricName.relayHealed, cluster.healed)
        page.write(MetricName.relayUnrecoverable, cluster.unrecoverable)
        page.write(MetricName.relayExpected, cluster.relayExpected)
        page.write(MetricName.relayArrived, cluster.relayArrived)
        page.write(MetricName.relayEchoed, cluster.relayEchoed)
        page.write(MetricName.relayDuplicates, cluster.relayDuplicates)
        page.write(MetricName.orderedPublished, cluster.orderedPublished)
        page.write(MetricName.orderedReceived, cluster.orderedReceived)
        page.write(MetricName.orderedDuplicates, cluster.orderedDuplicates)
        page.write(MetricName.relayLatency, cluster.relay)
        page.write(MetricName.subscriptions, cluster.subscriptions)
        page.write(MetricName.presenceMembers, cluster.presenceMembers)
        page.write(MetricName.presenceRepaired, cluster.presenceRepaired)
        page.write(MetricName.redisRoundTrip, Double(cluster.redisRoundTripMicroseconds) / 1_000_000)
        page.write(MetricName.redisReconnects, cluster.reconnects)
        page.write(MetricName.outboxBytes, cluster.outboxBytes)
        page.write(MetricName.clusterNodes, cluster.nodes)
    }
}
