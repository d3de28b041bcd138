/// What one loop has counted; the figures of all loops are merged.
package struct LoadFigures: Sendable {
    // Connections that are to last.
    package var opened = 0
    package var ready = 0
    package var failed = 0
    /// Closed by the server, or broken, after they were ready.
    package var lost = 0
    /// Why connections failed or were closed, and how often.
    package var failures = Tally()
    /// `error` events, by code and message.
    package var errors = Tally()
    package var firstOpenedAt = UInt64.max
    package var lastReadyAt: UInt64 = 0

    // Messages, from the first to the last.
    package var sent: UInt64 = 0
    package var received: UInt64 = 0
    package var duplicated: UInt64 = 0
    package var reordered: UInt64 = 0
    /// Deliveries that nobody of this run has sent to this member, or that are no WebSocket.
    package var invalid: UInt64 = 0
    /// Due, but not sent, because the server took no more from this publisher.
    package var held: UInt64 = 0
    /// Closed loop: given up after a while.
    package var timeouts: UInt64 = 0
    package var bytes: UInt64 = 0

    // The same within the measured time.
    package var measuredSent: UInt64 = 0
    package var measuredReceived: UInt64 = 0
    package var measuredBytes: UInt64 = 0

    package var latency = LatencyRecorder()
    /// From another node than the publisher's.
    package var crossNodeLatency = LatencyRecorder()
    package var handshake = LatencyRecorder()
    package var readiness = LatencyRecorder()
    /// How late this loop was: messages after they were due, ticks after they were to happen.
    package var lateness = LatencyRecorder()

    package var churn = ChurnFigures()
    package var crowd = CrowdFigures()
    /// Answers to messages of the whole run; latency of those that were due within the measured time.
    package var acks: UInt64 = 0
    package var ackLatency = LatencyRecorder()

    package init() {}

    package mutating func merge(_ other: LoadFigures) {
        opened += other.opened
        ready += other.ready
        failed += other.failed
        lost += other.lost
        failures.merge(other.failures)
        errors.merge(other.errors)
        firstOpenedAt = min(firstOpenedAt, other.firstOpenedAt)
        lastReadyAt = max(lastReadyAt, other.lastReadyAt)
        sent += other.sent
        received += other.received
        duplicated += other.duplicated
        reordered += other.reordered
        invalid += other.invalid
        held += other.held
        timeouts += other.timeouts
        bytes += other.bytes
        measuredSent += other.measuredSent
        measuredReceived += other.measuredReceived
        measuredBytes += other.measuredBytes
        latency.merge(other.latency)
        crossNodeLatency.merge(other.crossNodeLatency)
        handshake.merge(other.handshake)
        readiness.merge(other.readiness)
        lateness.merge(other.lateness)
        churn.merge(other.churn)
        crowd.merge(other.crowd)
        acks += other.acks
        ackLatency.merge(other.ackLatency)
    }
}

/// Connections that come and go.
package struct ChurnFigures: Sendable {
    package var started: UInt64 = 0
    package var completed: UInt64 = 0
    package var failed: UInt64 = 0
    /// Due, but too many were under way.
    package var skipped: UInt64 = 0
    package var received: UInt64 = 0
    package var handshake = LatencyRecorder()
    package var readiness = LatencyRecorder()

    package init() {}

    package mutating func merge(_ other: ChurnFigures) {
        started += other.started
        completed += other.completed
        failed += other.failed
        skipped += other.skipped
        received += other.received
        handshake.merge(other.handshake)
        readiness.merge(other.readiness)
    }
}

/// How often each of a few texts came.
package struct Tally: Sendable, Hashable {
    /// Texts beyond these are counted together.
    package static let limit = 20
    package static let others = "others"

    package private(set) var counts: [String: Int] = [:]

    package init() {}

    package mutating func add(_ text: String, count: Int = 1) {
        counts[counts[text] != nil || counts.count < Self.limit ? text : Self.others, default: 0] += count
    }

    package mutating func merge(_ other: Tally) {
        for (text, count) in other.counts { add(text, count: count) }
    }

    /// The most frequent first.
    package var sorted: [(text: String, count: Int)] {
        counts.map { (text: $0.key, count: $0.value) }.sorted { ($1.count, $0.text) < ($0.count, $1.text) }
    }
}
