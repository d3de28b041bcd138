/// How far a run is; one is told every second.
package struct BenchProgress: Sendable {
    package enum Phase: String, Sendable {
        case connecting
        /// Waiting until every member is reached by every node.
        case probing
        case warmup = "warm-up"
        case measuring
        case holding
        /// All come into the room.
        case joining
        case draining
    }

    package var phase: Phase
    /// Seconds since the run began.
    package var elapsed: Double
    package var ready: Int
    package var wanted: Int
    package var failed: Int
    /// In the last second or so.
    package var sentPerSecond: Double
    package var deliveriesPerSecond: Double
    package var latency: LatencySummary?
    /// Connections that have come and gone.
    package var churned: UInt64 = 0

    /// One line for a terminal or a log.
    package var line: String {
        var parts = ["\(Figure.text(elapsed.rounded(), digits: 0)) s", phase.rawValue]
        parts.append("\(Figure.text(ready)) of \(Figure.text(wanted)) connections")
        if failed > 0 { parts.append("\(Figure.text(failed)) failed") }
        if deliveriesPerSecond > 0 || sentPerSecond > 0 {
            parts.append("\(Figure.text(sentPerSecond, digits: 0)) messages/s")
            parts.append("\(Figure.text(deliveriesPerSecond, digits: 0)) deliveries/s")
        }
        if let latency { parts.append("p50 \(Figure.duration(latency.p50)) p99 \(Figure.duration(latency.p99))") }
        return parts.joined(separator: "  ")
    }
}
