import ConduitCluster
import ConduitCore

/// A line a node, with as many columns as there is room for.
extension TopFrame {
    /// A column with the room that it gets.
    struct Column {
        let name: TopChoice.Column
        var width: Int
    }

    /// As many as there is room for; what is left goes to the names, then to the graphs.
    func columns() -> [Column] {
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

    func titles(_ columns: [Column], _ choice: TopChoice) -> StyledLine {
        var line = StyledLine()
        for (index, column) in columns.enumerated() {
            if index > 0 { line.add(" ", .dim) }
            let text = Columns.pad(column.name.title, column.width, right: !column.name.isText)
            line.add(text, column.name == choice.sort ? .reversed : .dim)
        }
        return line
    }

    func sorted(_ choice: TopChoice) -> [NodeRow] {
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

    func line(_ row: NodeRow, _ columns: [Column]) -> StyledLine {
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

    static func style(ofState state: String) -> StyledLine.Style {
        switch state {
        case "ready": .green
        case "starting": .cyan
        case "draining": .yellow
        default: .red
        }
    }
}
