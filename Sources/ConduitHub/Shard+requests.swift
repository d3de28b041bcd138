import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// The built-in message types. What this shard answers itself keeps the order of its requests; a counted `send`,
/// `presence` and the application's handlers answer when they have the answer, and `id` tells what it belongs to.
extension Shard {
    /// One text message of a client: decoded once, in place, answered in order.
    func handle(_ bytes: Span<UInt8>, from client: Client) {
        let command: CommandTokens
        do throws(CommandError) {
            command = try CommandDecoder.decode(bytes, maximumDepth: configuration.jsonDepth)
        } catch {
            return answer(error.error, to: client, id: error.id, type: error.type)
        }
        do throws(RequestError) {
            try carryOut(command, bytes, client)
        } catch {
            answer(error, to: client, id: command.id(in: bytes), type: command.type(in: bytes))
        }
    }

    @inline(__always)
    func carryOut(_ command: CommandTokens, _ bytes: Span<UInt8>, _ client: Client) throws(RequestError) {
        switch command.kind {
        case .ping: answer(client) { EventEncoder.writePong(to: command, in: bytes, into: &$0) }
        case .pong: break
        case .echo: answer(client) { EventEncoder.writeEcho(of: command, in: bytes, into: &$0) }
        case .broadcast where isTracing:
            try publishTraced(command, bytes, client) { () throws(RequestError) in
                try broadcast(command, bytes, client)
            }
        case .broadcast: try broadcast(command, bytes, client)
        case .send where isTracing:
            try publishTraced(command, bytes, client) { () throws(RequestError) in
                try handle(Command(command, copying: bytes), from: client)
            }
        default: try handle(Command(command, copying: bytes), from: client)
        }
    }

    /// An `error` event, counted by its code.
    func answer(_ error: RequestError, to client: Client, id: RequestID?, type: String?) {
        statistics.errors[error.code.rawValue, default: 0] += 1
        if let limit = error.limit { statistics.count(limit) }
        queue(EventEncoder.error(error, requestType: type, id: id).frame, for: client)
    }

    /// What isn't said with every message: it may keep the request's bytes.
    private func handle(_ command: Command, from client: Client) throws(RequestError) {
        if let grants = client.grants, Self.needsToken(command.kind) { try checkTime(grants) }
        switch command.kind {
        // Those are done in place.
        case .ping, .pong, .echo, .broadcast: break
        case .status: queue(status(of: client, id: command.id).frame, for: client)
        case .joinRoom: try joinRoom(command, client)
        case .leaveRoom: try leaveRoom(command, client)
        case .send: try send(command, client)
        case .presence: try presence(command, client)
        case .history: try history(command, client)
        case .refresh: try refresh(command, client)
        case .custom: try custom(command, client)
        }
    }

    // MARK: Rooms

    private func joinRoom(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.joinRoom()
        try checkName(of: request.room)
        let observes = try checkJoin(request, client)
        let id = command.id
        if asksToJoin, mustAsk(request.room, client) {
            return ask(.join, request.room, client, for: .join(request, observes: observes, id?.detached))
        }
        try joinRoom(request, client, observes: observes, id)
    }

    /// What is left when nobody has anything against it.
    func joinRoom(
        _ request: JoinRoomRequest, _ client: Client, observes: Bool, _ id: RequestID?
    ) throws(RequestError) {
        if hasPolicies, configuration.rooms[request.room].mode == .ordered {
            try checkInbox(request.room, client)
            return joinOrdered(
                request.room, client, recover: request.recover, observes: observes, info: request.info, id?.detached)
        }
        switch join(request.room, client, observes: observes, info: request.info) {
        case .joined, .alreadyMember: break
        case .tooManyRooms: throw tooManyRooms
        case .roomFull: throw Self.roomFull
        }
        if isAwaited(request.room) { return hold(client, until: request.room, id?.detached) }
        queue(EventEncoder.roomJoined(request.room, id: id).frame, for: client)
    }

    var tooManyRooms: RequestError {
        RequestError(
            .limitExceeded, "a client may be in \(configuration.roomsPerClient) rooms at most", limit: .roomsPerClient)
    }

    static let roomFull = RequestError(.limitExceeded, "the room is full", limit: .membersPerRoom)

    private func leaveRoom(_ command: Command, _ client: Client) throws(RequestError) {
        let room = try command.leaveRoom()
        guard leave(room, client) else {
            throw RequestError(.notInRoom, "not a member of this room")
        }
        tellBridge(.left(room: room, client: client.id, reason: .left))
        queue(EventEncoder.roomLeft(room, id: command.id).frame, for: client)
    }

    func join(
        _ room: RoomName, _ client: Client, observes: Bool, info: [UInt8]
    ) -> RoomTable.JoinResult {
        let wallClock = WallClock.milliseconds
        let result = rooms.join(room, client: client.slot, observes: observes, now: wallClock)
        if result == .joined {
            if let number = rooms.number(of: room) { outbox.joined(client.slot, room: number) }
            tellBridge(.joined(room: room, member: member(client, info: info, joinedAt: wallClock)))
            awaitIfFirst(room)
        }
        return result
    }

    func member(_ client: Client, info: [UInt8], joinedAt: Int64) -> Member {
        Member(
            client: client.id, user: client.identity.user, node: node, joinedAt: joinedAt,
            info: info.isEmpty ? client.identity.info?.bytes ?? [] : info)
    }

    /// Takes a client out of a room; `false` when it was not in.
    func leave(_ room: RoomName, _ client: Client) -> Bool {
        guard let number = rooms.number(of: room), rooms.contains(client.slot, at: number) else { return false }
        outbox.left(client.slot, room: number, isEmpty: rooms.members(at: number).count == 1)
        forgetMembership(of: client, in: room)
        return rooms.leave(room, client: client.slot)
    }

    // MARK: Messages

    private func broadcast(_ command: CommandTokens, _ bytes: Span<UInt8>, _ client: Client) throws(RequestError) {
        let request = try command.broadcast(in: bytes)
        if request.isForRoom {
            if try broadcast(request, command, bytes, client) { return }
        } else {
            if let grants = client.grants { try checkTime(grants) }
            guard client.identity.mayBroadcastToEverybody else {
                throw RequestError(.permissionDenied, "broadcasting to everybody is not granted")
            }
            publishToEverybody(
                EventEncoder.event(for: request, in: bytes), except: request.excludeSelf ? client.slot : nil)
        }
        if command.hasID { answer(client) { EventEncoder.writeAck(of: command, in: bytes, into: &$0) } }
    }

    /// Returns whether the answer comes from elsewhere: from the bridge, or when somebody has said that it may.
    private func broadcast(
        _ request: BroadcastTokens, _ command: CommandTokens, _ bytes: Span<UInt8>, _ client: Client
    ) throws(RequestError) -> Bool {
        let excluded = request.excludeSelf ? client.slot : nil
        // A client mostly sends to one room: its name is compared, not looked up.
        var number: Int32? = client.lastRoom
        if !request.roomIs(in: bytes, { rooms.isNamed(client.lastRoom, $0) }) {
            guard let room = try request.room(in: bytes) else { return false }
            try checkName(of: room)
            number = rooms.number(of: room)
            if number == nil {
                let wasMember = client.lateRooms?.contains(room) ?? false
                guard client.identity.mayPublishWithoutJoining || wasMember else { throw Self.notInRoom }
                if let grants = client.grants, try !mayPublish(to: room, grants, client, bytes) { return true }
                if hasPolicies, try isOrdered(configuration.rooms[room], isMember: wasMember) {
                    publishOrdered(request, bytes, room, client, command.id(in: bytes))
                    return true
                }
                let withKey = hasPolicies && configuration.rooms[room].slow == .conflate
                publish(EventEncoder.event(for: request, in: bytes, withKey: withKey), to: room, except: excluded)
                return false
            }
        }
        guard let number else { return false }
        var withKey = false
        if let grants = client.grants, try !mayPublish(toRoomAt: number, grants, client, bytes) { return true }
        if hasPolicies, let policy = rooms.policy(at: number) {
            let isMember = self.isMember(client, at: number)
            guard isMember || client.identity.mayPublishWithoutJoining else { throw Self.notInRoom }
            if try isOrdered(policy, isMember: isMember), let room = rooms.name(at: number) {
                publishOrdered(request, bytes, room, client, command.id(in: bytes))
                return true
            }
            withKey = policy.slow == .conflate
        }
        guard client.identity.mayPublishWithoutJoining || isMember(client, at: number) else { throw Self.notInRoom }
        client.lastRoom = number
        publish(EventEncoder.event(for: request, in: bytes, withKey: withKey), toRoomAt: number, except: excluded)
        return false
    }

    static let notInRoom = RequestError(.notInRoom, "join the room to publish to it")

    private func send(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.send()
        guard client.identity.maySend else { throw Self.denied("sending to users and clients is not granted") }
        if hasPolicies, case .user(let user) = request.target, let room = try inbox(of: user) {
            try checkName(of: room)
            guard configuration.rooms[room].publish != .nobody else {
                throw Self.denied("clients don't publish to inboxes")
            }
            let message = EventEncoder.event(type: request.type, payload: request.payload, room: room)
            let publish = OrderedPublish(
                room: room, json: message.json, replyTo: address(of: client, command.id), isInbox: true)
            return publishOrdered(publish)
        }
        let message = EventEncoder.event(type: request.type, payload: request.payload)
        let target: SendTarget =
            switch request.target {
            case .user(let user): .user(user)
            case .client(let id): .client(id)
            }
        send(message, to: target, replyTo: client.isOpen ? command.id.map { address(of: client, $0) } : nil)
    }

    private func presence(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.presence()
        try checkName(of: request.room)
        try checkInbox(request.room, client)
        try checkPresence(request.room, client)
        guard !client.asksPresence else {
            throw RequestError(.rateLimited, "one presence request at a time: wait for the answer to the last one")
        }
        client.asksPresence = true
        tellBridge(
            .presenceQuery(
                PresenceQuery(
                    room: request.room, limit: request.limit, cursor: request.cursor,
                    replyTo: address(of: client, command.id))))
    }

    /// Where the answer goes; behind its close frame a client gets none.
    func address(of client: Client, _ id: RequestID?) -> ReplyAddress {
        ReplyAddress(shard: index, client: client.id, request: client.isOpen ? id?.detached : nil)
    }

    private func status(of client: Client, id: RequestID?) -> ServerMessage {
        let info = describe(client)
        let status = ClientStatus(
            client: client.id, user: client.identity.user, node: node, connectedAt: info.connectedAt,
            lastHeartbeat: info.lastHeartbeat, now: info.connectedAt + info.connectionDuration, rooms: info.rooms)
        return EventEncoder.status(status, id: id)
    }
}
