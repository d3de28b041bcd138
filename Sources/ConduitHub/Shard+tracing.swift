import ConduitCore
import ConduitWire
import NIOCore
import Tracing

/// Spans of messages. Nothing here is reached on a node that doesn't trace.
extension Shard {
    /// Spans of deliveries that may be open; more end at once.
    private static let openSpans = 1_024

    /// Handles a request to publish inside of a span, when it carries a trace or begins one.
    ///
    /// A client's trace costs the one who records it, so only so many a second are taken; the message goes its way
    /// in any case.
    func publishTraced(
        _ command: CommandTokens, _ bytes: Swift.Span<UInt8>, _ client: Client,
        _ body: () throws(RequestError) -> Void
    ) throws(RequestError) {
        guard let tracer, let parent = parent(command, bytes, tracer) else { return try body() }
        let span = tracer.start(MessageTracer.publish, in: parent, .producer)
        span.attributes[MessageTracer.Attribute.client] = client.id.rawValue
        if let room = command.dataRoom(in: bytes) { span.attributes[MessageTracer.Attribute.room] = room }
        statistics.traced += 1
        publishing = span.context
        defer { endPublish(span) }
        do throws(RequestError) {
            try body()
        } catch {
            span.setStatus(SpanStatus(code: .error, message: error.code.rawValue))
            throw error
        }
    }

    private func parent(_ command: CommandTokens, _ bytes: Swift.Span<UInt8>, _ tracer: MessageTracer)
        -> ServiceContext?
    {
        let trace = command.traceparent(in: bytes).flatMap { TraceContext(traceparent: $0) }
        guard let parent = trace.flatMap({ tracer.context(of: $0) }) ?? (tracer.beginsTrace ? .topLevel : nil) else {
            return nil
        }
        guard traceBudget?.take(now: now) ?? true else {
            statistics.tracesRefused += 1
            return nil
        }
        return parent
    }

    /// What was published is on its way.
    func endPublish(_ span: (any TraceSpan)?) {
        publishing = nil
        span?.end()
    }

    /// What goes to the bridge of the message at hand: with its trace, when it has one.
    func traced(_ event: HubEvent) -> HubEvent {
        guard isTracing, let publishing else { return event }
        return .traced(publishing, event)
    }

    /// The same for the other shards.
    func traced(_ command: ShardCommand) -> ShardCommand {
        guard isTracing, let publishing else { return command }
        return .traced(publishing, command)
    }

    /// A traced message is about to be written to those of its recipients who are on this shard; no span where there are none.
    func beginDelivery(_ context: ServiceContext, _ command: ShardCommand) {
        guard let tracer else { return }
        var name: RoomName?
        let recipients: Int
        switch command {
        case .room(let room, _), .roomExcept(let room, _, _):
            recipients = rooms.members(of: room).count
            name = room
        case .all: recipients = clients.count
        case .send(.user(let user), _, _): recipients = users[user]?.count ?? 0
        case .send(.client(let id), _, _): recipients = client(id) == nil ? 0 : 1
        default: return
        }
        guard recipients > 0 else { return }
        let span = tracer.start(MessageTracer.deliver, in: context, .consumer)
        if let name { span.attributes[MessageTracer.Attribute.room] = name.rawValue }
        span.attributes[MessageTracer.Attribute.loop] = Int64(index)
        span.attributes[MessageTracer.Attribute.recipients] = Int64(recipients)
        guard deliverySpans.count < Self.openSpans else { return span.end() }
        deliverySpans.append(span)
        beginTurn()
    }

    /// Everything is written that was begun before.
    func endDeliverySpans() {
        for span in deliverySpans { span.end() }
        deliverySpans.removeAll(keepingCapacity: true)
    }
}
