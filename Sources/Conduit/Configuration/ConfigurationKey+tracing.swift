// Spans of messages.
extension ConfigurationKey {
    static let tracing: [ConfigurationKey] = [
        ConfigurationKey(
            "tracing.enabled", .boolean, default: "false",
            "Whether messages with a trace (traceparent) are traced over all nodes; switch it on when all nodes can."),
        ConfigurationKey(
            "tracing.sample", .text(allowed: "a number from 0 to 1, such as 0.01", check: isShare), default: "0",
            "Share of messages without a trace that begin one."),
        ConfigurationKey(
            "tracing.per-second", .integer(0...1_000_000), default: "100",
            "Most traces of clients a second on each event loop; more messages go untraced. 0 is any number."),
        ConfigurationKey(
            "tracing.exporter", .choice(TracingConfiguration.Exporter.allCases.map(\.rawValue)), default: "none",
            "Where spans go: log is a log line each, none is the tracer of the program that embeds the node."),
    ]

    @Sendable private static func isShare(_ text: String) -> Bool { share(text) != nil }

    /// The number that a share is written as.
    static func share(_ text: String) -> Double? {
        guard (1...16).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E }),
            let share = Double(text), (0...1).contains(share)
        else { return nil }
        return share
    }
}

extension NodeConfiguration {
    static func tracing(_ values: ConfigurationValues) -> TracingConfiguration {
        var tracing = TracingConfiguration()
        tracing.isEnabled = values.boolean("tracing.enabled")
        tracing.sample = ConfigurationKey.share(values.text("tracing.sample")) ?? 0
        tracing.tracesPerSecond = values.integer("tracing.per-second")
        tracing.exporter = TracingConfiguration.Exporter(rawValue: values.text("tracing.exporter")) ?? .none
        return tracing
    }

    static func findContradictionsOfTracing(in values: inout ConfigurationValues) {
        guard !values.boolean("tracing.enabled") else { return }
        if values.text("tracing.exporter") != "none" {
            values.contradiction(
                "tracing.exporter", "tracing.enabled", message: "tracing.exporter needs tracing.enabled: true")
        }
        if let share = ConfigurationKey.share(values.text("tracing.sample")), share > 0 {
            values.contradiction(
                "tracing.sample", "tracing.enabled", message: "tracing.sample needs tracing.enabled: true")
        }
    }
}
