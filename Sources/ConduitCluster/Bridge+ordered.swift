import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitWire
import NIOCore

// Ordered rooms: what needs the log is refused while there is none.
extension Bridge {
    private static let noLog = RequestError(.unavailable, "the room is ordered and its log can't be reached")

    func publishOrdered(_ publish: OrderedPublish) {
        guard let address = publish.replyTo else { return drop("ordered_unavailable") }
        reply(to: address, EventEncoder.error(Self.noLog, requestType: "broadcast", id: address.request))
    }

    func joinOrdered(_ join: OrderedJoin, shard: Int) {
        guard (0..<InterestTable.maximumShards).contains(shard) else { return }
        interest.joined(.room(join.room), shard: shard)
        handOff.add(
            .refuseJoin(join.replyTo.client, join.room, Self.noLog, join.replyTo.request), to: 1 << UInt64(shard))
        needsFlush()
    }

    func joinAbandoned(_ room: RoomName, shard: Int) {
        interest.left(.room(room), shard: shard, now: now)
        if interest.state(of: .room(room)) == nil { forget(room) }
    }

    func answer(_ query: HistoryQuery) {
        let message = EventEncoder.error(Self.noLog, requestType: "history", id: query.replyTo.request)
        guard (0..<InterestTable.maximumShards).contains(query.replyTo.shard) else { return }
        handOff.add(.historyReply(query.replyTo.client, message), to: 1 << UInt64(query.replyTo.shard))
        needsFlush()
    }

    private func reply(to address: ReplyAddress, _ message: ServerMessage) {
        guard (0..<InterestTable.maximumShards).contains(address.shard) else { return }
        handOff.add(.reply(address.client, message), to: 1 << UInt64(address.shard))
        needsFlush()
    }
}
