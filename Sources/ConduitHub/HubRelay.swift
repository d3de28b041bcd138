package import ConduitCore
package import ConduitWire
package import Tracing

/// What a shard tells the bridge. One batch a shard a loop turn, in the order in which it happened.
package enum HubEvent: Sendable {
    /// A connection was registered; the bridge counts users by it.
    case connected(client: ClientID, user: UserID?)
    /// A connection is gone. Its rooms were reported by ``left`` before.
    case disconnected(client: ClientID, user: UserID?, reason: CloseReason)
    /// A client is in a room now. Sent once a membership.
    case joined(room: RoomName, member: Member)
    /// A client is out of a room.
    case left(room: RoomName, client: ClientID, reason: LeaveReason)
    /// A client was sent to another node and is out of a room: its user is expected back, and isn't seen leaving before.
    case sentAway(room: RoomName, client: ClientID)
    /// To every member on the other nodes; members on this node have it already.
    case broadcast(room: RoomName, message: ServerMessage)
    /// To every client of the other nodes.
    case broadcastAll(message: ServerMessage)
    /// To a user or client on the other nodes. `pending` is set when the sender waits for a count.
    case send(target: SendTarget, message: ServerMessage, pending: PendingSend?)
    /// A shard has carried out its share of a counted delivery.
    case delivered(token: DeliveryToken, count: Int)
    /// A client asks for the roster of a room.
    case presenceQuery(PresenceQuery)
    /// A message for an ordered room.
    case publishOrdered(OrderedPublish)
    /// A client waits to be let into an ordered room. The room counts as wanted by this shard from now on, until
    /// ``left(room:client:reason:)`` or ``joinAbandoned(room:)``.
    case joinOrdered(OrderedJoin)
    /// The client that was admitted is in; the same as ``joined(room:member:)`` but for what ``joinOrdered(_:)`` counted.
    case admitted(room: RoomName, member: Member)
    /// A client that waited to be let in is not in: refused, gone, or over a limit.
    case joinAbandoned(room: RoomName)
    /// A client asks for what an ordered room has kept.
    case historyQuery(HistoryQuery)
    /// A message that somebody traces, with the span that publishes it.
    indirect case traced(ServiceContext, HubEvent)
}

/// Whom a `send` is for.
package enum SendTarget: Sendable, Hashable {
    /// Every connection of a user.
    case user(UserID)
    /// One connection.
    case client(ClientID)
}

/// Names one counted delivery on this node. Unique among the shards and the bridge.
package struct DeliveryToken: Sendable, Hashable {
    /// The shard that counts, or -1 for the bridge.
    package let origin: Int
    /// Rises by one with every delivery of that origin.
    package let number: UInt64

    package init(origin: Int, number: UInt64) {
        self.origin = origin
        self.number = number
    }
}

/// A `send` whose sender waits for `ack {"delivered_to": n}`.
package struct PendingSend: Sendable {
    /// The shards of this node report under it.
    package let token: DeliveryToken
    /// Connections on the sender's own shard that have it already.
    package let delivered: Int
    /// How many ``HubEvent/delivered(token:count:)`` of other shards will come.
    package let awaitedShards: Int
    /// Who waits.
    package let replyTo: ReplyAddress

    package init(token: DeliveryToken, delivered: Int, awaitedShards: Int, replyTo: ReplyAddress) {
        self.token = token
        self.delivered = delivered
        self.awaitedShards = awaitedShards
        self.replyTo = replyTo
    }
}

/// A `presence` request on its way to the bridge.
package struct PresenceQuery: Sendable {
    package let room: RoomName
    /// Most members in one answer, 1…1,000.
    package let limit: Int
    /// Where the last page ended: the client id of its last member.
    package let cursor: String?
    package let replyTo: ReplyAddress

    package init(room: RoomName, limit: Int, cursor: String?, replyTo: ReplyAddress) {
        self.room = room
        self.limit = limit
        self.cursor = cursor
        self.replyTo = replyTo
    }
}

/// The client that waits for an answer from the bridge.
package struct ReplyAddress: Sendable {
    package let shard: Int
    package let client: ClientID
    /// What the client called its request; goes back with the answer.
    package let request: RequestID?

    package init(shard: Int, client: ClientID, request: RequestID?) {
        self.shard = shard
        self.client = client
        self.request = request
    }
}

/// What the bridge (or another shard) asks a shard to do, in batches.
package enum ShardCommand: Sendable {
    /// Deliver to the members of a room on this shard.
    case room(RoomName, ServerMessage)
    /// The same, but not to one client.
    case roomExcept(RoomName, ServerMessage, ClientID)
    /// Deliver to the members who asked for presence and room states.
    case observers(RoomName, ServerMessage)
    /// Deliver to every client of this shard.
    case all(ServerMessage)
    /// Deliver to the connections of a user, or to one client; reports a count under the token.
    case send(SendTarget, ServerMessage, DeliveryToken?)
    /// Answer one client.
    case reply(ClientID, ServerMessage)
    /// Answer a client's ``HubEvent/presenceQuery(_:)``; it may ask the next one then.
    case presenceReply(ClientID, ServerMessage)
    /// Let a client into an ordered room: it is a member from here on, and reads `room_joined`, what it missed, then
    /// what comes next.
    case admit(ClientID, OrderedAdmission, RequestID?)
    /// Answer a client's ``HubEvent/joinOrdered(_:)`` with an error.
    case refuseJoin(ClientID, RoomName, RequestError, RequestID?)
    /// Answer a client's ``HubEvent/historyQuery(_:)``; it may ask the next one then.
    case historyReply(ClientID, ServerMessage)
    /// Messages of the other nodes reach this room now, or can't be waited for: joins that wait are answered.
    case roomLive(RoomName)
    /// End connections.
    case disconnect(SendTarget, CloseReason)
    /// End the connections whose token was revoked; `nil` for all revocations that the node knows.
    case revoked(Revocation?)
    /// A message that somebody traces, with the span that brought it here.
    indirect case traced(ServiceContext, ShardCommand)
}

extension ShardCommand {
    /// The command with its message ready to be compressed once for several shards, where it is for several.
    package var compressible: ShardCommand {
        switch self {
        case .room(let room, let message): .room(room, message.compressible)
        case .roomExcept(let room, let message, let id): .roomExcept(room, message.compressible, id)
        case .observers(let room, let message): .observers(room, message.compressible)
        case .all(let message): .all(message.compressible)
        case .send(let target, let message, let token): .send(target, message.compressible, token)
        case .traced(let context, let command): .traced(context, command.compressible)
        case .reply, .presenceReply, .admit, .refuseJoin, .historyReply, .roomLive, .disconnect, .revoked: self
        }
    }
}

/// The hub's way to the other nodes. Implementations only `execute`; they never block or answer.
package protocol HubRelay: Sendable {
    /// Whether a shard's first join of a room is to wait for ``ShardCommand/roomLive(_:)`` with its answer, so that a
    /// client that reads `room_joined` misses nothing that other nodes send from then on. Cheap; from any thread.
    var confirmsRooms: Bool { get }

    /// Whether there are other nodes to relay messages to, or may be. It doesn't change. Cheap; from any thread.
    var relaysMessages: Bool { get }

    /// Takes a batch; called on the loop of the shard.
    func relay(_ events: [HubEvent], fromShard index: Int)
}

extension HubRelay {
    package var relaysMessages: Bool { true }
}

/// A node without a cluster and without presence: for tests of the hub alone.
package struct NoRelay: HubRelay {
    package init() {}
    package var confirmsRooms: Bool { false }
    package var relaysMessages: Bool { false }
    package func relay(_ events: [HubEvent], fromShard index: Int) {}
}
