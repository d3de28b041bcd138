import ConduitHub
import Logging
import Tracing

/// Whether and how messages are traced.
public struct TracingConfiguration: Sendable, Hashable {
    /// Where the command's own spans go. A program of your own gives ``ConduitNode`` a tracer instead.
    public enum Exporter: String, Sendable, CaseIterable {
        /// To whatever tracer the program has set up.
        case none
        /// Into the log, a line each.
        case log
    }

    /// Whether traces are taken up. Off, nothing is looked at and nothing is written.
    public var isEnabled = false
    /// The share of messages that come without a trace and begin one, 0 to 1.
    public var sample = 0.0
    /// Most traces a second that clients may bring or begin on one event loop; 0 for any number.
    public var tracesPerSecond = 100
    /// Where spans go when no tracer was given.
    public var exporter = Exporter.none

    /// Off.
    public init() {}
}

extension NodeConfiguration {
    /// What writes spans; `nil` when nobody traces.
    func messageTracer(_ given: (any Tracer)?, logger: Logger) -> MessageTracer? {
        guard tracing.isEnabled else { return nil }
        let tracer: any Tracer =
            given ?? (tracing.exporter == .log ? LogTracer(logger) : InstrumentationSystem.tracer)
        return MessageTracer(
            tracer, node: nodeID, sample: tracing.sample, perSecond: tracing.tracesPerSecond)
    }
}
