package import ConduitCluster
package import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// What `conduit cluster` prints: a row a node and their sums, as a table for people or JSON for programs.
package struct ClusterTable: Sendable {
    private let prefix: String
    private let rows: [NodeRow]
    /// Messages a second from clients, where a node's series tells.
    private let rates: [NodeID: Double]
    /// Messages a second to clients, likewise.
    private let deliveryRates: [NodeID: Double]
    private let busiest: [BusyRoomRow]
    /// Rooms in JSON; a table has none.
    private static let mostRooms = 20

    package init(
        prefix: String, rows: [NodeRow], rates: [NodeID: Double], deliveryRates: [NodeID: Double] = [:],
        busiest: [BusyRoomRow] = []
    ) {
        self.deliveryRates = deliveryRates.filter(\.value.isFinite)
        self.busiest = busiest.filter(\.messagesPerSecond.isFinite)
        self.prefix = prefix
        self.rows = rows
        self.rates = rates.filter(\.value.isFinite)
    }

    /// What stands in the JSON of a node beside the fields of its hash.
    private static let ownNames: Set<String> = [
        "id", "heartbeat_age_ms", "state", "messages_in_per_second", "deliveries_per_second",
    ]

    private static let columns = [
        "NODE", "STATE", "VERSION", "CLIENTS", "ROOMS", "MSGS/S", "DELIVERIES", "RELAY P99", "RTT", "HEARTBEAT",
    ]

    /// Columns are padded to their widest cell; figures stand on the right.
    package var text: String {
        guard !rows.isEmpty else { return "No node of the cluster \"\(prefix)\" is known to this Redis.\n" }
        var lines = [Self.columns] + rows.map(cells)
        let count = "\(rows.count) node\(rows.count == 1 ? "" : "s")"
        lines.append([
            count, "", "", Self.text(sum("clients")), "", Self.rate(rows.compactMap { rates[$0.node] }),
            Self.text(sum("deliveries")), "", "", "",
        ])
        let widths = Self.columns.indices.map { column in lines.map { Columns.width($0[column]) }.max() ?? 0 }
        return lines.map { line in
            let padded = line.indices.map { Columns.pad(line[$0], widths[$0], right: $0 >= 3) }
            return StyledLine(padded.joined(separator: "  ")).plain
        }.joined(separator: "\n") + "\n"
    }

    /// `{"prefix","nodes":[{"id","heartbeat_age_ms","state",…}],"totals":{…},"busiest":[…]}`; the fields of redis.md, numbers as such.
    package var json: String {
        var buffer = ByteBuffer()
        buffer.writeStaticString("{\"prefix\":")
        buffer.writeJSONString(prefix)
        buffer.writeStaticString(",\"nodes\":[")
        for (index, row) in rows.enumerated() {
            buffer.writeStaticString(index > 0 ? ",{\"id\":" : "{\"id\":")
            buffer.writeJSONString(row.node.rawValue)
            buffer.writeString(",\"heartbeat_age_ms\":\(row.heartbeatAgeMilliseconds),\"state\":")
            buffer.writeJSONString(row.state)
            if let rate = rates[row.node] { buffer.writeString(",\"messages_in_per_second\":\(rate)") }
            if let rate = deliveryRates[row.node] { buffer.writeString(",\"deliveries_per_second\":\(rate)") }
            for (name, value) in row.fields.sorted(by: { $0.key < $1.key })
            where !Self.ownNames.contains(name) {
                buffer.writeStaticString(",")
                buffer.writeJSONString(name)
                buffer.writeStaticString(":")
                buffer.writeJSONFigure(value)
            }
            buffer.writeStaticString("}")
        }
        buffer.writeString("],\"totals\":{\"nodes\":\(rows.count)")
        for name in ["clients", "messages_in", "deliveries", "bytes_out", "dropped", "relay_published", "relay_gaps"] {
            buffer.writeString(",\"\(name)\":\(sum(name))")
        }
        for (name, rates) in [("messages_in_per_second", rates), ("deliveries_per_second", deliveryRates)] {
            buffer.writeString(",\"\(name)\":\(Self.sum(rates.values))")
        }
        buffer.writeStaticString("},\"busiest\":[")
        for (index, room) in busiest.prefix(Self.mostRooms).enumerated() {
            buffer.writeStaticString(index > 0 ? ",{\"room\":" : "{\"room\":")
            buffer.writeJSONString(room.room)
            buffer.writeString(",\"messages_per_second\":\(room.messagesPerSecond),\"nodes\":\(room.nodes)}")
        }
        buffer.writeStaticString("]}")
        // A terminal may be what reads it; the escapes are JSON's own.
        return PrintableText.escaped(String(buffer: buffer)) + "\n"
    }

    private func sum(_ name: String) -> Int64 {
        rows.reduce(0) { sum, row in
            let (result, overflow) = sum.addingReportingOverflow(row.number(name) ?? 0)
            return overflow ? .max : result
        }
    }

    /// JSON has no word for what is more than the largest number.
    private static func sum(_ rates: some Sequence<Double>) -> Double {
        min(rates.reduce(0, +), .greatestFiniteMagnitude)
    }

    private func cells(_ row: NodeRow) -> [String] {
        [
            row.node.rawValue, Columns.fit(row.state, 40), Columns.fit(row.fields["version"] ?? "-", 40),
            Self.text(row.number("clients")), Self.text(row.number("rooms")),
            Self.rate(rates[row.node].map { [$0] } ?? []), Self.text(row.number("deliveries")),
            Self.duration(row.number("relay_p99_us")), Self.duration(row.number("redis_rtt_us")),
            ShortFigure.duration(microseconds: Double(row.heartbeatAgeMilliseconds) * 1000),
        ]
    }

    private static func rate(_ rates: [Double]) -> String {
        guard !rates.isEmpty else { return "-" }
        let tenths = (rates.reduce(0, +) * 10).rounded()
        return tenths < 1e15 ? "\(tenths / 10)" : "-"
    }

    private static func text(_ number: Int64?) -> String { number.map(String.init) ?? "-" }

    private static func duration(_ microseconds: Int64?) -> String {
        ShortFigure.duration(microseconds: microseconds.map(Double.init))
    }
}
