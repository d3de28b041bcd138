import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

/// What one turn did to the members whom this node holds in one room.
struct PresenceTurn {
    /// The last state of each client: a member, or gone and why.
    var fields: [ClientID: (member: Member?, reason: LeaveReason)] = [:]
    /// The same for the other nodes, in the order in which it happened.
    var news = NodeEnvelopeWriter()
}

/// This node's members on their way into Redis, a few at a time.
struct Assertion {
    /// Answers to an earlier assertion mean nothing to this one.
    let number: UInt64
    var rooms: [RoomName]
    var clients: [ClientID] = []
    var room: RoomName?
    var inFlight = 0
}

// Presence of this node's own members: rosters here, hashes in Redis, news for the others.
extension Bridge {
    /// Members in one command.
    private static let slice = 200
    /// Commands of an assertion that are under way at once.
    private static let assertionWindow = 16

    /// What is kept and told of a room's members.
    func presencePolicy(of room: RoomName) -> RoomPolicy.Presence {
        configuration.presenceEnabled ? configuration.rooms[room].presence : .off
    }

    func localJoined(_ member: Member, _ room: RoomName) {
        let policy = presencePolicy(of: room)
        guard policy != .off else { return }
        let member = policy == .count ? member.withoutInfo : member
        if let change = presence.addLocal(member, to: room) { note(change, in: room) }
        guard commands != nil else { return }
        presenceTurn[room, default: PresenceTurn()].fields[member.client] = (member, .left)
        presenceTurn[room]?.news.append { PresenceNews.joined(member).write(to: &$0) }
    }

    func localLeft(_ client: ClientID, _ room: RoomName, _ reason: LeaveReason) {
        guard presencePolicy(of: room) != .off else { return }
        if let change = presence.removeLocal(client, from: room, reason: reason) { note(change, in: room) }
        if presence.count(of: room, on: node) == 0 { care.departed(room) }
        guard commands != nil else { return }
        presenceTurn[room, default: PresenceTurn()].fields[client] = (nil, reason)
        presenceTurn[room]?.news.append { PresenceNews.left(client, reason).write(to: &$0) }
    }

    /// Nobody of this node is interested in the room any more.
    func forget(_ room: RoomName) {
        forgetOrdered(room)
        presence.forget(room)
        snapshots.remove(room)
        diffs.forget(room)
        care.forget(room)
        answerQueries(of: room)
    }

    /// Writes what the turn has changed, or remembers it for later.
    func flushPresence() {
        guard !presenceTurn.isEmpty else { return }
        let changed = presenceTurn
        presenceTurn.removeAll(keepingCapacity: true)
        for (room, turn) in changed {
            if canAssert {
                write(turn, of: room)
            } else {
                remember(turn, of: room)
            }
        }
    }

    private func remember(_ turn: PresenceTurn, of room: RoomName) {
        for (client, state) in turn.fields {
            if state.member != nil {
                tombstones.remove(client, from: room)
                unasserted[room, default: []].insert(client)
            } else if unasserted[room]?.remove(client) == nil {
                tombstones.add(client, to: room, state.reason)
            }
        }
        if unasserted[room]?.isEmpty == true { unasserted[room] = nil }
    }

    private func write(_ turn: PresenceTurn, of room: RoomName) {
        var joined: [Member] = []
        var left: [ClientID] = []
        for (client, state) in turn.fields {
            if let member = state.member {
                joined.append(member)
                tombstones.remove(client, from: room)
            } else {
                left.append(client)
                tombstones.add(client, to: room, state.reason)
            }
        }
        let holds = presence.count(of: room, on: node) > 0
        // Before the first member and after the last: what this set names is cleaned up after our death.
        if holds, assertedRooms.insert(room).inserted {
            commands?.send(["SADD", .string(keys.rooms(of: node)), .string(room.rawValue)])
        }
        writeMembers(of: room, set: joined, remove: left) { _ in }
        if !holds, assertedRooms.remove(room) != nil {
            commands?.send(["SREM", .string(keys.rooms(of: node)), .string(room.rawValue)])
        }
        publishNow(.room(room), .presence, turn.news) { [weak self] in
            // They are told again with the next assertion: those who are here, and those who are still gone.
            guard let self else { return }
            for client in left where self.presence.member(client, in: room) == nil {
                self.tombstones.add(client, to: room, turn.fields[client]?.reason ?? .left)
            }
        }
    }

    /// One step in Redis; `done` learns whether it was carried out.
    func writeMembers(
        of room: RoomName, set: [Member], remove: [ClientID], _ done: @escaping (Bool) -> Void
    ) {
        var arguments: [RedisArgument] = [.integer(Int64(set.count))]
        for member in set {
            arguments.append(.string(keys.memberField(member.client, node: member.node)))
            arguments.append(.buffer(MemberCodec.encode(member)))
        }
        for client in remove {
            guard let holder = client.node else { continue }
            arguments.append(.string(keys.memberField(client, node: holder)))
        }
        let settled = tombstones.numbers(of: remove, in: room)
        evaluate(.members, keys: [keys.members(of: room)], arguments) { [weak self] result in
            guard let self else { return done(false) }
            guard case .success(let value) = result else {
                // Refused though the link is there, as when too much waits for it: say everything again, later.
                if self.canAssert, self.commands?.isReady == true { self.assertAgainAt = self.now + 1_000 }
                return done(false)
            }
            self.tombstones.settle(settled, in: room)
            if let counts = value.array, counts.count == 2, let before = counts[0].integer, let now = counts[1].integer
            {
                if before == 0, now > 0 { self.roomEvent("room_occupied", room) }
                if before > 0, now == 0 { self.roomEvent("room_vacated", room) }
            }
            done(true)
        }
    }

    // MARK: Assertion

    /// Writes and announces all members whom this node holds, and removes those who left while Redis was away.
    func assertEverything() {
        guard configuration.presenceEnabled else {
            assertion = nil
            return greet()
        }
        unasserted = [:]
        let held = presence.rooms.filter { presence.count(of: $0, on: node) > 0 }
        assertedRooms = Set(held)
        var rest = held[...]
        while !rest.isEmpty {
            let some = rest.prefix(500)
            rest = rest.dropFirst(500)
            commands?.send(["SADD", .string(keys.rooms(of: node))] + some.map { .string($0.rawValue) })
        }
        let vacated = tombstones.rooms.keys.filter { presence.count(of: $0, on: node) == 0 }
        assertions += 1
        assertAgainAt = nil
        assertion = Assertion(number: assertions, rooms: held + vacated)
        continueAssertion()
    }

    func abandonAssertion() { assertion = nil }

    private func continueAssertion() {
        while var current = assertion, current.inFlight < Self.assertionWindow {
            guard let room = current.room else {
                guard let next = current.rooms.popLast() else {
                    if current.inFlight == 0 {
                        assertion = nil
                        greet()
                    }
                    return
                }
                current.room = next
                current.clients = presence.members(of: next).filter { $0.node == node }.map(\.client)
                assertion = current
                removeTombstones(of: next)
                continue
            }
            guard !current.clients.isEmpty else {
                current.room = nil
                assertion = current
                continue
            }
            // Who has left since the list was made must not be written again.
            let members = current.clients.suffix(Self.slice).compactMap { presence.member($0, in: room) }
            current.clients.removeLast(min(Self.slice, current.clients.count))
            current.inFlight += 1
            assertion = current
            assertSlice(members, of: room)
        }
    }

    private func assertSlice(_ members: [Member], of room: RoomName) {
        // Never called before this returns when the link refuses: that would recurse as deep as there are slices.
        let number = assertions
        writeMembers(of: room, set: members, remove: []) { [weak self] _ in
            guard let self else { return }
            self.eventLoop.assumeIsolated().execute {
                guard self.assertion?.number == number else { return }
                self.assertion?.inFlight -= 1
                self.continueAssertion()
            }
        }
        var news = NodeEnvelopeWriter()
        for member in members { news.append { PresenceNews.joined(member).write(to: &$0) } }
        publishNow(.room(room), .presence, news)
    }

    private func removeTombstones(of room: RoomName) {
        guard let gone = tombstones.rooms[room] else { return }
        var rest = Array(gone)[...]
        while !rest.isEmpty {
            let some = rest.prefix(Self.slice)
            rest = rest.dropFirst(Self.slice)
            writeMembers(of: room, set: [], remove: some.map(\.key)) { _ in }
            var news = NodeEnvelopeWriter()
            for (client, stone) in some { news.append { PresenceNews.left(client, stone.reason).write(to: &$0) } }
            publishNow(.room(room), .presence, news)
        }
        if presence.count(of: room, on: node) == 0 {
            commands?.send(["SREM", .string(keys.rooms(of: node)), .string(room.rawValue)])
        }
    }
}

// The others' members, and what observers are told.
extension Bridge {
    func receivedPresence(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        guard case .room(let room) = topic else { return drop(RelayDrop.badChannel) }
        for entry in envelope.entries {
            // A node speaks for its own members only, but anybody may clean up after a node that is lost.
            switch PresenceNews(entry) {
            case .joined(let member) where member.node == envelope.origin && member.client.node == member.node:
                merge(.joined(member), into: room)
            case .left(let client, let reason) where client.node == envelope.origin || reason == .nodeLost:
                merge(.left(client, reason), into: room)
            case .digest(let digest): heard(digest, of: envelope.origin, in: room)
            case .differs(let owner): if owner == node { inspectSoon(room) }
            default: drop(RelayDrop.badEntry)
            }
        }
    }

    func merge(_ news: PresenceTable.News, into room: RoomName) {
        for change in presence.merge(news, into: room) { note(change, in: room) }
    }

    /// Collects a change for the room's observers. `named`: who it is may be told.
    func note(_ change: PresenceTable.Change, in room: RoomName, named: Bool = true) {
        if case .joined(let member) = change, let user = member.user { giveUpPlaces(of: user, in: room) }
        let isNamed = named && !presence.isCountsOnly(room) && presencePolicy(of: room) == .full
        diffs.add(change, to: room, named: isNamed, now: now)
        scheduleDiffs()
    }

    private func scheduleDiffs() {
        guard !diffTimer, !diffs.isEmpty else { return }
        diffTimer = true
        // Twice an interval, so that nobody waits for nearly two.
        let interval = TimeAmount.microseconds(max(1, configuration.presenceDiffMilliseconds) * 500)
        eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in
            guard let self else { return }
            self.diffTimer = false
            guard self.phase != .closed else { return }
            for room in self.diffs.due(now: self.now) { self.tell(room) }
            self.scheduleDiffs()
        }
    }

    /// Whether a room tells numbers and no names: as its policy says, or because it has too many members.
    func tellsCountsOnly(_ room: RoomName) -> Bool {
        let policy = configuration.rooms[room]
        return policy.presence == .count || presence.countsOnly(room, above: policy.presenceMembers)
    }

    private func tell(_ room: RoomName) {
        let members = presence.count(of: room)
        var event = PresenceDiff(count: members, users: presence.users(of: room))
        event.countsOnly = tellsCountsOnly(room)
        if event.countsOnly {
            guard diffs.takeCounts(room, now: now, members: members) else { return }
        } else {
            let taken = diffs.take(room, now: now, members: members) { presence.connections(of: $0, in: room) }
            guard let diff = taken else { return }
            event.joined = diff.joined
            event.left = diff.left.map { PresenceDiff.Leaving(member: $0.member, reason: $0.reason) }
            event.usersJoined = diff.usersJoined
            event.usersLeft = diff.usersLeft
        }
        let mask = interest.shards(of: .room(room))
        guard mask != 0 else { return }
        handOff.add(.observers(room, EventEncoder.presenceDiff(event, room: room)), to: mask)
        needsFlush()
    }

    /// A node is gone with all its members.
    func removeMembers(of gone: NodeID) {
        for (room, changes) in presence.removeNode(gone) {
            for change in changes { note(change, in: room) }
        }
    }
}

extension Member {
    /// As rosters keep it where nobody is named.
    fileprivate var withoutInfo: Member { Member(client: client, user: user, node: node, joinedAt: joinedAt) }
}
