public import ConduitCore
import ConduitTelemetry
public import Logging
import Synchronization
public import Tracing

/// Writes each span as a log line when it ends, so that traces can be seen without a collector: trace id, span id, the
/// parent's, how long it took, and its attributes.
///
/// It speaks W3C Trace Context, so that it goes on with traces of others and others go on with its own.
public struct LogTracer: Tracer {
    private let ended: @Sendable (TracedSpan) -> Void

    /// Writes to a logger.
    public init(_ logger: Logger, level: Logger.Level = .info) {
        self.init { span in
            var metadata: Logger.Metadata = [:]
            // Attributes may be called anything; the keys of ours stay what they are.
            span.attributes.forEach { name, value in
                metadata[name] = "\(LogTracer.text(value))"
            }
            metadata[LogKey.span] = "\(span.name)"
            metadata[LogKey.traceID] = "\(span.place.traceID)"
            metadata[LogKey.spanID] = "\(span.place.spanID)"
            if let parent = span.parent { metadata[LogKey.parentSpanID] = "\(parent.spanID)" }
            metadata[LogKey.microseconds] = "\(span.nanoseconds / 1_000)"
            if let error = span.error { metadata[LogKey.error] = "\(error)" }
            logger.log(level: level, "span", metadata: metadata)
        }
    }

    /// Hands each span to a closure, on whatever thread has ended it.
    public init(_ ended: @escaping @Sendable (TracedSpan) -> Void) { self.ended = ended }

    /// Begins a span; its trace is that of the context, or a new one.
    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> ServiceContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> LogSpan {
        var context = context()
        let parent = context[TraceContextKey.self]
        var place: TraceContext?
        while place == nil {
            place = TraceContext(
                traceHigh: parent?.traceHigh ?? UInt64.random(in: 0...UInt64.max),
                traceLow: parent?.traceLow ?? UInt64.random(in: 0...UInt64.max),
                span: UInt64.random(in: 1...UInt64.max))
        }
        context[TraceContextKey.self] = place
        return LogSpan(
            name: operationName, kind: kind, context: context, place: place, parent: parent,
            startedAt: instant().nanosecondsSinceEpoch, ended: ended)
    }

    /// Spans are written as they end; there is nothing to flush.
    public func forceFlush() {}

    /// Reads `traceparent`.
    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout ServiceContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        guard let text = extractor.extract(key: Self.header, from: carrier) else { return }
        if let trace = TraceContext(traceparent: text) { context[TraceContextKey.self] = trace }
    }

    /// Writes `traceparent`.
    public func inject<Carrier, Inject: Injector>(
        _ context: ServiceContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let trace = context[TraceContextKey.self] else { return }
        injector.inject(trace.traceparent, forKey: Self.header, into: &carrier)
    }

    private static let header = "traceparent"

    private static func text(_ value: SpanAttribute) -> String {
        switch value {
        case .int32(let number): "\(number)"
        case .int64(let number): "\(number)"
        case .double(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .string(let text): text
        default: "\(value)"
        }
    }
}

/// Where a context is in its trace, for ``LogTracer``.
private enum TraceContextKey: ServiceContextKey {
    typealias Value = TraceContext
    static var nameOverride: String? { "traceparent" }
}

/// A span that has ended.
public struct TracedSpan: Sendable {
    /// Its name, such as `conduit publish`.
    public let name: String
    /// What it is to its parent.
    public let kind: SpanKind
    /// Its trace and its own id.
    public let place: TraceContext
    /// The span that it is a part of; `nil` for a trace's first.
    public let parent: TraceContext?
    /// When it began, in nanoseconds since 1970.
    public let startedAt: UInt64
    /// How long it took.
    public let nanoseconds: UInt64
    /// What is said of it.
    public let attributes: SpanAttributes
    /// Why it is no good; `nil` when it is.
    public let error: String?
}

/// A span of ``LogTracer``.
public final class LogSpan: Span {
    private struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var error: String?
        var isEnded = false
    }

    /// Its place in its trace, for what it calls.
    public let context: ServiceContext
    private let kind: SpanKind
    private let place: TraceContext?
    private let parent: TraceContext?
    private let startedAt: UInt64
    private let ended: @Sendable (TracedSpan) -> Void
    private let state: Mutex<State>

    fileprivate init(
        name: String, kind: SpanKind, context: ServiceContext, place: TraceContext?, parent: TraceContext?,
        startedAt: UInt64, ended: @escaping @Sendable (TracedSpan) -> Void
    ) {
        self.kind = kind
        self.context = context
        self.place = place
        self.parent = parent
        self.startedAt = startedAt
        self.ended = ended
        self.state = Mutex(State(name: name))
    }

    /// What it is called.
    public var operationName: String {
        get { state.withLock { $0.name } }
        set { state.withLock { $0.name = newValue } }
    }

    /// What is said of it.
    public var attributes: SpanAttributes {
        get { state.withLock { $0.attributes } }
        set { state.withLock { $0.attributes = newValue } }
    }

    /// Whether it hasn't ended.
    public var isRecording: Bool { state.withLock { !$0.isEnded } }

    /// Says whether it went well.
    public func setStatus(_ status: SpanStatus) {
        guard status.code == .error else { return }
        state.withLock { $0.error = status.message ?? "error" }
    }

    /// Events are not kept.
    public func addEvent(_ event: SpanEvent) {}

    /// Says why it didn't go well.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        state.withLock { $0.error = "\(error)" }
    }

    /// Links are not kept.
    public func addLink(_ link: SpanLink) {}

    /// Ends it, once.
    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        let last = state.withLock { state -> State? in
            guard !state.isEnded else { return nil }
            state.isEnded = true
            return state
        }
        guard let last, let place else { return }
        let now = instant().nanosecondsSinceEpoch
        ended(
            TracedSpan(
                name: last.name, kind: kind, place: place, parent: parent, startedAt: startedAt,
                nanoseconds: now > startedAt ? now - startedAt : 0, attributes: last.attributes, error: last.error))
    }
}
