package import ConduitCluster
import ConduitCore
import ConduitTelemetry

/// What was read for one picture of a cluster.
package struct TopReading: Sendable {
    package var prefix = "conduit"
    package var rows: [NodeRow] = []
    package var history = TopHistory()
    package var busiest: [BusyRoomRow] = []
    package var events: [ClusterEvent] = []
    /// When, in milliseconds since 1970.
    package var at: Int64 = 0
    /// How long it took.
    package var took = Duration.zero

    package init() {}

    /// Reads everything, in three round trips.
    package static func read(
        _ reader: ClusterReader, prefix: String, _ history: TopHistory, samples: Int
    ) async throws -> TopReading {
        let clock = ContinuousClock()
        let start = clock.now
        var reading = TopReading()
        reading.prefix = prefix
        reading.rows = try await reader.nodes()
        let present = reading.rows.filter { !$0.fields.isEmpty }.map(\.node)
        async let series = reader.series(of: present, count: samples, only: TopHistory.names)
        async let busiest = reader.busiest(of: present)
        async let events = reader.events(before: nil, limit: 20)
        reading.history = history
        reading.history.take(try await series, reading.rows)
        reading.busiest = try await busiest
        reading.events = try await events
        reading.at = WallClock.milliseconds
        reading.took = clock.now - start
        return reading
    }
}
