import ConduitCore
import ConduitWire
import NIOCore

/// A room whose first member here has joined and whose messages from other nodes don't come yet.
struct AwaitedRoom {
    /// Since when (monotonic, ms).
    let since: Int64
    /// Who waits for `room_joined`.
    var waiters: [(client: ClientID, request: RequestID?)] = []
}

/// Joins that are answered when the room is subscribed: about one round trip to Redis, once a room and shard.
///
/// Meanwhile the client is held: what it sends waits unread, so that its answers keep their order.
extension Shard {
    /// A Redis that doesn't confirm by then is not waited for, in milliseconds.
    private static let patience: Int64 = 1_000

    func isAwaited(_ room: RoomName) -> Bool { !awaitedRooms.isEmpty && awaitedRooms[room] != nil }

    /// The room has its first member on this shard: the bridge was told in this turn and will say when it is live.
    func awaitIfFirst(_ room: RoomName) {
        // Somebody may wait already whom the application has taken out again; it is answered with the others.
        guard relay.confirmsRooms, rooms.members(of: room).count == 1, awaitedRooms[room] == nil else { return }
        awaitedRooms[room] = AwaitedRoom(since: now)
    }

    func hold(_ client: Client, until room: RoomName, _ request: RequestID?) {
        awaitedRooms[room]?.waiters.append((client.id, request))
        client.holds += 1
        stopReading(client)
    }

    func confirmed(_ room: RoomName) {
        guard let awaited = awaitedRooms.removeValue(forKey: room) else { return }
        for waiter in awaited.waiters {
            guard let client = client(waiter.client) else { continue }
            queue(EventEncoder.roomJoined(room, id: waiter.request).frame, for: client)
            client.holds -= 1
            startReading(client)
        }
    }

    /// Answers joins that have waited for too long.
    func sweepAwaited(_ now: Int64) {
        guard !awaitedRooms.isEmpty else { return }
        for (room, awaited) in awaitedRooms where now - awaited.since >= Self.patience { confirmed(room) }
    }
}
