import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore
import Tracing

// Traces of messages on their way to and from the other nodes. Without a tracer nothing here does anything.
extension Bridge {
    /// A message of a shard's that somebody traces.
    func take(_ event: HubEvent, in context: ServiceContext, fromShard shard: Int) {
        switch event {
        case .broadcast(let room, let message):
            relay(.room(room), .broadcast, span: relaySpan(in: context)) { $0.append(message.json) }
        case .broadcastAll(let message):
            relay(.everyone, .broadcast, span: relaySpan(in: context)) { $0.append(message.json) }
        case .send(let target, let message, let pending): relaySend(target, message, pending, in: context)
        case .publishOrdered(var publish):
            publish.relaySpan = relaySpan(in: context)
            publishOrdered(publish)
        default: take([event], fromShard: shard)
        }
    }

    /// The span of a message's way through Redis; `nil` on a node alone.
    func relaySpan(in context: ServiceContext) -> RelaySpan? {
        guard let tracer, commands != nil, phase != .closed else { return nil }
        return RelaySpan(tracer, in: context)
    }

    /// What another node's trace is here; `nil` where nobody traces.
    func trace(of envelope: NodeEnvelope) -> ServiceContext? {
        guard let tracer, let trace = envelope.trace else { return nil }
        return tracer.context(of: trace)
    }

    /// A command with the trace that its message came with.
    func traced(_ command: ShardCommand, _ context: ServiceContext?) -> ShardCommand {
        guard let context else { return command }
        return .traced(context, command)
    }
}
