package import ConduitCore
import Synchronization
package import Tracing

/// A span of a trace; the name alone is the standard library's.
package typealias TraceSpan = Tracing.Span

/// Writes the spans of messages through whatever tracer the application has: `conduit publish`, `conduit relay` and
/// `conduit deliver`, each the parent of the next.
///
/// Asked only for messages of nodes that trace. What a tracer injects as `traceparent` (W3C Trace Context) goes to the
/// other nodes; a tracer that injects nothing of the kind writes spans all the same, and its traces end at this node.
package struct MessageTracer: Sendable {
    /// Where a message is published on this node.
    package static let publish = "conduit publish"
    /// From there until Redis has it.
    package static let relay = "conduit relay"
    /// From its arrival at an event loop until it is written to the members there.
    package static let deliver = "conduit deliver"
    /// Names of attributes.
    package enum Attribute {
        package static let node = "conduit.node"
        package static let room = "conduit.room"
        package static let client = "conduit.client"
        package static let loop = "conduit.loop"
        package static let recipients = "conduit.recipients"
        package static let receivers = "conduit.receivers"
        package static let offset = "conduit.offset"
    }

    private let tracer: any Tracer
    private let node: NodeID
    /// Which share of messages without a trace begins one, of 2^32.
    private let share: UInt64
    private let perSecond: Int

    /// - Parameters:
    ///   - sample: the share of messages that come without a trace and begin one, 0 to 1.
    ///   - perSecond: most traces a second that clients may begin or go on with on one event loop.
    package init(_ tracer: any Tracer, node: NodeID, sample: Double = 0, perSecond: Int = 100) {
        self.tracer = tracer
        self.node = node
        self.share = UInt64(min(max(sample, 0), 1) * Double(1 << 32 as UInt64))
        self.perSecond = perSecond
    }

    /// What clients of one event loop may use up.
    var budget: TokenBucket? {
        perSecond > 0 ? TokenBucket(perSecond: perSecond, burst: perSecond, now: 0) : nil
    }

    // MARK: Contexts

    /// The context that a `traceparent` of somebody else stands for; `nil` where its trace isn't recorded.
    package func context(of trace: TraceContext) -> ServiceContext? {
        guard trace.isSampled else { return nil }
        var context = ServiceContext.topLevel
        tracer.extract([Self.header: trace.traceparent], into: &context, using: HeaderExtractor())
        return context
    }

    /// What goes to other nodes of a context; `nil` when its tracer doesn't speak W3C Trace Context or doesn't record.
    package func trace(of context: ServiceContext) -> TraceContext? {
        var carrier: [String: String] = [:]
        tracer.inject(context, into: &carrier, using: HeaderInjector())
        return carrier[Self.header].flatMap { TraceContext(traceparent: $0) }.flatMap { $0.isSampled ? $0 : nil }
    }

    private static let header = "traceparent"

    /// Whether a message without a trace begins one.
    package var beginsTrace: Bool { share > 0 && UInt64(UInt32.random(in: .min ... .max)) < share }

    // MARK: Spans

    package func start(_ name: String, in context: ServiceContext, _ kind: SpanKind) -> any TraceSpan {
        let span = tracer.startSpan(name, context: context, ofKind: kind)
        span.attributes[Attribute.node] = node.rawValue
        return span
    }

    /// The span of a message of the application's, in the context of its task; `nil` when that has no trace.
    func beginPublish(room: RoomName? = nil) -> (any TraceSpan)? {
        var parent: ServiceContext?
        if let current = ServiceContext.current, trace(of: current) != nil { parent = current }
        if parent == nil, beginsTrace { parent = .topLevel }
        guard let parent else { return nil }
        let span = start(Self.publish, in: parent, .producer)
        if let room { span.attributes[Attribute.room] = room.rawValue }
        return span
    }
}

/// The span of a message's way through Redis. One that is let go without an end has been dropped, and says so.
package final class RelaySpan: Sendable {
    private let span: any Span
    private let isEnded = Atomic(false)
    /// What goes with the message.
    package let trace: TraceContext?

    package init(_ tracer: MessageTracer, in context: ServiceContext) {
        span = tracer.start(MessageTracer.relay, in: context, .producer)
        trace = tracer.trace(of: span.context)
    }

    /// Redis has it.
    package func end(_ attribute: String, _ value: Int64) {
        guard isEnded.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        span.attributes[attribute] = value
        span.end()
    }

    deinit {
        guard isEnded.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        span.setStatus(SpanStatus(code: .error, message: "dropped"))
        span.end()
    }
}

private struct HeaderExtractor: Extractor {
    func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
}

private struct HeaderInjector: Injector {
    func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) { carrier[key] = value }
}
