package import ConduitCore
package import ConduitWire
package import NIOCore

/// A message for an ordered room on its way to the log. Nobody has it yet: members get it from the bus, in the log's order.
package struct OrderedPublish: Sendable {
    package let room: RoomName
    /// The client envelope, one whole JSON object without `offset`.
    package let json: ByteBuffer
    /// Makes a repeated publication one.
    package let key: String?
    /// Stored only when it is above the version that was stored last; within `versionEpoch`.
    package let version: UInt64?
    package let versionEpoch: String?
    /// A member that does not get it.
    package let excluded: ClientID?
    /// Who is told: an `ack` when it waits for one (``ReplyAddress/request``), an `error` in any case. `nil` for the
    /// application's own messages.
    package let replyTo: ReplyAddress?
    /// Whether it is a `send` to a user, whose answer says that it is stored.
    package let isInbox: Bool
    /// The span of its way through Redis, where somebody traces it.
    package var relaySpan: RelaySpan?

    package init(
        room: RoomName, json: ByteBuffer, key: String? = nil, version: UInt64? = nil, versionEpoch: String? = nil,
        excluded: ClientID? = nil, replyTo: ReplyAddress? = nil, isInbox: Bool = false
    ) {
        self.room = room
        self.json = json
        self.key = key
        self.version = version
        self.versionEpoch = versionEpoch
        self.excluded = excluded
        self.replyTo = replyTo
        self.isInbox = isInbox
    }

    /// Dropped on its way to the bridge: only the refusal is owed.
    package var withoutMessage: OrderedPublish {
        OrderedPublish(room: room, json: ByteBuffer(), replyTo: replyTo, isInbox: isInbox)
    }
}

/// A client that wants to be in an ordered room. It waits, unread, for ``ShardCommand/admit(_:_:_:)`` or
/// ``ShardCommand/refuseJoin(_:_:_:_:)``; one of them always comes.
package struct OrderedJoin: Sendable {
    package let room: RoomName
    /// Where the client stopped reading.
    package let recover: RecoveryPoint?
    package let replyTo: ReplyAddress

    package init(room: RoomName, recover: RecoveryPoint?, replyTo: ReplyAddress) {
        self.room = room
        self.recover = recover
        self.replyTo = replyTo
    }
}

/// What a client gets with its `room_joined` in an ordered room.
package struct OrderedAdmission: Sendable {
    package let room: RoomName
    package let epoch: String
    /// The last offset that was delivered to this shard before this: the next live message has the one after.
    package let offset: UInt64
    /// Whether `replay` holds everything between where the client stopped and ``offset``.
    package let recovered: Bool
    /// Why it doesn't; `nil` where nothing was to be recovered.
    package let reason: RecoveryFailure?
    /// What was missed, oldest first; together at most half of `limits.pending-bytes`, or the reason is `limit`.
    package let replay: [ServerMessage]

    package init(
        room: RoomName, epoch: String, offset: UInt64, recovered: Bool = false, reason: RecoveryFailure? = nil,
        replay: [ServerMessage] = []
    ) {
        self.room = room
        self.epoch = epoch
        self.offset = offset
        self.recovered = recovered
        self.reason = reason
        self.replay = replay
    }
}

/// A `history` request on its way to the bridge.
package struct HistoryQuery: Sendable {
    package let room: RoomName
    /// Messages after this place only.
    package let since: RecoveryPoint?
    /// Most messages, 1…1,000.
    package let limit: Int
    package let replyTo: ReplyAddress

    package init(room: RoomName, since: RecoveryPoint?, limit: Int, replyTo: ReplyAddress) {
        self.room = room
        self.since = since
        self.limit = limit
        self.replyTo = replyTo
    }
}
