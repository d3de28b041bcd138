/// Numbers in few columns.
package enum ShortFigure {
    /// `-`, `0.5`, `99999`, `231k`, `1.2M`: six columns at most.
    package static func number(_ value: Double?) -> String {
        guard let value, value.isFinite else { return "-" }
        let size = value.magnitude
        switch size {
        case ..<0.05: return "0"
        case ..<10: return trimmed(value)
        case ..<99_999.5: return String(Int64(value.rounded()))
        default: return scaled(value, by: 1_000, units: ["k", "M", "G", "T", "P", "E"])
        }
    }

    /// `-`, `840us`, `1.2ms`, `3.4s`: six columns at most.
    package static func duration(microseconds: Double?) -> String {
        guard let microseconds, microseconds.isFinite, microseconds >= 0 else { return "-" }
        switch microseconds {
        case ..<999.5: return "\(Int64(microseconds.rounded()))us"
        case ..<999_500: return trimmed(microseconds / 1_000) + "ms"
        case ..<99_999_000_000: return trimmed(microseconds / 1_000_000) + "s"
        default: return "long"
        }
    }

    /// `-`, `512B`, `93M`, `1.2G`: five columns at most.
    package static func bytes(_ value: Double?) -> String {
        guard let value, value.isFinite, value >= 0 else { return "-" }
        return value < 1_000 ? "\(Int64(value))B" : scaled(value, by: 1_024, units: ["K", "M", "G", "T", "P", "E"])
    }

    private static func scaled(_ value: Double, by step: Double, units: [String]) -> String {
        var rest = value / step
        var unit = 0
        while rest.magnitude >= step - 0.5, unit < units.count - 1 {
            rest /= step
            unit += 1
        }
        guard rest.magnitude < 99_999 else { return "huge" }
        return trimmed(rest) + units[unit]
    }

    /// One digit behind the point where there is room for it.
    private static func trimmed(_ value: Double) -> String {
        guard value.magnitude < 99.95 else { return String(Int64(value.rounded())) }
        let tenths = (value * 10).rounded() / 10
        return tenths == tenths.rounded() && value.magnitude >= 10 ? String(Int64(tenths)) : String(tenths)
    }
}

/// A row of bars, one a column.
package enum Sparkline {
    private static let bars = Array("▁▂▃▄▅▆▇█")

    /// From the least to the greatest, but a fifth of the greatest at least, so that noise doesn't look like news; a space
    /// where nothing is known.
    package static func text(_ values: [Double?]) -> String {
        let known = values.compactMap { $0 }
        let most = known.max() ?? 0
        let least = max(0, min(known.min() ?? 0, most * 0.8))
        return String(
            values.map { value -> Character in
                guard let value else { return " " }
                guard most > 0 else { return bars[0] }
                let step = (value - least) / (most - least) * Double(bars.count - 1)
                return bars[Int(min(max(0, step), Double(bars.count - 1)).rounded())]
            })
    }
}
