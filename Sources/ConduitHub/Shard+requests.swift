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
            command = try CommandDecoder.decode(bytes)
        } catch {
            return answer(error.error, to: client, id: error.id, type: error.type)
        }
        do throws(RequestError) {
            switch command.kind {
            case .ping: answer(client) { EventEncoder.writePong(to: command, in: bytes, into: &$0) }
            case .pong: break
            case .echo: answer(client) { EventEncoder.writeEcho(of: command, in: bytes, into: &$0) }
            case .broadcast: try broadcast(command, bytes, client)
            default: try handle(Command(command, copying: bytes), from: client)
            }
        } catch {
            answer(error, to: client, id: command.id(in: bytes), type: command.type(in: bytes))
        }
    }

    /// An `error` event, counted by its code.
    func answer(_ error: RequestError, to client: Client, id: RequestID?, type: String?) {
        statistics.errors[error.code.rawValue, default: 0] += 1
        queue(EventEncoder.error(error, requestType: type, id: id).frame, for: client)
    }

    /// What isn't said with every message: it may keep the request's bytes.
    private func handle(_ command: Command, from client: Client) throws(RequestError) {
        switch command.kind {
        // Those are done in place.
        case .ping, .pong, .echo, .broadcast: break
        case .status: queue(status(of: client, id: command.id).frame, for: client)
        case .joinRoom: try joinRoom(command, client)
        case .leaveRoom: try leaveRoom(command, client)
        case .send: try send(command, client)
        case .presence: try presence(command, client)
        case .history: throw RequestError(.badRequest, "this room keeps no history")
        case .refresh: throw RequestError(.badRequest, "this connection has no token that expires")
        case .custom: try custom(command, client)
        }
    }

    // MARK: Rooms

    private func joinRoom(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.joinRoom()
        let observes = request.presence || client.identity.knowsAllEvents
        switch join(request.room, client, observes: observes, info: request.info) {
        case .joined, .alreadyMember: break
        case .tooManyRooms:
            throw RequestError(.limitExceeded, "a client may be in \(configuration.roomsPerClient) rooms at most")
        case .roomFull: throw RequestError(.limitExceeded, "the room is full")
        }
        if isAwaited(request.room) { return hold(client, until: request.room, command.id?.detached) }
        queue(EventEncoder.roomJoined(request.room, id: command.id).frame, for: client)
    }

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
            let member = Member(
                client: client.id, user: client.identity.user, node: node, joinedAt: wallClock,
                info: info.isEmpty ? client.identity.info?.bytes ?? [] : info)
            tellBridge(.joined(room: room, member: member))
            awaitIfFirst(room)
        }
        return result
    }

    /// Takes a client out of a room; `false` when it was not in.
    func leave(_ room: RoomName, _ client: Client) -> Bool {
        guard let number = rooms.number(of: room), rooms.contains(client.slot, at: number) else { return false }
        outbox.left(client.slot, room: number, isEmpty: rooms.members(at: number).count == 1)
        return rooms.leave(room, client: client.slot)
    }

    // MARK: Messages

    private func broadcast(_ command: CommandTokens, _ bytes: Span<UInt8>, _ client: Client) throws(RequestError) {
        let request = try command.broadcast(in: bytes)
        if request.isForRoom {
            try broadcast(request, bytes, client)
        } else {
            guard client.identity.mayBroadcastToEverybody else {
                throw RequestError(.permissionDenied, "broadcasting to everybody is not granted")
            }
            publishToEverybody(
                EventEncoder.event(for: request, in: bytes), except: request.excludeSelf ? client.slot : nil)
        }
        if command.hasID { answer(client) { EventEncoder.writeAck(of: command, in: bytes, into: &$0) } }
    }

    private func broadcast(
        _ request: BroadcastTokens, _ bytes: Span<UInt8>, _ client: Client
    ) throws(RequestError) {
        let excluded = request.excludeSelf ? client.slot : nil
        // A client mostly sends to one room: its name is compared, not looked up.
        var number: Int32? = client.lastRoom
        if !request.roomIs(in: bytes, { rooms.isNamed(client.lastRoom, $0) }) {
            guard let room = try request.room(in: bytes) else { return }
            number = rooms.number(of: room)
            if number == nil {
                guard client.identity.mayPublishWithoutJoining else { throw Self.notInRoom }
                return publish(EventEncoder.event(for: request, in: bytes), to: room, except: excluded)
            }
        }
        guard let number else { return }
        guard client.identity.mayPublishWithoutJoining || rooms.contains(client.slot, at: number) else {
            throw Self.notInRoom
        }
        client.lastRoom = number
        publish(EventEncoder.event(for: request, in: bytes), toRoomAt: number, except: excluded)
    }

    private static let notInRoom = RequestError(.notInRoom, "join the room to publish to it")

    private func send(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.send()
        let message = EventEncoder.event(type: request.type, payload: request.payload)
        let target: SendTarget =
            switch request.target {
            case .user(let user): .user(user)
            case .client(let id): .client(id)
            }
        send(message, to: target, replyTo: command.id.map { address(of: client, $0) })
    }

    private func presence(_ command: Command, _ client: Client) throws(RequestError) {
        let request = try command.presence()
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

    private func address(of client: Client, _ id: RequestID?) -> ReplyAddress {
        ReplyAddress(shard: index, client: client.id, request: id?.detached)
    }

    private func status(of client: Client, id: RequestID?) -> ServerMessage {
        let info = describe(client)
        let status = ClientStatus(
            client: client.id, user: client.identity.user, node: node, connectedAt: info.connectedAt,
            lastHeartbeat: info.lastHeartbeat, now: info.connectedAt + info.connectionDuration, rooms: info.rooms)
        return EventEncoder.status(status, id: id)
    }
}
