import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// A client that waits to be let into an ordered room.
struct PendingJoin: Hashable {
    let client: ClientID
    let room: RoomName
}

/// What it will be there.
struct PendingMember {
    let observes: Bool
    let info: [UInt8]
    /// An operator has taken it out meanwhile.
    var isKicked = false
}

/// Ordered rooms: nothing is delivered here that the log has not numbered, and nobody is a member whose place in the log
/// isn't known. The bridge answers; a client that waits for it is held, so that its answers keep their order.
extension Shard {
    // MARK: Rights

    /// Whether a message goes by the log.
    ///
    /// - Throws: `permission_denied` or `not_in_room` where the room's policy doesn't let this client publish.
    func isOrdered(_ policy: RoomPolicy, isMember: Bool) throws(RequestError) -> Bool {
        switch policy.publish {
        case .anyone: break
        case .members: guard isMember else { throw Self.notInRoom }
        case .nobody: throw RequestError(.permissionDenied, "clients don't publish to this room")
        }
        return policy.mode == .ordered
    }

    /// A user's inbox is read by that user alone. On a node that asks nobody for a name everybody may, as everywhere.
    func checkInbox(_ room: RoomName, _ client: Client) throws(RequestError) {
        guard hasPolicies, configuration.rooms[room].isInbox else { return }
        let mayRead: Bool
        if let user = client.identity.user {
            let own = try? inbox(of: user)
            mayRead = own == room
        } else {
            mayRead = client.identity.mayReadInboxes
        }
        guard mayRead else { throw RequestError(.permissionDenied, "this is another user's inbox") }
    }

    /// The room in which messages wait for a user; `nil` where users have no inbox.
    func inbox(of user: UserID) throws(RequestError) -> RoomName? {
        guard let inbox = configuration.rooms.inbox else { return nil }
        return try RoomName(checking: "\(inbox):\(user)")
    }

    // MARK: Messages

    func publishOrdered(
        _ request: BroadcastTokens, _ bytes: Span<UInt8>, _ room: RoomName, _ client: Client, _ id: RequestID?
    ) {
        let message = EventEncoder.event(for: request, in: bytes)
        publishOrdered(
            OrderedPublish(
                room: room, json: message.json, key: request.key(in: bytes), version: request.version,
                versionEpoch: request.versionEpoch(in: bytes), excluded: request.excludeSelf ? client.id : nil,
                replyTo: address(of: client, id)))
    }

    /// Hands a message to the log of its room.
    func publishOrdered(_ publish: OrderedPublish) {
        countPublished(to: publish.room)
        owes(publish.replyTo)
        tellBridge(traced(.publishOrdered(publish)))
    }

    func history(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.history()
        try checkName(of: request.room)
        guard configuration.rooms[request.room].mode == .ordered else {
            throw RequestError(.badRequest, "this room keeps no history")
        }
        try checkInbox(request.room, client)
        try checkHistory(request.room, client)
        guard client.identity.mayPublishWithoutJoining || rooms.contains(client.slot, in: request.room) else {
            throw RequestError(.notInRoom, "join the room to read its history")
        }
        guard !client.asksHistory else {
            throw RequestError(.rateLimited, "one history request at a time: wait for the answer to the last one")
        }
        client.asksHistory = true
        tellBridge(
            .historyQuery(
                HistoryQuery(
                    room: request.room, since: request.since, limit: request.limit,
                    replyTo: address(of: client, command.id))))
    }

    // MARK: Members

    func joinOrdered(
        _ room: RoomName, _ client: Client, recover: RecoveryPoint?, observes: Bool, info: [UInt8], _ id: RequestID?
    ) {
        pendingJoins[PendingJoin(client: client.id, room: room)] = PendingMember(observes: observes, info: info)
        client.holds += 1
        stopReading(client)
        tellBridge(.joinOrdered(OrderedJoin(room: room, recover: recover, replyTo: address(of: client, id))))
    }

    /// The room's place in its log is known: from here on the client gets what comes.
    func admit(_ id: ClientID, _ admission: OrderedAdmission, _ request: RequestID?) {
        let room = admission.room
        guard let (client, pending) = pendingJoin(id, room) else { return tellBridge(.joinAbandoned(room: room)) }
        defer { release(client) }
        guard !pending.isKicked else { return abandon(room, client, Self.kicked, request) }
        let wallClock = WallClock.milliseconds
        switch rooms.join(room, client: client.slot, observes: pending.observes, now: wallClock) {
        case .joined:
            if let number = rooms.number(of: room) { outbox.joined(client.slot, room: number) }
            tellBridge(.admitted(room: room, member: member(client, info: pending.info, joinedAt: wallClock)))
            let joined = EventEncoder.roomJoined(
                room, epoch: admission.epoch, offset: admission.offset, recovered: admission.recovered,
                reason: admission.reason, id: request)
            queue(joined.frame, for: client)
            for message in admission.replay { queue(message, for: client) }
        case .alreadyMember:
            // It has had everything; a replay now would be out of order.
            tellBridge(.joinAbandoned(room: room))
            let joined = EventEncoder.roomJoined(
                room, epoch: admission.epoch, offset: admission.offset, recovered: false, reason: nil, id: request)
            queue(joined.frame, for: client)
        case .tooManyRooms: abandon(room, client, tooManyRooms, request)
        case .roomFull: abandon(room, client, Self.roomFull, request)
        }
    }

    /// An operator takes a client out of a room that it is about to get into: `false` when it isn't.
    func refuseWhenAdmitted(_ room: RoomName, _ id: ClientID) -> Bool {
        let join = PendingJoin(client: id, room: room)
        guard pendingJoins[join]?.isKicked == false else { return false }
        pendingJoins[join]?.isKicked = true
        return true
    }

    private static let kicked = RequestError(.permissionDenied, "an operator took you out of this room")

    func refuseJoin(_ id: ClientID, _ room: RoomName, _ error: RequestError, _ request: RequestID?) {
        guard let (client, _) = pendingJoin(id, room) else { return tellBridge(.joinAbandoned(room: room)) }
        abandon(room, client, error, request)
        release(client)
    }

    private func abandon(_ room: RoomName, _ client: Client, _ error: RequestError, _ request: RequestID?) {
        tellBridge(.joinAbandoned(room: room))
        answer(error, to: client, id: request, type: CommandKind.joinRoom.rawValue)
    }

    /// The client that waits, if it is still there to be let in.
    private func pendingJoin(_ id: ClientID, _ room: RoomName) -> (client: Client, pending: PendingMember)? {
        let pending = pendingJoins.removeValue(forKey: PendingJoin(client: id, room: room))
        guard let client = client(id) else { return nil }
        guard let pending, client.isOpen else {
            release(client)
            return nil
        }
        return (client, pending)
    }

    private func release(_ client: Client) {
        client.holds -= 1
        startReading(client)
    }
}
