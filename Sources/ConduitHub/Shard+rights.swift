import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// Rights: what a client's token lets it do, for how long, and where the server puts it.
extension Shard {
    /// New tokens may be refused so often, one after the other.
    private static let mostRefusals = 3
    /// How long a new token is waited for that came in time, in milliseconds, beyond the grace.
    private static let refreshPatience: Int64 = 5_000

    /// What a client's requests are to be checked against; `nil` for nothing, which is the usual case without tokens.
    func grants(of identity: Identity) -> ClientGrants? {
        guard identity.rights != nil || identity.expiresAt != nil || asksToJoin || asksToPublish else { return nil }
        let own = identity.user.flatMap { try? self.inbox(of: $0) }
        return ClientGrants(identity, inbox: own, now: now, wallClock: WallClock.milliseconds)
    }

    /// Kinds of requests that a client with an expired token can't make. (`broadcast` is looked at elsewhere.)
    static func needsToken(_ kind: CommandKind) -> Bool {
        switch kind {
        case .joinRoom, .broadcast, .send, .presence, .history, .custom: true
        case .ping, .pong, .echo, .status, .leaveRoom, .refresh: false
        }
    }

    func checkTime(_ grants: ClientGrants) throws(RequestError) {
        guard now < grants.expires else {
            throw RequestError(.tokenExpired, "the token has run out: send another one with refresh")
        }
    }

    /// Whether the client has the rights that its request needs. Returns whether it gets `presence_diff` and `room_state`.
    func checkJoin(_ request: JoinRoomRequest, _ client: Client) throws(RequestError) -> Bool {
        let observes = request.presence || client.identity.knowsAllEvents
        guard let grants = client.grants else { return observes }
        let granted = grants.rights(in: request.room)
        guard granted.contains(.join) else { throw Self.denied("joining this room is not granted") }
        if request.recover != nil, !granted.contains(.history), configuration.rooms[request.room].mode == .ordered {
            throw Self.denied("the history of this room is not granted: join without recover")
        }
        guard !granted.contains(.presence) else { return observes }
        guard !request.presence else { throw Self.denied("presence of this room is not granted") }
        return false
    }

    /// Whether a client that is put into a room gets `presence_diff` and `room_state` there.
    func observes(_ room: RoomName, _ client: Client) -> Bool {
        guard client.identity.knowsAllEvents else { return false }
        return client.grants.map { $0.rights(in: room).contains(.presence) } ?? true
    }

    func checkPresence(_ room: RoomName, _ client: Client) throws(RequestError) {
        guard let grants = client.grants, !grants.rights(in: room).contains(.presence) else { return }
        throw Self.denied("presence of this room is not granted")
    }

    func checkHistory(_ room: RoomName, _ client: Client) throws(RequestError) {
        guard let grants = client.grants, !grants.rights(in: room).contains(.history) else { return }
        throw Self.denied("the history of this room is not granted")
    }

    /// Whether a client whose requests are checked may publish to a room of this shard; `false` when somebody is asked
    /// and the request will be looked at again.
    func mayPublish(
        toRoomAt number: Int32, _ grants: ClientGrants, _ client: Client, _ bytes: Span<UInt8>
    ) throws(RequestError) -> Bool {
        // Before anybody is asked for nothing.
        guard client.identity.mayPublishWithoutJoining || isMember(client, at: number) else { throw Self.notInRoom }
        guard let room = rooms.name(at: number) else { return true }
        return try mayPublish(to: room, grants, client, bytes)
    }

    /// The same for any room, of a client that may publish without being in it.
    func mayPublish(
        to room: RoomName, _ grants: ClientGrants, _ client: Client, _ bytes: Span<UInt8>
    ) throws(RequestError) -> Bool {
        try checkTime(grants)
        guard grants.rights(in: room).contains(.publish) else {
            throw Self.denied("publishing to this room is not granted")
        }
        guard asksToPublish else { return true }
        switch grants.answer(for: room, now: now) {
        case .yes: return true
        case .no: throw Self.denied("publishing to this room is not allowed")
        case .unknown:
            ask(.publish, room, client, for: .publish(room, ByteBuffer(copying: bytes)))
            return false
        }
    }

    static func denied(_ message: String) -> RequestError { RequestError(.permissionDenied, message) }

    // MARK: Rooms of the server

    /// Puts a client that has just come into the rooms that its identity names, before anything that it sends.
    func joinOwnRooms(_ client: Client) {
        guard client.isOpen else { return }
        var seen: Set<RoomName> = []
        for room in client.identity.rooms where seen.insert(room).inserted {
            guard seen.count <= configuration.roomsPerClient else {
                answer(tooManyRooms, to: client, id: nil, type: CommandKind.joinRoom.rawValue)
                break
            }
            guard joinByServer(room, client) == .roomFull else { continue }
            answer(Self.roomFull, to: client, id: nil, type: CommandKind.joinRoom.rawValue)
        }
        guard client.holds > 0 else { return }
        // Whoever hands the channel over may let it read as its last step.
        eventLoop.assumeIsolated().execute { if client.holds > 0 { self.stopReading(client) } }
    }

    /// The application has put a client into a room: rights are not asked about it.
    func noteServerRoom(_ room: RoomName, _ client: Client) {
        var noted = client.serverRooms.take() ?? []
        // Joins that were refused later leave traces.
        if noted.count > configuration.roomsPerClient { noted.formIntersection(rooms.roomNames(of: client.slot)) }
        noted.insert(room)
        client.serverRooms = noted
    }

    /// A client leaves a room: nothing of it is remembered.
    func forgetMembership(of client: Client, in room: RoomName) {
        client.grants?.left(room)
        client.serverRooms?.remove(room)
    }

    // MARK: The end of a token

    /// Whether a client is to be closed because its token has run out and no other one came.
    func hasEnded(_ client: Client, _ now: Int64) -> Bool {
        guard let end = client.end(configuration), now >= end else { return false }
        // One came in time and is being looked at.
        return client.refreshing == 0 || now >= end + Self.refreshPatience
    }

    func refresh(_ command: Command, _ client: Client) throws(RequestError) {
        guard let hook = hooks.refresh else {
            throw RequestError(.badRequest, "this connection has no token that expires")
        }
        let token = try command.refreshToken()
        guard client.refreshing == 0 else {
            throw RequestError(.rateLimited, "one refresh at a time: wait for the answer to the last one")
        }
        let number = nextQuestion()
        let home = neighbours[index]
        let current = client.identity
        let task = Task {
            let outcome = await Shard.identity(of: token, current, hook)
            home.execute { $0.refreshed(number, outcome) }
        }
        client.refreshing = number
        questions[number] = PendingQuestion(
            client: client.id, since: now, purpose: .refresh(command.id?.detached), task: task)
    }

    private static func identity(
        of token: String, _ current: Identity, _ hook: @Sendable (String, Identity) async throws -> Identity
    ) async -> Result<Identity, RequestError> {
        do {
            return .success(try await hook(token, current))
        } catch let error as RequestError {
            return .failure(error)
        } catch {
            return .failure(denied("the token was refused"))
        }
    }

    /// Somebody has said who a client is now, or that its new token is not good.
    func refreshed(_ number: UInt64, _ outcome: Result<Identity, RequestError>) {
        guard let question = questions[number], case .refresh(let id) = question.purpose else { return }
        guard let client = client(question.client) else { return }
        // A join is under way that the old token has let: it is done first.
        guard client.holds == 0 else {
            eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) { self.refreshed(number, outcome) }
            return
        }
        questions[number] = nil
        client.refreshing = 0
        guard client.isOpen else { return }
        beginTurn()
        do throws(RequestError) {
            let identity = try outcome.get()
            guard identity.user == client.identity.user else { throw Self.denied("the token is another user's") }
            guard !revocations.isRevoked(identity) else { throw Self.denied("the token was revoked") }
            if let time = identity.isTakenUntil, time <= WallClock.milliseconds {
                throw RequestError(.tokenExpired, "the token has run out")
            }
            client.refusals = 0
            replaceIdentity(of: client, with: identity)
            queue(EventEncoder.refreshed(expiresAt: identity.expiresAt, id: id).frame, for: client)
            leaveWhatIsNotGranted(client)
        } catch {
            refuseToken(of: client, error, id)
        }
    }

    private func replaceIdentity(of client: Client, with identity: Identity) {
        var identity = identity
        identity.subprotocol = client.identity.subprotocol
        client.identity = identity
        client.grants = grants(of: identity)
        clients.noteToken(of: client)
        clients.look(at: client, by: client.nextDue(configuration))
    }

    private func refuseToken(of client: Client, _ error: RequestError, _ id: RequestID?) {
        answer(error, to: client, id: id, type: CommandKind.refresh.rawValue)
        switch error.code {
        case .unavailable, .internal, .rateLimited: return
        default: break
        }
        client.refusals += 1
        let isExpired = client.grants.map { now >= $0.expires } ?? false
        if isExpired || client.refusals >= Self.mostRefusals { close(client, .invalidToken) }
    }

    /// Takes a client out of the rooms that its new token doesn't let it be in, and tells it nothing of members where it
    /// doesn't let it know them.
    private func leaveWhatIsNotGranted(_ client: Client) {
        guard let grants = client.grants else { return }
        for room in rooms.roomNames(of: client.slot) {
            let granted = grants.rights(in: room)
            let isServers = client.serverRooms?.contains(room) ?? false
            if !granted.contains(.join), !isServers {
                guard leave(room, client) else { continue }
                tellBridge(.left(room: room, client: client.id, reason: .left))
                queue(EventEncoder.roomLeft(room, id: nil).frame, for: client)
            } else if !granted.contains(.presence) {
                _ = rooms.join(room, client: client.slot, observes: false, now: WallClock.milliseconds)
            }
        }
    }

    // MARK: Revocations

    /// Ends the connections whose token was revoked; `nil` looks at all clients.
    func closeRevoked(_ revocation: Revocation?) {
        let concerned: [Client] =
            switch revocation?.target {
            case .user(let user): (users[user] ?? []).compactMap { clients[$0] } + lateClients(of: .user(user))
            case .token(let id): clients.clients(withToken: id)
            case nil: clients.clients.compactMap(\.self)
            }
        for client in concerned where client.isOpen || client.lateRooms != nil {
            // Asked in any case: a token that lives longer lengthens its revocation.
            let isRevoked = revocations.isRevoked(client.identity)
            if isRevoked || revocation?.concerns(client.identity) ?? false { close(client, .invalidToken) }
        }
    }
}

extension Revocation {
    /// Whether it is about the token of an identity.
    fileprivate func concerns(_ identity: Identity) -> Bool {
        switch target {
        case .user(let user): identity.user == user && (identity.issuedNotBefore.map { $0 <= revokedAt } ?? true)
        case .token(let id): identity.tokenID == id
        }
    }
}
