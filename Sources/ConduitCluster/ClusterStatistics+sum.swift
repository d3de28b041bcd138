import ConduitTelemetry

extension ClusterStatus {
    /// The worst of what the bridges of a node say: one that is away is what its operator must hear of.
    static func worst(of all: [ClusterStatus]) -> ClusterStatus {
        var worst: ClusterStatus?
        for status in all {
            switch (worst, status) {
            case (.degraded(let since)?, .degraded(let other)): worst = .degraded(since: min(since, other))
            case (.degraded?, _): break
            case (_, .degraded), (.connected?, .connecting), (.alone?, _), (nil, _): worst = status
            case (.connecting?, _), (.connected?, _): break
            }
        }
        return worst ?? .alone
    }
}

extension ClusterStatistics {
    /// What the bridges of one node have counted, together.
    static func sum(_ all: [ClusterStatistics]) -> ClusterStatistics {
        guard var sum = all.first else { return ClusterStatistics() }
        for other in all.dropFirst() { sum.add(other) }
        sum.status = .worst(of: all.map(\.status))
        return sum
    }

    private mutating func add(_ other: ClusterStatistics) {
        relayPublished &+= other.relayPublished
        relayReceived &+= other.relayReceived
        relayDropped.merge(other.relayDropped) { $0 &+ $1 }
        relayExpected &+= other.relayExpected
        relayArrived &+= other.relayArrived
        relayEchoed &+= other.relayEchoed
        relayGaps &+= other.relayGaps
        relayDuplicates &+= other.relayDuplicates
        healed &+= other.healed
        unrecoverable &+= other.unrecoverable
        channelsMoved &+= other.channelsMoved
        orderedPublished &+= other.orderedPublished
        orderedReceived &+= other.orderedReceived
        orderedDuplicates &+= other.orderedDuplicates
        subscriptions += other.subscriptions
        presenceMembers += other.presenceMembers
        presenceRepaired &+= other.presenceRepaired
        redisRoundTripMicroseconds = max(redisRoundTripMicroseconds, other.redisRoundTripMicroseconds)
        redisRoundTrip.merge(other.redisRoundTrip)
        heartbeatsRefused.merge(other.heartbeatsRefused) { $0 &+ $1 }
        eventsDropped.merge(other.eventsDropped) { $0 &+ $1 }
        reconnects &+= other.reconnects
        outboxBytes += other.outboxBytes
        // Nodes that are seen on every server.
        nodes = min(nodes, other.nodes)
        relay.merge(other.relay)
        surveys.add(other.surveys)
    }
}
