import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// A look at a whole roster in Redis.
private struct Inspection {
    let room: RoomName
    /// Members of this node that are there as they should be, or were written anew.
    var seen: Set<ClientID> = []
    var fields = 0
    /// Something was wrong, or is suspect and must be looked at again.
    var isClean = true
}

// Rosters are kept right by asking again and again whether they are: each node tells the digest of its own members in
// each room, who keeps them differently reads the roster again, and who finds its own members wrong in Redis writes
// them again.
extension Bridge {
    private static let slice = 200
    private static let scanCount: RedisArgument = 1_000

    /// Called many times a second; does something once in a step.
    func tendPresence(now: Int64) {
        endPlaces(now: now)
        guard configuration.presenceEnabled, phase == .live, assertion == nil, !isLeaving, now >= care.nextStep else {
            return
        }
        care.nextStep = now + care.stepMilliseconds
        // What this turn has changed is told before the digest of it.
        flushPresence()
        let all = care.rounds.beginsRound(now: now) ? roomsToTend() : []
        let rooms = care.rounds.step(now: now, every: care.stepMilliseconds, rooms: all)
        for room in rooms {
            tellDigest(of: room)
            checkLength(of: room)
            lookForStrangers(in: room)
        }
        if now >= care.nextPatrol, care.inspecting == nil, let room = rooms.randomElement() { care.inspect(room) }
        care.inspectDue(now: now)
        continueInspecting()
    }

    private func roomsToTend() -> [RoomName] {
        presence.rooms.filter { presence.count(of: $0, on: node) > 0 }
            + care.farewells.keys.filter { presence.count(of: $0, on: node) == 0 }
    }

    // MARK: Digests

    private func tellDigest(of room: RoomName) {
        let digest = presence.digest(of: room, on: node)
        care.told(room, isHeld: digest.count > 0)
        var news = NodeEnvelopeWriter()
        news.append { PresenceNews.digest(digest).write(to: &$0) }
        publishNow(.room(room), .presence, news)
    }

    /// Another node says how its members look. Its news came over the same channel before.
    func heard(_ digest: PresenceDigest, of origin: NodeID, in room: RoomName) {
        guard phase == .live, presence.isComplete(room) else { return }
        let agrees = presence.digest(of: room, on: origin) == digest
        guard care.drift.heard(room, from: origin, agrees: agrees) else { return }
        limitedLog.log(
            .info, "a roster differs from what its node says; reading it again", [LogKey.node: "\(origin)"])
        care.repaired &+= 1
        requestSnapshot(room)
        // Perhaps it is Redis that is wrong.
        var news = NodeEnvelopeWriter()
        news.append { PresenceNews.differs(origin).write(to: &$0) }
        publishNow(.room(room), .presence, news)
    }

    // MARK: Redis

    /// Compares the number of members with that in Redis, which costs next to nothing.
    private func checkLength(of room: RoomName) {
        guard presence.isComplete(room) else { return }
        let version = presence.version(of: room)
        commands?.send(["HLEN", .string(keys.members(of: room))]) { [weak self] result in
            // While somebody comes or goes the two can't be compared.
            guard let self, case .success(let value) = result, let length = value.integer, self.phase == .live,
                self.presence.isComplete(room), self.presence.version(of: room) == version
            else { return }
            let isRight = length == Int64(self.presence.count(of: room))
            if self.care.measured(room, isRight: isRight, now: self.now) { self.inspectSoon(room) }
        }
    }

    /// Looks at a whole roster in Redis, one after the other.
    func inspectSoon(_ room: RoomName) {
        guard presencePolicy(of: room) != .off else { return }
        care.inspect(room)
        continueInspecting()
    }

    private func continueInspecting() {
        guard phase == .live, let room = care.nextInspection() else { return }
        inspect(Inspection(room: room), cursor: "0")
    }

    private func inspect(_ inspection: Inspection, cursor: String) {
        guard let commands else { return finish(inspection, isComplete: false) }
        let key = RedisArgument.string(keys.members(of: inspection.room))
        commands.send(["HSCAN", key, .string(cursor), "COUNT", Self.scanCount]) { [weak self] result in
            guard let self else { return }
            guard case .success(let value) = result, let reply = value.array, reply.count == 2,
                let next = reply[0].string, let words = reply[1].array, self.phase == .live
            else { return self.finish(inspection, isComplete: false) }
            var inspection = inspection
            self.judge(words, &inspection)
            if next == "0" {
                self.finish(inspection, isComplete: true)
            } else {
                self.inspect(inspection, cursor: next)
            }
        }
    }

    /// Some fields of a roster: this node's own are put right, those of nodes that nobody knows are removed.
    private func judge(_ words: [RedisValue], _ inspection: inout Inspection) {
        let room = inspection.room
        var wrong: [Member] = []
        var stale: [String] = []
        var ghosts: [ClientID] = []
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            inspection.fields += 1
            guard let field = words[index].string, let slash = field.firstIndex(of: "/"),
                let holder = NodeID(field[..<slash])
            else { continue }
            let client = ClientID(field[field.index(after: slash)...])
            if holder == node {
                guard let client, let member = presence.member(client, in: room) else {
                    stale.append(field)
                    continue
                }
                inspection.seen.insert(client)
                if words[index + 1].bytes != MemberCodec.encode(member) { wrong.append(member) }
            } else if let client, client.node == holder, isStranger(holder) {
                inspection.isClean = false
                if isGhost(holder) {
                    ghosts.append(client)
                } else {
                    care.inspect(room, at: now + ghostMilliseconds)
                }
            }
        }
        repair(room, set: wrong, remove: stale, &inspection)
        removeGhosts(ghosts, from: room)
    }

    private func finish(_ inspection: Inspection, isComplete: Bool) {
        var inspection = inspection
        let room = inspection.room
        if isComplete, presence.count(of: room, on: node) > 0 {
            let own = presence.members(of: room).filter { $0.node == node }
            repair(room, set: own.filter { !inspection.seen.contains($0.client) }, remove: [], &inspection)
            // What is named there is cleaned up after this node's death.
            commands?.send(["SADD", .string(keys.rooms(of: node)), .string(room.rawValue)])
        }
        care.inspected(room, isClean: inspection.isClean && isComplete, fields: inspection.fields, now: now)
        // Behind this turn: a link that refuses at once must not make a deep stack.
        eventLoop.assumeIsolated().execute { [weak self] in self?.continueInspecting() }
    }

    private func repair(_ room: RoomName, set: [Member], remove: [String], _ inspection: inout Inspection) {
        guard !set.isEmpty || !remove.isEmpty else { return }
        inspection.isClean = false
        care.repaired &+= UInt64(set.count + remove.count)
        limitedLog.log(
            .info, "members of this node were wrong in Redis", [LogKey.count: "\(set.count + remove.count)"])
        var rest = set[...]
        while !rest.isEmpty {
            let some = Array(rest.prefix(Self.slice))
            rest = rest.dropFirst(Self.slice)
            writeMembers(of: room, set: some, remove: []) { _ in }
            // Who has read the roster meanwhile has read it wrong.
            var news = NodeEnvelopeWriter()
            for member in some { news.append { PresenceNews.joined(member).write(to: &$0) } }
            publishNow(.room(room), .presence, news)
        }
        var fields = remove[...]
        while !fields.isEmpty {
            let some = fields.prefix(Self.slice)
            fields = fields.dropFirst(Self.slice)
            commands?.send(["HDEL", .string(keys.members(of: room))] + some.map { .string($0) })
        }
    }

    // MARK: Nodes that nobody knows

    /// Whether a node isn't in the cluster, as far as this one has heard.
    private func isStranger(_ other: NodeID) -> Bool {
        guard other != node, directory.nodes[other] == nil, !newcomers.contains(other), !expected.contains(other),
            cleaning[other] == nil
        else {
            care.knows(other)
            return false
        }
        return true
    }

    /// A node that lives is on the list again after a heartbeat, and here after one more.
    private var ghostMilliseconds: Int64 { 3 * configuration.heartbeatMilliseconds }

    /// Whether a stranger has been one for so long that it would have been heard of if it lived.
    private func isGhost(_ stranger: NodeID) -> Bool { care.met(stranger, now: now, patience: ghostMilliseconds) }

    /// Members of a node whose name nobody strikes off: in the roster here, and in Redis then.
    private func lookForStrangers(in room: RoomName) {
        for other in presence.nodes(of: room) where isStranger(other) && isGhost(other) {
            limitedLog.log(.info, "members of a node that nobody knows are removed", [LogKey.node: "\(other)"])
            for change in presence.merge(.nodeGone(other), into: room) { note(change, in: room) }
            inspectSoon(room)
        }
    }

    private func removeGhosts(_ ghosts: [ClientID], from room: RoomName) {
        guard !ghosts.isEmpty else { return }
        care.repaired &+= UInt64(ghosts.count)
        var rest = ghosts[...]
        while !rest.isEmpty {
            let some = Array(rest.prefix(Self.slice))
            rest = rest.dropFirst(Self.slice)
            writeMembers(of: room, set: [], remove: some) { _ in }
            var news = NodeEnvelopeWriter()
            for client in some {
                merge(.left(client, .nodeLost), into: room)
                news.append { PresenceNews.left(client, .nodeLost).write(to: &$0) }
            }
            publishNow(.room(room), .presence, news)
        }
    }
}
