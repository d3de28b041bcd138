import ConduitCluster
import ConduitTelemetry

/// Below: the busiest rooms and, beside them, what happened last; and the keys.
extension TopFrame {
    /// The busiest rooms and, beside them, what happened last.
    func foot(rows: Int) -> [StyledLine] {
        let isWide = width >= 70
        let half = isWide ? (width - 2) / 2 : width
        let rooms = roomLines(min(rows, reading.busiest.count + 1), half)
        let events = isWide ? eventLines(min(rows, reading.events.count + 1), width - half - 2) : []
        guard reading.busiest.count + reading.events.count > 0 else { return [] }
        return (0..<max(rooms.count, events.count)).map { index in
            var line = index < rooms.count ? rooms[index] : StyledLine()
            guard index < events.count else { return line }
            line.fill(to: half + 2)
            for piece in events[index].pieces { line.add(piece.text, piece.style) }
            return line
        }
    }

    private func roomLines(_ count: Int, _ width: Int) -> [StyledLine] {
        let name = max(4, width - 15)
        var lines = [
            StyledLine(
                Columns.fit(Columns.pad("BUSIEST ROOMS", name) + "  MSG/S  NODES", width), .dim)
        ]
        for room in reading.busiest.prefix(max(0, count - 1)) {
            let text =
                Columns.pad(room.room.isEmpty ? "\"\"" : room.room, name)
                + Columns.pad(ShortFigure.number(room.messagesPerSecond), 7, right: true)
                + Columns.pad(String(room.nodes), 7, right: true)
            lines.append(StyledLine(Columns.fit(text, width)))
        }
        return lines
    }

    private func eventLines(_ count: Int, _ width: Int) -> [StyledLine] {
        var lines = [StyledLine(Columns.fit("EVENTS", width), .dim)]
        for event in reading.events.prefix(max(0, count - 1)) {
            let time = String(WallClock.rfc3339(milliseconds: event.at).dropFirst(11).prefix(8))
            let rest = event.fields.map(\.1).joined(separator: " ")
            lines.append(StyledLine(Columns.fit("\(time) \(event.event) \(event.node) \(rest)", width)))
        }
        return lines
    }

    func keys(_ choice: TopChoice, _ message: String?, shown: Int) -> StyledLine {
        if let message { return StyledLine(Columns.pad(message, width), .red) }
        var line = StyledLine()
        let milliseconds =
            Double(reading.took.components.seconds) * 1_000_000
            + Double(reading.took.components.attoseconds) / 1e12
        let place =
            shown < reading.rows.count && shown > 0
            ? "\(choice.first + 1)-\(choice.first + shown) of \(reading.rows.count)  " : ""
        let right =
            choice.isPaused ? place + "PAUSED" : place + "read in " + ShortFigure.duration(microseconds: milliseconds)
        for text in ["q quit", "?  help", "<> sort", "i reverse", "p pause", "r rooms", "arrows scroll"] {
            guard line.width + text.utf8.count + 2 + right.utf8.count <= width else { break }
            line.add(text + "  ", .dim)
        }
        if line.width + right.utf8.count <= width {
            line.fill(to: width - right.utf8.count)
            line.add(right, choice.isPaused ? .yellow : .dim)
        }
        return line
    }

    var help: [StyledLine] {
        let text = """
            conduit top: a cluster as Redis shows it. No node is asked.

            q, Ctrl-C    quit                 p    pause
            < >          sort by another      i    the other way round
            n c m d l    sort by node, clients, messages, deliveries, local p99
            arrows, PgUp, PgDn, Home, End     scroll the nodes
            r            rooms and events     ?    this page

            CLIENTS ROOMS  on this node; a room counts on each node that has members
            MSG/S   DLV/S  messages from clients, and to clients, over 10 seconds
            LOCAL   RELAY  99th percentile of delivery here, and from other nodes
            REDIS   LAG    round trip of a heartbeat; how late timers fire (p99)
            CPU     MEM    100% is one core; resident memory
            BEAT           since the last heartbeat; red nodes are lost

            Above, percentiles and round trips are those of the worst node.
            """
        return text.split(separator: "\n", omittingEmptySubsequences: false).map {
            StyledLine(Columns.fit(String($0), width))
        }
    }
}
