package import ConduitCluster
package import ConduitCore
import ConduitTelemetry

/// The last minutes of every node's figures, as the series tell them, for rates and sparklines.
package struct TopHistory: Sendable {
    /// The figures that are shown over time.
    package static let names: Set<String> = [
        "clients", "messages_in", "deliveries", "bytes_out", "dropped", "unrecoverable", "slow_closed", "local_p99_us",
        "relay_p99_us", "redis_rtt_us", "cpu_percent",
    ]
    /// Milliseconds that are kept.
    private static let span: Int64 = 130_000
    /// Rates are those of so many milliseconds.
    private static let window: Int64 = 10_000
    /// A figure counts for so many milliseconds after it was taken, where no newer one is.
    private static let carry: Int64 = 15_000
    /// Most samples of a node, however often it beats.
    private static let most = 1_300

    private var samples: [NodeID: [Sample]] = [:]

    package init() {}

    /// Adds what is newer. Nodes that aren't among `rows` are forgotten; one without a series gets its figures as they are.
    package mutating func take(_ series: [NodeID: [Sample]], _ rows: [NodeRow], now: Int64 = WallClock.milliseconds) {
        let present = Set(rows.map(\.node))
        samples = samples.filter { present.contains($0.key) }
        for row in rows where !row.fields.isEmpty {
            var own = samples[row.node] ?? []
            let new = series[row.node] ?? []
            if new.isEmpty, own.last.map({ now - $0.at >= 500 }) ?? true {
                let figures = row.fields.compactMapValues { Double($0) }.filter { Self.names.contains($0.key) }
                own.append(Sample(at: now, figures: figures))
            }
            // A longer look back than before has the rest, too.
            if let first = new.first, own.first.map({ first.at < $0.at }) ?? false { own = [] }
            let last = own.last?.at ?? .min
            own += new.filter { $0.at > last }
            let oldest = (own.last?.at ?? 0) - Self.span
            own.removeFirst(max(own.count - Self.most, own.firstIndex { $0.at >= oldest } ?? 0))
            samples[row.node] = own
        }
    }

    /// How much a counter of a node rises a second; `nil` where that can't be told, as after a restart.
    package func rate(_ name: String, of node: NodeID) -> Double? {
        guard let own = samples[node], let last = own.last, var value = last.figures[name] else { return nil }
        // Back to the beginning of the window, or to where the counter began anew.
        var first = last
        for sample in own.dropLast().reversed() where sample.at >= last.at - Self.window {
            guard let earlier = sample.figures[name], earlier <= value else { break }
            (first, value) = (sample, earlier)
        }
        return last.rate(of: name, since: first)
    }

    /// How the nodes' figures become one.
    package enum Kind: Sendable {
        case sum, greatest, rate
    }

    /// A figure of the whole cluster over time, the oldest first: `count` values, one each `step` milliseconds.
    package func values(_ name: String, _ kind: Kind, count: Int, step: Int64, only node: NodeID? = nil) -> [Double?] {
        let chosen = node.map { samples[$0].map { [$0] } ?? [] } ?? Array(samples.values)
        guard count > 0, let newest = samples.values.compactMap({ $0.last?.at }).max() else {
            return Array(repeating: nil, count: max(0, count))
        }
        var result = [Double?](repeating: nil, count: count)
        for own in chosen {
            var index = -1
            var earlier: Sample?
            for place in 0..<count {
                let time = newest - Int64(count - 1 - place) * step
                while index + 1 < own.count, own[index + 1].at <= time { index += 1 }
                guard index >= 0, own[index].at > time - Self.carry else {
                    earlier = nil
                    continue
                }
                let sample = own[index]
                var value = sample.figures[name]
                if kind == .rate {
                    // Between beats that are rare a rate stays what it was.
                    let before = earlier.flatMap { $0.at < sample.at ? $0 : nil } ?? (index > 0 ? own[index - 1] : nil)
                    value = before.flatMap { sample.rate(of: name, since: $0) }
                    earlier = sample
                }
                guard let value else { continue }
                result[place] = kind == .greatest ? max(result[place] ?? value, value) : (result[place] ?? 0) + value
            }
        }
        return result
    }
}
