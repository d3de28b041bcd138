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
        trafficSince = now
        startSweeping()
    }

    /// No new clients; every open one is asked to come back elsewhere and closed.
    func beginShutdown(_ reason: CloseReason, spreadMilliseconds: Int64, hold: TimeAmount = Shard.answerTime) {
        isStopping = true
        endShedding()
        for case let client? in clients.clients where client.isOpen {
            guard client.leavesWith == nil else {
                closeWhenAnswered(client, reason, hold: hold)
                continue
            }
            if client.identity.knowsAllEvents {
                let delay = Int64.random(in: 0...max(0, spreadMilliseconds), using: &generator)
                let event = EventEncoder.reconnect(afterMilliseconds: Int(delay), reason: .drain)
                queue(event.frame, for: client)
            }
            statistics.shed[ReconnectReason.drain.rawValue, default: 0] += 1
            closeWhenAnswered(client, reason, hold: hold)
        }
    }

    /// Completes when the last client is gone, or at the deadline with the number of those that were cut then.
    func whenEmpty(until deadline: NIODeadline) -> EventLoopFuture<Int> {
        let promise = eventLoop.makePromise(of: Int.self)
        waitUntilEmpty(until: deadline, promise)
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
        let rooms: Int
        let users: Int
        /// Another number than before when other rooms or users are here.
        let changes: UInt64
    }

    /// How long the messages of rooms are counted for the list of the busiest ones, in milliseconds.
    private static let trafficWindow: Int64 = 5_000
    /// Rooms of one shard in that list: more than the node shows, since a room may be on several.
    private static let busiestRooms = 32

    /// Begins a new window of counting when it is time.
    func sweepTraffic(_ now: Int64) {
        let passed = now - trafficSince
        guard passed >= Self.trafficWindow else { return }
        trafficSince = now
        busiest = rooms.endTrafficWindow(limit: Self.busiestRooms).map {
            BusyRoom(room: $0.room, perSecond: Double($0.messages) * 1_000 / Double(passed))
        }
    }

    func snapshot() -> Snapshot {
        var copy = statistics
        copy.busiest = busiest
        for (name, figures) in zip(rooms.traffic.namespaces.names, rooms.traffic.figures) {
            copy.namespaces[name] = figures
        }
        copy.memberships = rooms.membershipCount
        if let compressor { copy.add(compressor.statistics) }
        for case let client? in stalled.map({ clients[$0] }) {
            let bytes = waiting(for: client)
            guard bytes > 0 else { continue }
            copy.stalledClients += 1
            copy.pendingBytes += bytes
            copy.largestPendingBytes = max(copy.largestPendingBytes, bytes)
        }
        return Snapshot(
            statistics: copy, rooms: rooms.roomCount, users: users.count, changes: rooms.changes &+ userChanges)
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
