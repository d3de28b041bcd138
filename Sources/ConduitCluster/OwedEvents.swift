import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore
import Synchronization

/// How many bytes the shards have told a bridge that hasn't come to read them; from any thread.
///
/// Over the bound, messages for other nodes are dropped and counted. What the bridge needs to know who is where, and
/// what somebody waits for, always passes.
final class OwedEvents: Sendable {
    /// What an event weighs besides its message.
    private static let eventBytes = 64
    private let limit: Int
    private let bytes = Atomic<Int>(0)
    private let drops = Atomic<UInt64>(0)

    init(limit: Int = 64 << 20) { self.limit = limit }

    /// Messages that were dropped.
    var dropped: UInt64 { drops.load(ordering: .relaxed) }

    /// What of a batch may go on, and its weight, to be given to ``settle(_:)`` when the bridge has it.
    func admit(_ events: [HubEvent]) -> (events: [HubEvent], weight: Int) {
        var admitted = events
        var weight = Self.weight(of: events)
        if bytes.load(ordering: .relaxed) + weight > limit {
            admitted = events.compactMap(lighten)
            weight = Self.weight(of: admitted)
        }
        bytes.add(weight, ordering: .relaxed)
        return (admitted, weight)
    }

    /// The bridge has taken a batch.
    func settle(_ weight: Int) { bytes.subtract(weight, ordering: .relaxed) }

    private func lighten(_ event: HubEvent) -> HubEvent? {
        switch event {
        case .traced(_, let event): return lighten(event)
        case .broadcast, .broadcastAll:
            drops.add(1, ordering: .relaxed)
            return nil
        case .send(let target, _, let pending):
            drops.add(1, ordering: .relaxed)
            // Its sender waits for a count: without a message, the bridge counts this node's connections only.
            guard let pending else { return nil }
            return .send(target: target, message: ServerMessage(json: ByteBuffer()), pending: pending)
        case .publishOrdered(let publish):
            drops.add(1, ordering: .relaxed)
            // Its sender waits for an answer: without a message, the bridge refuses it.
            return publish.replyTo == nil ? nil : .publishOrdered(publish.withoutMessage)
        case .connected, .disconnected, .joined, .left, .sentAway, .delivered, .presenceQuery, .joinOrdered,
            .admitted, .joinAbandoned, .historyQuery:
            return event
        }
    }

    private static func weight(of events: [HubEvent]) -> Int {
        events.reduce(0) { $0 + weight(of: $1) }
    }

    private static func weight(of event: HubEvent) -> Int {
        switch event {
        case .traced(_, let event): eventBytes + weight(of: event)
        case .broadcast(_, let message), .broadcastAll(let message), .send(_, let message, _):
            eventBytes + message.byteCount
        case .publishOrdered(let publish): eventBytes + publish.json.readableBytes
        case .joined(_, let member), .admitted(_, let member): eventBytes + member.info.count
        case .connected, .disconnected, .left, .sentAway, .delivered, .presenceQuery, .joinOrdered, .joinAbandoned,
            .historyQuery:
            eventBytes
        }
    }
}
