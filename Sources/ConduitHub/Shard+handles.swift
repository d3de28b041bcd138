import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// What ``ClientHandle`` asks for, on the shard's loop.
extension Shard {
    func joinRoom(_ room: RoomName, client id: ClientID) -> RoomTable.JoinResult? {
        guard let client = client(id), client.isOpen else { return nil }
        let result = joinByServer(room, client)
        if result == .joined, hooks.refresh != nil { noteServerRoom(room, client) }
        return result
    }

    /// Puts a client into a room, whatever its rights, and tells it.
    func joinByServer(_ room: RoomName, _ client: Client) -> RoomTable.JoinResult {
        let observes = observes(room, client)
        if hasPolicies, configuration.rooms[room].mode == .ordered {
            let isPending = pendingJoins[PendingJoin(client: client.id, room: room)] != nil
            if isPending || rooms.contains(client.slot, in: room) { return .alreadyMember }
            joinOrdered(room, client, recover: nil, observes: observes, info: [], nil)
            return .joined
        }
        let result = join(room, client, observes: observes, info: [])
        if result == .joined {
            if isAwaited(room) {
                hold(client, until: room, nil)
            } else {
                queue(EventEncoder.roomJoined(room, id: nil).frame, for: client)
            }
        }
        return result
    }

    func leaveRoom(_ room: RoomName, client id: ClientID) -> Bool {
        guard let client = client(id) else { return false }
        // Told to go elsewhere, it is no member any more, but publishes as one.
        client.lateRooms?.remove(room)
        guard leave(room, client) else { return false }
        tellBridge(.left(room: room, client: id, reason: .left))
        queue(EventEncoder.roomLeft(room, id: nil).frame, for: client)
        return true
    }

    func roomNames(of id: ClientID) -> [RoomName] { client(id).map { rooms.roomNames(of: $0.slot) } ?? [] }

    func sendEvent(_ type: String, _ data: RawJSON, to id: ClientID) {
        guard let client = client(id) else { return drop("client_gone") }
        queue(EventEncoder.envelope(type: type, data: data.buffer).frame, for: client)
    }

    func setMetadata(_ key: String, to value: String?, client id: ClientID) -> Bool {
        guard let client = client(id) else { return false }
        var metadata = client.metadata.take() ?? [:]
        let fits = value == nil || metadata[key] != nil || metadata.count < configuration.metadataEntries
        if fits { metadata[key] = value }
        client.metadata = metadata.isEmpty ? nil : metadata
        return fits
    }

    func info(of id: ClientID) -> ClientInfo? { client(id).map(describe) }

    func describe(_ client: Client) -> ClientInfo {
        let now = self.now
        return ClientInfo(
            id: client.id, user: client.identity.user, connectedAt: client.connectedAt,
            connectionDuration: now - client.connectedMonotonic,
            lastHeartbeat: WallClock.milliseconds - (now - client.lastSeen),
            rooms: rooms.roomNames(of: client.slot).sorted { $0.rawValue < $1.rawValue },
            metadata: client.metadata ?? [:], pendingBytes: waiting(for: client))
    }
}
