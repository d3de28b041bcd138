import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore

/// Start, stop and what is asked of a shard as a whole.
extension Shard {
    func start(neighbours: [ShardRef]) {
        self.neighbours = neighbours
        crossShard = Array(repeating: [], count: neighbours.count)
        let yield = LoopYield(shard: self) { $0.goOn() }
        yield.open()
        self.yield = yield
        startSweeping()
    }

    /// No new clients; every open one is asked to come back elsewhere and closed.
    func beginShutdown(_ reason: CloseReason, spreadMilliseconds: Int64) {
        isStopping = true
        endShedding()
        for case let client? in clients.clients where client.isOpen {
            if client.identity.knowsAllEvents {
                let delay = Int64.random(in: 0...max(0, min(spreadMilliseconds, 5_000)), using: &generator)
                let event = EventEncoder.reconnect(afterMilliseconds: Int(delay), reason: .drain)
                queue(event.frame, for: client)
            }
            statistics.shed[ReconnectReason.drain.rawValue, default: 0] += 1
            close(client, reason, isSentAway: true)
        }
    }

    /// Completes when the last client is gone, or at the deadline with the number of those that were cut then.
    func whenEmpty(within deadline: TimeAmount) -> EventLoopFuture<Int> {
        let promise = eventLoop.makePromise(of: Int.self)
        waitUntilEmpty(until: .now() + deadline, promise)
        return promise.futureResult
    }

    private func waitUntilEmpty(until deadline: NIODeadline, _ promise: EventLoopPromise<Int>) {
        let rest = clients.clients.compactMap(\.self)
        if rest.isEmpty || eventLoop.now >= deadline {
            sweeper?.cancel()
            sweeper = nil
            for client in rest { client.context?.close(promise: nil) }
            return promise.succeed(rest.count)
        }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) {
            self.waitUntilEmpty(until: deadline, promise)
        }
    }

    struct Snapshot: Sendable {
        let statistics: HubStatistics
        let rooms: Set<RoomName>
        let users: Set<UserID>
    }

    func snapshot() -> Snapshot {
        var copy = statistics
        copy.memberships = rooms.membershipCount
        if let compressor { copy.add(compressor.statistics) }
        for case let client? in stalled.map({ clients[$0] }) {
            let bytes = waiting(for: client)
            guard bytes > 0 else { continue }
            copy.stalledClients += 1
            copy.pendingBytes += bytes
            copy.largestPendingBytes = max(copy.largestPendingBytes, bytes)
        }
        return Snapshot(statistics: copy, rooms: Set(rooms.roomNames), users: Set(users.keys))
    }

    // MARK: Rooms

    func keepRoom(_ room: RoomName) { rooms.keep(room, now: WallClock.milliseconds) }

    func deleteRoom(_ room: RoomName) -> Bool {
        guard rooms.exists(room) else { return false }
        // Its members still get what was published before.
        if let number = rooms.number(of: room) { outbox.emptied(number) }
        for slot in rooms.delete(room) {
            guard let client = clients[slot] else { continue }
            forgetMembership(of: client, in: room)
            tellBridge(.left(room: room, client: client.id, reason: .left))
            queue(EventEncoder.roomLeft(room, id: nil).frame, for: client)
        }
        return true
    }

    func statistics(of room: RoomName) -> RoomStatistics? {
        rooms.createdAt(room).map {
            RoomStatistics(room: room, members: rooms.members(of: room).count, createdAt: $0)
        }
    }

    func roomStatistics() -> [RoomStatistics] { rooms.roomNames.compactMap { statistics(of: $0) } }
}
