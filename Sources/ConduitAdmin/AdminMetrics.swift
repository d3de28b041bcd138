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
        page.write(MetricName.draining, readiness.status == "draining" ? 1 : 0)
        let hub = statistics.hub
        page.write(MetricName.shed, label: "reason", hub.shed)
        page.write(MetricName.rebalanceHalts, statistics.rebalance.halts)
        page.write(MetricName.rebalanceHalted, statistics.rebalance.isHalted ? 1 : 0)
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
        page.write(MetricName.deflated, hub.deflated)
        page.write(
            MetricName.deflatedBytes, label: "when", ["before": hub.deflatedFrom, "after": hub.deflatedTo])
        page.write(MetricName.inflated, hub.inflated)
        page.write(
            MetricName.inflatedBytes, label: "when", ["before": hub.inflatedFrom, "after": hub.inflatedTo])
        page.write(MetricName.inflationRefused, label: "reason", hub.inflationRefused)
        page.write(MetricName.pendingBytes, hub.pendingBytes)
        page.write(MetricName.largestPendingBytes, hub.largestPendingBytes)
        page.write(MetricName.stalledClients, hub.stalledClients)
        page.write(MetricName.slowClosed, label: "reason", hub.slowClosed)
        page.write(MetricName.dropped, label: "reason", hub.dropped)
        page.write(MetricName.errors, label: "code", hub.errors)
        page.write(MetricName.traces, label: "result", ["traced": hub.traced, "refused": hub.tracesRefused])
        page.write(MetricName.limitsExceeded, label: "limit", hub.limits)
        page.write(MetricName.revocations, hub.revocations)
        page.write(MetricName.revocationsDropped, hub.revocationsDropped)
        page.write(MetricName.localDelivery, hub.localDelivery)
        page.write(MetricName.pingRoundTrip, hub.pingRoundTrip)
        page.write(MetricName.loopLag, hub.loopLag)
        write(hub.namespaces, to: &page)
        page.write(MetricName.handshakeDuration, hub.handshake)
        if let auth = statistics.auth { write(auth, to: &page) }
        write(statistics.door, to: &page)
        if let cluster = statistics.cluster { write(cluster, to: &page) }
        if let configuration = statistics.configuration {
            page.write(MetricName.configurationReloads, label: "result", configuration.reloads)
            page.write(MetricName.configurationReadTime, configuration.reloadedAt)
        }
        let process = statistics.process
        page.write(MetricName.processCPU, process.cpuSeconds)
        page.write(MetricName.processMemory, process.residentBytes)
        page.write(MetricName.processDescriptors, process.openDescriptors)
        page.write(MetricName.processMaxDescriptors, process.maxDescriptors)
        if process.startedAt > 0 { page.write(MetricName.processStart, process.startedAt) }
        return page.text
    }

    private static func write(_ namespaces: [String: RoomTraffic.Namespace], to page: inout PrometheusText) {
        let sorted = namespaces.sorted { $0.key < $1.key }
        func write(_ metric: Metric, _ value: (RoomTraffic.Namespace) -> Double) {
            page.write(metric, sorted.map { .init(value($0.value), [(name: "namespace", value: $0.key)]) })
        }
        write(MetricName.namespaceRooms) { Double($0.rooms) }
        write(MetricName.namespaceMembers) { Double($0.members) }
        write(MetricName.namespaceMessages) { Double($0.published) }
        write(MetricName.namespaceDeliveries) { Double($0.deliveries) }
    }

    private static func write(_ auth: AuthStatistics, to page: inout PrometheusText) {
        page.write(MetricName.authentications, label: "result", auth.results)
        page.write(MetricName.keySetReadings, label: "result", auth.keySetReadings)
        if let keys = auth.keySetKeys { page.write(MetricName.keySetKeys, keys) }
        if let time = auth.keySetReadAt { page.write(MetricName.keySetReadTime, Double(time) / 1000) }
        guard let breaker = auth.breaker else { return }
        page.write(MetricName.authHookQuestions, label: "result", auth.hookResults)
        page.write(MetricName.authHookLatency, auth.hookLatency)
        page.write(MetricName.authHookBreaker, breaker.rawValue)
    }

    private static func write(_ door: AdminDoor, to page: inout PrometheusText) {
        page.write(MetricName.handshakes, label: "outcome", door.handshakes)
        page.write(MetricName.connectionsRefused, label: "limit", door.refused)
        page.write(MetricName.unfinishedHandshakes, door.unfinished)
        if let notAfter = door.certificateNotAfter {
            page.write(MetricName.certificateExpiry, notAfter)
            page.write(MetricName.certificateReloads, label: "result", door.certificateReloads)
        }
        if door.memoryLimit > 0 { page.write(MetricName.memoryLimit, door.memoryLimit) }
        page.write(MetricName.memoryOver, door.isMemoryOver ? 1 : 0)
    }

    private static func write(_ cluster: ClusterStatistics, to page: inout PrometheusText) {
        page.write(MetricName.relayPublished, cluster.relayPublished)
        page.write(MetricName.relayReceived, cluster.relayReceived)
        let never = Dictionary(uniqueKeysWithValues: RelayDrop.all.map { ($0, UInt64(0)) })
        page.write(MetricName.relayDropped, label: "reason", never.merging(cluster.relayDropped) { $1 })
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
        page.write(MetricName.redisRoundTrip, cluster.redisRoundTrip)
        page.write(MetricName.redisLastRoundTrip, Double(cluster.redisRoundTripMicroseconds) / 1_000_000)
        let taken = Dictionary(uniqueKeysWithValues: HeartbeatRefusal.all.map { ($0, UInt64(0)) })
        page.write(
            MetricName.heartbeatsRefused, label: "reason", taken.merging(cluster.heartbeatsRefused) { $1 })
        page.write(MetricName.eventsDropped, label: "event", cluster.eventsDropped)
        page.write(MetricName.redisReconnects, cluster.reconnects)
        page.write(MetricName.outboxBytes, cluster.outboxBytes)
        page.write(MetricName.clusterNodes, cluster.nodes)
        page.write(MetricName.surveyQuestions, label: "outcome", cluster.surveys.questions)
        page.write(MetricName.surveyDuration, cluster.surveys.duration)
        page.write(MetricName.surveyAnswers, label: "result", cluster.surveys.answers)
        page.write(MetricName.surveyQuestionsReceived, label: "result", cluster.surveys.questionsReceived)
    }
}
