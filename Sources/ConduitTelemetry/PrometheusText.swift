/// Writes metrics in Prometheus's text format (version 0.0.4), one family after the other.
///
/// A value: the scrape makes one, writes into it and sends ``text``. A family is written in one call,
/// because the format wants all its samples together behind one HELP and TYPE line.
public struct PrometheusText: Sendable {
    /// The `Content-Type` of what this writes.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// One value of a family, told from the others by its labels.
    public struct Sample: Sendable {
        /// Names and values, in the order in which they are written.
        public var labels: [(name: String, value: String)]
        /// The figure.
        public var value: Double

        /// Makes a sample.
        public init(_ value: Double, _ labels: [(name: String, value: String)] = []) {
            self.value = value
            self.labels = labels
        }
    }

    /// Upper bounds of a histogram's buckets in microseconds: 50 µs to 10 s.
    public static let buckets: [UInt64] = [
        50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 5_000_000, 10_000_000,
    ]

    /// What was written so far.
    public private(set) var text = ""

    /// An empty page.
    public init() {}

    /// Writes a counter or gauge without labels.
    public mutating func write(_ metric: Metric, _ value: Double) {
        write(metric, [Sample(value)])
    }

    /// Writes a counter or gauge without labels.
    public mutating func write(_ metric: Metric, _ value: some BinaryInteger) {
        write(metric, [Sample(Double(value))])
    }

    /// Writes a family; nothing at all when it has no samples.
    public mutating func write(_ metric: Metric, _ samples: [Sample]) {
        guard !samples.isEmpty else { return }
        head(metric)
        for sample in samples { line(metric.name, sample.labels, Self.number(sample.value)) }
    }

    /// Writes a family with one label from a dictionary of counts, sorted so that two scrapes compare.
    public mutating func write(_ metric: Metric, label: String, _ counts: [String: UInt64]) {
        write(
            metric,
            counts.sorted { $0.key < $1.key }.map { Sample(Double($0.value), [(name: label, value: $0.key)]) })
    }

    /// Writes a distribution in seconds.
    public mutating func write(_ metric: Metric, _ histogram: LatencyHistogram) {
        head(metric)
        let counts = histogram.cumulativeCounts(upTo: Self.buckets)
        for (bound, count) in zip(Self.buckets, counts) {
            line(
                metric.name + "_bucket", [(name: "le", value: Self.number(Double(bound) / 1_000_000))], "\(count)")
        }
        line(metric.name + "_bucket", [(name: "le", value: "+Inf")], "\(histogram.count)")
        line(metric.name + "_sum", [], Self.number(Double(histogram.sum) / 1_000_000))
        line(metric.name + "_count", [], "\(histogram.count)")
    }

    private mutating func head(_ metric: Metric) {
        text += "# HELP \(metric.name) \(Self.escaped(metric.help, quotes: false))\n"
        text += "# TYPE \(metric.name) \(metric.kind.rawValue)\n"
    }

    private mutating func line(_ name: String, _ labels: [(name: String, value: String)], _ value: String) {
        text += name
        if !labels.isEmpty {
            text += "{"
            for (index, label) in labels.enumerated() {
                if index > 0 { text += "," }
                text += "\(label.name)=\"\(Self.escaped(label.value, quotes: true))\""
            }
            text += "}"
        }
        text += " \(value)\n"
    }

    /// Backslash and line feed are escaped everywhere, quotes in label values only.
    private static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || $0 == 0x22 }) else { return text }
        var result = ""
        // By scalar, not by character: a line feed behind a carriage return is one Character with it.
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value), abs(value) < 1e15 { return String(whole) }
        return value.description
    }
}
