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

    /// Oldest first; some may not be queued any more.
    private var queue = CircularBuffer<RoomName>()
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
            if queue.count > 2 * queued.count + 64 { compact() }
        }
    }

    /// Nobody follows the room any more.
    mutating func remove(_ room: RoomName) {
        queued.remove(room)
        again.remove(room)
    }

    private mutating func compact() {
        var seen: Set<RoomName> = []
        queue = CircularBuffer(queue.filter { queued.contains($0) && seen.insert($0).inserted })
    }

    /// The next room to read, if one more may be read now.
    mutating func next() -> RoomName? {
        guard running.count < Self.window else { return nil }
        while let room = queue.popFirst() {
            guard queued.remove(room) != nil else { continue }
            running.insert(room)
            return room
        }
        return nil
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
        queue.removeAll()
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
    /// Members of a room that isn't followed; a larger roster is not read for a query.
    private static let maximumScanned = 100_000
    private static let maximumQueries = 10_000
    /// A page of a roster takes no more than about this; the rest is behind its cursor.
    private static let pageBytes = 256 * 1024

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
            // Who was there before the room was followed is for `presence` to tell: a roster is not news. Only somebody
            // who was answered before it was there has to hear of them this way.
            self.changed(result.found, in: room, named: self.care.wasAnsweredEarly(room))
            self.changed(result.changes, in: room)
            if !result.stale.isEmpty {
                self.writeMembers(of: room, set: [], remove: result.stale) { _ in }
            }
            self.finishedReading(room)
        }
    }

    private func changed(_ changes: [PresenceTable.Change], in room: RoomName, named: Bool = true) {
        for change in changes { note(change, in: room, named: named) }
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
        _ room: RoomName, cursor: RedisArgument = "0", found: [Member] = [],
        goesOn: @escaping (_ found: Int) -> Bool = { _ in true }, _ done: @escaping ([Member]?) -> Void
    ) {
        guard let commands, goesOn(found.count) else { return done(nil) }
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
            self.scan(room, cursor: .string(next), found: members, goesOn: goesOn, done)
        }
    }

    // MARK: Queries

    func answer(_ query: PresenceQuery) {
        guard configuration.presenceEnabled else {
            return refuse(query, RequestError(.unavailable, "presence is switched off"))
        }
        let room = query.room
        guard presencePolicy(of: room) != .off else {
            return refuse(query, RequestError(.badRequest, "this room has no presence"))
        }
        if presence.follows(room) || phase == .alone {
            guard phase == .live, !presence.isComplete(room), queryCount < Self.maximumQueries else {
                return answerNow(query)
            }
            queryCount += 1
            queries[room, default: []].append(WaitingQuery(query: query, deadline: now + Self.queryMilliseconds))
            return
        }
        guard phase == .live, scans.add(query, until: now + 2 * Self.queryMilliseconds) else {
            return refuse(query, RequestError(.unavailable, "the roster can't be read now"))
        }
        readRemotely()
    }

    /// Reads rosters of rooms that aren't followed, a few at a time and each once for all who wait for it.
    private func readRemotely() {
        while let (room, number) = scans.next() {
            var isTooLarge = false
            let goesOn = { [weak self] (found: Int) -> Bool in
                isTooLarge = found > Self.maximumScanned
                return !isTooLarge && self?.scans.isWanted(room, number) == true
            }
            scan(room, goesOn: goesOn) { [weak self] members in
                guard let self else { return }
                self.answer(self.scans.finished(room, number), members, isTooLarge: isTooLarge)
                // Behind this turn: a link that refuses at once must not make a deep stack.
                self.eventLoop.assumeIsolated().execute { [weak self] in self?.readRemotely() }
            }
        }
    }

    private func answer(_ waiting: [PresenceQuery], _ members: [Member]?, isTooLarge: Bool) {
        guard let members else {
            let text = isTooLarge ? "the room has too many members to be read from outside" : "Redis is away"
            for query in waiting { refuse(query, RequestError(.unavailable, text)) }
            return
        }
        guard !waiting.isEmpty else { return }
        // HSCAN may name somebody twice.
        let unique = Dictionary(members.map { ($0.client, $0) }) { first, _ in first }
        let users = Set(unique.values.compactMap(\.user)).count
        for query in waiting {
            let policy = configuration.rooms[query.room]
            let countsOnly = policy.presence == .count || unique.count > policy.presenceMembers
            let page =
                countsOnly ? nil : PresenceTable.page(unique.values, after: query.cursor, limit: query.limit)
            reply(query, page, count: unique.count, users: users)
        }
    }

    private func answerNow(_ query: PresenceQuery) {
        let room = query.room
        if phase != .alone, presence.follows(room), !presence.isComplete(room) { care.answeredEarly(room) }
        let page =
            tellsCountsOnly(room) ? nil : presence.page(of: room, after: query.cursor, limit: query.limit)
        reply(query, page, count: presence.count(of: room), users: presence.users(of: room))
    }

    /// `page`: nothing where members are counted only.
    private func reply(
        _ query: PresenceQuery, _ page: (members: [Member], more: Bool)?, count: Int, users: Int
    ) {
        let countsOnly = page == nil
        let page = page ?? ([], false)
        // The longest infos make a page of a thousand members several megabytes.
        let fitting = MemberCodec.count(of: page.members, fitting: Self.pageBytes)
        let members = Array(page.members.prefix(fitting))
        let cursor = page.more || fitting < page.members.count ? members.last?.client.rawValue : nil
        send(
            EventEncoder.presence(
                room: query.room, count: count, users: users, members: members, cursor: cursor,
                countsOnly: countsOnly, id: query.replyTo.request), to: query.replyTo)
    }

    private func refuse(_ query: PresenceQuery, _ error: RequestError) {
        send(EventEncoder.error(error, requestType: "presence", id: query.replyTo.request), to: query.replyTo)
    }

    private func send(_ message: ServerMessage, to address: ReplyAddress) {
        guard (0..<64).contains(address.shard) else { return }
        handOff.add(.presenceReply(address.client, message), to: 1 << UInt64(address.shard))
        needsFlush()
    }

    func answerQueries(of room: RoomName) {
        guard let waiting = queries.removeValue(forKey: room) else { return }
        queryCount -= waiting.count
        for entry in waiting { answerNow(entry.query) }
    }

    /// Whoever has waited for too long gets what is known.
    func sweepQueries(now: Int64) {
        for query in scans.expire(now: now) {
            refuse(query, RequestError(.unavailable, "Redis took too long"))
        }
        readRemotely()
        guard queryCount > 0 else { return }
        for (room, waiting) in queries where (waiting.first?.deadline ?? now) <= now || phase != .live {
            _ = waiting
            answerQueries(of: room)
        }
    }
}
