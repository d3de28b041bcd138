package import ConduitCluster
import ConduitCore
import ConduitTelemetry
import ConduitWire

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

/// How somebody wants to see it.
package struct TopChoice: Sendable, Hashable {
    package enum Column: String, Sendable, CaseIterable {
        case node, state, clients, messages, deliveries, local, relay, rtt, cpu, memory, rooms, lag, age, version, trend

        var title: String {
            switch self {
            case .node: "NODE"
            case .state: "STATE"
            case .clients: "CLIENTS"
            case .messages: "MSG/S"
            case .deliveries: "DLV/S"
            case .local: "LOCAL"
            case .relay: "RELAY"
            case .rtt: "REDIS"
            case .cpu: "CPU"
            case .memory: "MEM"
            case .rooms: "ROOMS"
            case .lag: "LAG"
            case .age: "BEAT"
            case .version: "VERSION"
            case .trend: "MESSAGES"
            }
        }

        var width: Int {
            switch self {
            case .node: 13
            case .state, .memory, .rooms, .age: 5
            case .clients: 7
            case .messages, .deliveries, .local, .relay, .rtt, .lag: 6
            case .cpu: 5
            case .version: 9
            case .trend: 12
            }
        }

        var isText: Bool { self == .node || self == .state || self == .version || self == .trend }
        /// In this order they give way where there is no room for all.
        static let byImportance: [Column] = [
            .node, .state, .clients, .messages, .deliveries, .local, .relay, .rtt, .cpu, .memory, .rooms, .trend, .age,
            .lag, .version,
        ]
        /// In this order they stand.
        static let byPlace: [Column] = [
            .node, .state, .clients, .rooms, .messages, .deliveries, .local, .relay, .rtt, .lag, .cpu, .memory, .age,
            .version, .trend,
        ]
    }

    package var sort = Column.node
    package var isReversed = false
    /// The first node that is shown, from 0.
    package var first = 0
    package var isPaused = false
    package var showsRooms = true
    package var showsHelp = false

    package init() {}
}

/// Draws a reading: lines of at most so many columns. A value without a terminal.
package struct TopFrame: Sendable {
    private let reading: TopReading
    private let width: Int

    package init(_ reading: TopReading, width: Int) {
        self.reading = reading
        self.width = max(20, width)
    }

    /// Everything, one line a node, for a file or a pipe.
    package func whole(_ choice: TopChoice = TopChoice()) -> [StyledLine] {
        var lines = head() + [StyledLine()]
        guard !reading.rows.isEmpty else { return head() + [StyledLine(), nobody] }
        let columns = columns()
        lines.append(titles(columns, choice))
        lines += sorted(choice).map { line($0, columns) }
        let rooms = foot(rows: 8)
        if !rooms.isEmpty { lines += [StyledLine()] + rooms }
        return lines
    }

    /// Exactly `height` lines at most; `message` says what is wrong at the moment. Corrects where the list begins.
    package func screen(height: Int, _ choice: inout TopChoice, message: String? = nil) -> [StyledLine] {
        if choice.showsHelp { return Array(help.prefix(height)) }
        var lines = head()
        // On a very low terminal the nodes matter most.
        if height < 14 { lines = Array(lines.prefix(1)) }
        guard !reading.rows.isEmpty else {
            return fill(lines + [StyledLine(), nobody], keys(choice, message, shown: 0), height)
        }
        let wanted = choice.showsRooms && height >= 18 ? min(max(4, height / 5), 12) : 0
        let rooms = wanted > 0 ? foot(rows: wanted) : []
        let room = max(1, height - lines.count - 2 - (rooms.isEmpty ? 0 : rooms.count))
        let nodes = sorted(choice)
        choice.first = max(0, min(choice.first, nodes.count - room))
        let shown = nodes.dropFirst(choice.first).prefix(room)
        let columns = columns()
        lines.append(titles(columns, choice))
        lines += shown.map { line($0, columns) }
        while lines.count < height - 1 - rooms.count { lines.append(StyledLine()) }
        return fill(lines + rooms, keys(choice, message, shown: shown.count), height)
    }

    private func fill(_ lines: [StyledLine], _ last: StyledLine, _ height: Int) -> [StyledLine] {
        var lines = Array(lines.prefix(max(0, height - 1)))
        while lines.count < height - 1 { lines.append(StyledLine()) }
        return lines + [last]
    }

    private var nobody: StyledLine {
        StyledLine(Columns.fit("No node of the cluster \"\(reading.prefix)\" is known to this Redis.", width))
    }

    // MARK: Above

    private func head() -> [StyledLine] {
        [title] + graphs() + [troubles]
    }

    private var title: StyledLine {
        var line = StyledLine(Columns.fit(reading.prefix, width / 4), .bold)
        let count = reading.rows.count
        line.add("  \(count) node\(count == 1 ? "" : "s")")
        var states: [(String, Int)] = []
        for name in ["ready", "starting", "draining", "lost"] {
            states.append((name, reading.rows.count { $0.state == name }))
        }
        states.append(("other", count - states.reduce(0) { $0 + $1.1 }))
        for (name, number) in states where number > 0 {
            guard line.width + name.utf8.count + 8 < width - 10 else { break }
            line.add("  \(number) \(name)", Self.style(ofState: name))
        }
        let time = String(WallClock.rfc3339(milliseconds: reading.at).dropFirst(11).prefix(8)) + "Z"
        if line.width + 2 + time.utf8.count <= width {
            line.fill(to: width - time.utf8.count)
            line.add(time, .dim)
        }
        return line
    }

    /// Two figures a line, each with its last time.
    private func graphs() -> [StyledLine] {
        let present = reading.rows.filter { !$0.fields.isEmpty }
        func sum(_ name: String) -> Double? {
            let values = present.compactMap { $0.number(name).map(Double.init) }
            return values.isEmpty ? nil : values.reduce(0, +)
        }
        func worst(_ name: String) -> Double? { present.compactMap { $0.number(name).map(Double.init) }.max() }
        func rate(_ name: String) -> Double? {
            let values = present.compactMap { reading.history.rate(name, of: $0.node) }
            return values.isEmpty ? nil : values.reduce(0, +)
        }
        let cells: [(String, String, String, TopHistory.Kind)] = [
            ("clients", ShortFigure.number(sum("clients")), "clients", .sum),
            ("messages/s", ShortFigure.number(rate("messages_in")), "messages_in", .rate),
            ("deliveries/s", ShortFigure.number(rate("deliveries")), "deliveries", .rate),
            ("bytes out/s", ShortFigure.bytes(rate("bytes_out")), "bytes_out", .rate),
            ("local p99", ShortFigure.duration(microseconds: worst("local_p99_us")), "local_p99_us", .greatest),
            ("relay p99", ShortFigure.duration(microseconds: worst("relay_p99_us")), "relay_p99_us", .greatest),
            ("redis rtt", ShortFigure.duration(microseconds: worst("redis_rtt_us")), "redis_rtt_us", .greatest),
            ("cpu, all", sum("cpu_percent").map { ShortFigure.number($0) + "%" } ?? "-", "cpu_percent", .sum),
        ]
        let half = (width - 2) / 2
        let bars = max(0, min(30, half - 22))
        return stride(from: 0, to: cells.count, by: 2).map { index in
            var line = StyledLine()
            for (place, cell) in cells[index..<min(index + 2, cells.count)].enumerated() {
                line.fill(to: place * (half + 2))
                line.add(Columns.pad(cell.0, min(12, half)), .dim)
                guard half > 21 else {
                    line.add(Columns.fit(" " + cell.1, max(0, half - 12)))
                    continue
                }
                line.add(Columns.pad(cell.1, 8, right: true), .bold)
                let values = reading.history.values(cell.2, cell.3, count: bars, step: 2_000)
                line.add("  " + Sparkline.text(values), .cyan)
            }
            return line
        }
    }

    /// What should be nothing.
    private var troubles: StyledLine {
        let present = reading.rows.filter { !$0.fields.isEmpty }
        func sum(_ name: String) -> Double { present.reduce(0) { $0 + Double($1.number(name) ?? 0) } }
        func rate(_ name: String) -> Double {
            present.reduce(0) { $0 + (reading.history.rate(name, of: $1.node) ?? 0) }
        }
        var line = StyledLine()
        let cells: [(String, String, StyledLine.Style)] = [
            ("dropped/s ", ShortFigure.number(rate("dropped")), rate("dropped") > 0 ? .yellow : .plain),
            ("slow closed ", ShortFigure.number(sum("slow_closed")), rate("slow_closed") > 0 ? .yellow : .plain),
            ("gaps ", ShortFigure.number(sum("relay_gaps")), .plain),
            ("healed ", ShortFigure.number(sum("healed")), .plain),
            ("lost ", ShortFigure.number(sum("unrecoverable")), rate("unrecoverable") > 0 ? .red : .plain),
            ("memory ", ShortFigure.bytes(sum("rss_bytes")), .plain),
        ]
        for (name, value, style) in cells {
            let space = line.width == 0 ? "" : "   "
            guard line.width + space.utf8.count + name.utf8.count + value.utf8.count <= width else { break }
            line.add(space + name, .dim)
            line.add(value, style)
        }
        return line
    }

    // MARK: The nodes

    private struct Column {
        let name: TopChoice.Column
        var width: Int
    }

    /// As many as there is room for; what is left goes to the names, then to the graphs.
    private func columns() -> [Column] {
        var chosen: [Column] = []
        var used = -1
        for name in TopChoice.Column.byImportance where used + 1 + name.width <= width {
            chosen.append(Column(name: name, width: name.width))
            used += 1 + name.width
        }
        let longest = reading.rows.map { $0.node.rawValue.utf8.count }.max() ?? 0
        for index in chosen.indices {
            let spare = width - used
            switch chosen[index].name {
            case .node:
                let more = max(0, min(spare, longest - chosen[index].width, 27))
                chosen[index].width += more
                used += more
            case .trend:
                let more = min(spare, 30 - chosen[index].width)
                chosen[index].width += more
                used += more
            default: break
            }
        }
        return TopChoice.Column.byPlace.compactMap { name in chosen.first { $0.name == name } }
    }

    private func titles(_ columns: [Column], _ choice: TopChoice) -> StyledLine {
        var line = StyledLine()
        for (index, column) in columns.enumerated() {
            if index > 0 { line.add(" ", .dim) }
            let text = Columns.pad(column.name.title, column.width, right: !column.name.isText)
            line.add(text, column.name == choice.sort ? .reversed : .dim)
        }
        return line
    }

    private func sorted(_ choice: TopChoice) -> [NodeRow] {
        func value(_ row: NodeRow) -> Double {
            switch choice.sort {
            case .node, .state, .version: 0
            case .clients: Double(row.number("clients") ?? -1)
            case .rooms: Double(row.number("rooms") ?? -1)
            case .messages, .trend: reading.history.rate("messages_in", of: row.node) ?? -1
            case .deliveries: reading.history.rate("deliveries", of: row.node) ?? -1
            case .local: Double(row.number("local_p99_us") ?? -1)
            case .relay: Double(row.number("relay_p99_us") ?? -1)
            case .rtt: Double(row.number("redis_rtt_us") ?? -1)
            case .lag: Double(row.number("loop_lag_p99_us") ?? -1)
            case .cpu: Double(row.number("cpu_percent") ?? -1)
            case .memory: Double(row.number("rss_bytes") ?? -1)
            case .age: Double(row.heartbeatAgeMilliseconds)
            }
        }
        func text(_ row: NodeRow) -> String {
            switch choice.sort {
            case .state: row.state
            case .version: row.fields["version"] ?? ""
            default: ""
            }
        }
        let keyed = reading.rows.map { (row: $0, value: value($0), text: text($0)) }
        // The greatest on top, names by the alphabet; equals by name.
        let ordered = keyed.sorted {
            ($1.value, $0.text, $0.row.node.rawValue) < ($0.value, $1.text, $1.row.node.rawValue)
        }.map(\.row)
        return choice.isReversed ? ordered.reversed() : ordered
    }

    private func line(_ row: NodeRow, _ columns: [Column]) -> StyledLine {
        var line = StyledLine()
        for (index, column) in columns.enumerated() {
            if index > 0 { line.add(" ") }
            let (text, style) = cell(row, column)
            line.add(Columns.pad(text, column.width, right: !column.name.isText), style)
        }
        return line
    }

    private func cell(_ row: NodeRow, _ column: Column) -> (String, StyledLine.Style) {
        func number(_ name: String) -> Double? { row.number(name).map(Double.init) }
        func duration(_ name: String, yellowFrom limit: Double) -> (String, StyledLine.Style) {
            let value = number(name)
            return (ShortFigure.duration(microseconds: value), value ?? 0 >= limit ? .yellow : .plain)
        }
        switch column.name {
        case .node:
            return (Columns.fitMiddle(row.node.rawValue, column.width), row.fields.isEmpty ? .red : .plain)
        case .state:
            let short = ["starting": "start", "draining": "drain"][row.state] ?? row.state
            return (Columns.fit(short, column.width), Self.style(ofState: row.state))
        case .clients: return (ShortFigure.number(number("clients")), .plain)
        case .rooms: return (ShortFigure.number(number("rooms")), .plain)
        case .messages: return (ShortFigure.number(reading.history.rate("messages_in", of: row.node)), .plain)
        case .deliveries: return (ShortFigure.number(reading.history.rate("deliveries", of: row.node)), .plain)
        case .local: return duration("local_p99_us", yellowFrom: 50_000)
        case .relay: return duration("relay_p99_us", yellowFrom: 250_000)
        case .rtt: return duration("redis_rtt_us", yellowFrom: 50_000)
        case .lag: return duration("loop_lag_p99_us", yellowFrom: 50_000)
        case .cpu: return (row.number("cpu_percent").map { "\(min(max(0, $0), 9_999))%" } ?? "-", .plain)
        case .memory: return (ShortFigure.bytes(number("rss_bytes")), .plain)
        case .age:
            let age = Double(row.heartbeatAgeMilliseconds)
            return (ShortFigure.duration(microseconds: age * 1_000), age >= 3_000 ? .yellow : .plain)
        case .version: return (Columns.fit(row.fields["version"] ?? "-", column.width), .plain)
        case .trend:
            let values = reading.history.values(
                "messages_in", .rate, count: column.width, step: 2_000, only: row.node)
            return (Sparkline.text(values), .cyan)
        }
    }

    private static func style(ofState state: String) -> StyledLine.Style {
        switch state {
        case "ready": .green
        case "starting": .cyan
        case "draining": .yellow
        default: .red
        }
    }

    // MARK: Below

    /// The busiest rooms and, beside them, what happened last.
    private func foot(rows: Int) -> [StyledLine] {
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

    private func keys(_ choice: TopChoice, _ message: String?, shown: Int) -> StyledLine {
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

    private var help: [StyledLine] {
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
