import ConduitCluster
import ConduitTelemetry

/// Above: the whole cluster, its course, and what should be nothing.
extension TopFrame {
    func head() -> [StyledLine] {
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
}
