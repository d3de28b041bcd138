import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

/// Rooms whose rosters are to be read, a few at a time.
struct SnapshotQueue {
    /// Rosters that are read at once.
    static let window = 8

    private var queue: [RoomName] = []
    private var queued: Set<RoomName> = []
    private var again: Set<RoomName> = []
    private(set) var running: Set<RoomName> = []
    /// Rises when everything that runs became worthless.
    private(set) var generation = 0

    /// Whether the room's roster is being read or will be.
    func isPending(_ room: RoomName) -> Bool { queued.contains(room) || running.contains(room) }

    /// Asks for a room. One that is being read now is read once more.
    mutating func add(_ room: RoomName) {
        if running.contains(room) {
            again.insert(room)
        } else if queued.insert(room).inserted {
            queue.append(room)
        }
    }

    /// The next room to read, if one more may be read now.
    mutating func next() -> RoomName? {
        guard running.count < Self.window, let room = queue.popLast() else { return nil }
        queued.remove(room)
        running.insert(room)
        return room
    }

    /// The room was read. Returns whether it must be read once more; it is queued then.
    mutating func finished(_ room: RoomName) -> Bool {
        running.remove(room)
        guard again.remove(room) != nil else { return false }
        add(room)
        return true
    }

    /// The connection is lost: forget everything.
    mutating func clear() {
        generation += 1
        queue = []
        queued = []
        again = []
        running = []
    }
}

/// A `presence` request that waits for its room's roster.
struct WaitingQuery {
    let query: PresenceQuery
    let deadline: Int64
}

// Rosters read from Redis: for rooms that this node follows, and for others on demand.
extension Bridge {
    private static let scanCount: RedisArgument = 1_000
    /// Members that one roster may have; what is beyond is not read.
    private static let maximumMembers = 1_000_000
    private static let queryMilliseconds: Int64 = 1_000
    private static let maximumQueries = 10_000
    private static let maximumRemoteQueries = 64

    /// Reads a followed room's roster, soon. News of other nodes wait from now on.
    func requestSnapshot(_ room: RoomName) {
        guard configuration.presenceEnabled, presence.follows(room), phase != .alone else { return }
        if !snapshots.running.contains(room) { presence.awaitSnapshot(of: room) }
        snapshots.add(room)
        runSnapshots()
    }

    func runSnapshots() {
        // Before the others are back, their members would seem to be gone.
        guard phase == .live else { return }
        while let room = snapshots.next() { read(room, attempt: 1) }
    }

    private func read(_ room: RoomName, attempt: Int) {
        let generation = snapshots.generation
        scan(room) { [weak self] members in
            guard let self, generation == self.snapshots.generation else { return }
            guard let members else {
                self.changed(self.presence.snapshotFailed(of: room), in: room)
                return self.finishedReading(room)
            }
            let result = self.presence.replaceSnapshot(of: room, with: members)
            if result.mustReadAgain, attempt < 5 { return self.read(room, attempt: attempt + 1) }
            if result.mustReadAgain { self.changed(self.presence.snapshotFailed(of: room), in: room) }
            self.changed(result.changes, in: room)
            if !result.stale.isEmpty {
                self.writeMembers(of: room, set: [], remove: result.stale) { _ in }
            }
            self.finishedReading(room)
        }
    }

    private func changed(_ changes: [PresenceTable.Change], in room: RoomName) {
        for change in changes { note(change, in: room) }
    }

    private func finishedReading(_ room: RoomName) {
        if snapshots.finished(room) {
            presence.awaitSnapshot(of: room)
        } else {
            answerQueries(of: room)
        }
        runSnapshots()
        needsFlush()
    }

    /// All members of a room in Redis, read in slices so that neither side is held up; `nil` when that failed.
    /// HSCAN may miss or repeat what changes meanwhile, but not what stays.
    private func scan(
        _ room: RoomName, cursor: RedisArgument = "0", found: [Member] = [], _ done: @escaping ([Member]?) -> Void
    ) {
        guard let commands else { return done(nil) }
        commands.send(["HSCAN", .string(keys.members(of: room)), cursor, "COUNT", Self.scanCount]) { [weak self] in
            guard let self, case .success(let value) = $0, let reply = value.array, reply.count == 2,
                let next = reply[0].string, let words = reply[1].array
            else { return done(nil) }
            var members = found
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                guard let field = words[index].string, let json = words[index + 1].bytes,
                    let member = MemberCodec.decode(json),
                    field == self.keys.memberField(member.client, node: member.node)
                else {
                    self.drop(RelayDrop.badEntry)
                    continue
                }
                members.append(member)
            }
            guard next != "0", members.count < Self.maximumMembers else { return done(members) }
            self.scan(room, cursor: .string(next), found: members, done)
        }
    }

    // MARK: Queries

    func answer(_ query: PresenceQuery) {
        guard configuration.presenceEnabled else {
            return refuse(query, RequestError(.unavailable, "presence is switched off"))
        }
        let room = query.room
        if presence.follows(room) || phase == .alone {
            guard phase == .live, !presence.isComplete(room), queryCount < Self.maximumQueries else {
                return answerNow(query)
            }
            queryCount += 1
            queries[room, default: []].append(WaitingQuery(query: query, deadline: now + Self.queryMilliseconds))
            return
        }
        guard phase == .live, remoteQueries < Self.maximumRemoteQueries else {
            return refuse(query, RequestError(.unavailable, "the roster can't be read now"))
        }
        remoteQueries += 1
        var isOpen = true
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(2 * Self.queryMilliseconds)) { [weak self] in
            guard isOpen else { return }
            isOpen = false
            self?.refuse(query, RequestError(.unavailable, "Redis took too long"))
        }
        scan(room) { [weak self] members in
            guard let self else { return }
            self.remoteQueries -= 1
            guard isOpen else { return }
            isOpen = false
            guard let members else {
                return self.refuse(query, RequestError(.unavailable, "Redis is away"))
            }
            // HSCAN may name somebody twice.
            let unique = Dictionary(members.map { ($0.client, $0) }) { first, _ in first }
            let page = PresenceTable.page(unique.values, after: query.cursor, limit: query.limit)
            self.reply(query, page, count: unique.count, users: Set(unique.values.compactMap(\.user)).count)
        }
    }

    private func answerNow(_ query: PresenceQuery) {
        let page = presence.page(of: query.room, after: query.cursor, limit: query.limit)
        reply(query, page, count: presence.count(of: query.room), users: presence.users(of: query.room))
    }

    private func reply(
        _ query: PresenceQuery, _ page: (members: [Member], more: Bool), count: Int, users: Int
    ) {
        let cursor = page.more ? page.members.last?.client.rawValue : nil
        send(
            EventEncoder.presence(
                room: query.room, count: count, users: users, members: page.members, cursor: cursor,
                id: query.replyTo.request), to: query.replyTo)
    }

    private func refuse(_ query: PresenceQuery, _ error: RequestError) {
        send(EventEncoder.error(error, requestType: "presence", id: query.replyTo.request), to: query.replyTo)
    }

    private func send(_ message: ServerMessage, to address: ReplyAddress) {
        guard (0..<64).contains(address.shard) else { return }
        handOff.add(.reply(address.client, message), to: 1 << UInt64(address.shard))
        needsFlush()
    }

    func answerQueries(of room: RoomName) {
        guard let waiting = queries.removeValue(forKey: room) else { return }
        queryCount -= waiting.count
        for entry in waiting { answerNow(entry.query) }
    }

    /// Whoever has waited for too long gets what is known.
    func sweepQueries(now: Int64) {
        guard queryCount > 0 else { return }
        for (room, waiting) in queries where (waiting.first?.deadline ?? now) <= now || phase != .live {
            _ = waiting
            answerQueries(of: room)
        }
    }
}
