import ConduitAdmin
import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitWire

// What this node learns by asking the others: see `Bridge+survey.swift`.
extension AdminView {
    func rooms(_ search: RoomSearch) async throws(RequestError) -> AdminRooms {
        let outcome = try await bridge.survey(.rooms(search))
        let page = outcome.rooms(search)
        let rows = page.rows.map { found in
            AdminRooms.Row(
                room: found.place.room, members: found.members, mode: mode(of: found.place.room), nodes: found.nodes)
        }
        return AdminRooms(rows: rows, cursor: page.next?.cursor, unreachable: outcome.unreachable)
    }

    func room(_ room: RoomName) async throws(RequestError) -> AdminRoom {
        let isOrdered = mode(of: room) == .ordered && configuration.cluster.redis != nil
        async let asked = isOrdered ? bridge.log(of: room, limit: 0) : nil
        let outcome = try await bridge.survey(.room(room))
        let log = await asked
        var unreachable = outcome.unreachable
        if isOrdered, log == nil, !unreachable.contains("redis") { unreachable.append("redis") }
        let hasLog = log.map { !$0.epoch.isEmpty } ?? false
        return AdminRoom(
            room: room, found: outcome.members(), mode: mode(of: room), epoch: hasLog ? log?.epoch : nil,
            offset: hasLog ? log?.offset : nil, unreachable: unreachable)
    }

    func history(
        of room: RoomName, since: RecoveryPoint?, limit: Int
    ) async throws(RequestError) -> AdminHistory {
        guard mode(of: room) == .ordered else { throw RequestError(.badRequest, "this room keeps no history") }
        var since = since
        if let asked = since, asked.epoch.isEmpty {
            guard let top = await bridge.log(of: room, limit: 0) else { throw Self.noLog }
            since = RecoveryPoint(epoch: top.epoch, offset: asked.offset)
        }
        guard let log = await bridge.log(of: room, since: since, limit: limit) else { throw Self.noLog }
        return AdminHistory(room: room, log: log)
    }

    private static let noLog = RequestError(.unavailable, "the room's log can't be read now")

    func clients(_ search: ClientSearch, on node: NodeID?) async throws(RequestError) -> AdminClients {
        let outcome = try await bridge.survey(.clients(search), of: node)
        let page = outcome.clients(search)
        return AdminClients(rows: page.rows, cursor: page.next?.rawValue, unreachable: outcome.unreachable)
    }

    func client(_ id: ClientID) async throws(RequestError) -> AdminClients {
        // Its id names the node that has it.
        let outcome = try await bridge.survey(.client(id), of: id.node)
        return AdminClients(rows: outcome.client().map { [$0] } ?? [], unreachable: outcome.unreachable)
    }

    func disconnect(_ target: AdminTarget) async throws(RequestError) -> AdminReceipt {
        let (target, holder) = try aim(target)
        return receipt(try await bridge.survey(.disconnect(target), of: holder))
    }

    func kick(_ target: AdminTarget, from room: RoomName) async throws(RequestError) -> AdminReceipt {
        let (target, holder) = try aim(target)
        return receipt(try await bridge.survey(.kick(target, room), of: holder))
    }

    private func receipt(_ outcome: SurveyOutcome) -> AdminReceipt {
        AdminReceipt(count: outcome.count, unreachable: outcome.unreachable)
    }

    /// Whom a command concerns, and the only node that can have it, where one is named.
    private func aim(_ target: AdminTarget) throws(RequestError) -> (ControlMessage.Target, NodeID?) {
        switch target {
        case .user(let user): (.user(user), nil)
        case .client(let client): (.client(client), client.node)
        case .room, .everybody: throw RequestError(.badRequest, "give a user or a client")
        }
    }

    private func mode(of room: RoomName) -> RoomPolicy.Mode { configuration.hub.rooms[room].mode }
}
