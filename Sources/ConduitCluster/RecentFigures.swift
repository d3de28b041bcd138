import ConduitHub
import ConduitTelemetry

/// The distributions that `p:node:<id>` shows percentiles of: of the last minute, since what was an hour ago helps nobody
/// who looks now.
struct RecentFigures {
    private(set) var local = LatencyHistogram()
    private(set) var relay = LatencyHistogram()
    private(set) var loopLag = LatencyHistogram()
    private(set) var handshake = LatencyHistogram()
    private(set) var ping = LatencyHistogram()

    private var windows = Array(repeating: LatencyWindow(), count: 5)

    /// Takes the newest figures, at a time (monotonic, ms).
    mutating func update(_ hub: HubStatistics, _ cluster: ClusterStatistics, now: Int64) {
        local = windows[0].update(hub.localDelivery, now: now)
        relay = windows[1].update(cluster.relay, now: now)
        loopLag = windows[2].update(hub.loopLag, now: now)
        handshake = windows[3].update(hub.handshake, now: now)
        ping = windows[4].update(hub.pingRoundTrip, now: now)
    }
}
