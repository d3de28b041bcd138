import ConduitCore
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

// After a node's death, and after this node's own earlier life.
extension Bridge {
    private static let roomsPerScan: RedisArgument = 200
    private static let fieldsPerScan: RedisArgument = 1_000

    /// A node's lease ran out: one of the survivors cleans up, whoever Redis lets.
    func claim(_ lost: NodeID) {
        guard phase == .live, now >= claimsFrom, cleaning.count < 16, cleaning[lost] == nil else { return }
        cleaning[lost] = false
        let arguments: [RedisArgument] = [
            .string(lost.rawValue), .integer(configuration.leaseMilliseconds), .string(node.rawValue),
        ]
        evaluate(.claim, keys: [keys.nodes, keys.claim(of: lost)], arguments) { [weak self] result in
            guard let self else { return }
            guard case .success(let value) = result, let score = value.string else {
                self.cleaning[lost] = nil
                return
            }
            self.cleaning[lost] = true
            self.logger.warning("a node is lost; cleaning up after it", metadata: [LogKey.node: "\(lost)"])
            self.cleanRooms(of: lost) { isDone in
                guard isDone else {
                    self.cleaning[lost] = nil
                    return
                }
                self.strikeOff(lost, score: score)
            }
        }
    }

    private func strikeOff(_ lost: NodeID, score: String) {
        // Announced before it is struck off: a claimer that dies in between is replaced, and news twice change nothing.
        publishNow(.control, .nodeDown(lost, .lost))
        nodeIsDown(lost, .lost)
        event("node_down", ["lost", lost.rawValue, "reason", "lost"])
        let names = [keys.nodes, keys.claim(of: lost)]
        let arguments: [RedisArgument] = [.string(lost.rawValue), .string(score), .string(node.rawValue)]
        evaluate(.strikeOff, keys: names, arguments) { [weak self] _ in self?.cleaning[lost] = nil }
    }

    /// Everybody hears that a node is down, the node itself too if it lives after all.
    func nodeIsDown(_ gone: NodeID, _ reason: ControlMessage.DownReason) {
        if gone == node {
            if reason == .lost {
                logger.warning("this node was taken for dead; asserting its members again")
                reassert()
            }
            return
        }
        directory.remove(gone)
        newcomers.remove(gone)
        takeLeave(of: gone)
    }

    /// A node is gone: nothing more is expected of it, and its members are nobody's.
    func takeLeave(of gone: NodeID) {
        tracker.retire(gone)
        stopAsking(gone)
        nodesGone &+= 1
        removeMembers(of: gone)
        expected.remove(gone)
        checkGreeted()
    }

    /// Members of an earlier life under the same id: removed once, before anybody takes them for alive.
    func sweepOwnLeftovers() {
        guard !swept, configuration.presenceEnabled else { return }
        swept = true
        cleanRooms(of: node) { [weak self] isDone in if !isDone { self?.swept = false } }
    }

    /// Removes a node's members from all rooms in which it had some, slice by slice. Of this node's own, those stay
    /// whom it holds.
    private func cleanRooms(of gone: NodeID, cursor: String = "0", _ done: @escaping (Bool) -> Void) {
        guard let commands else { return done(false) }
        let command: [RedisArgument] = [
            "SSCAN", .string(keys.rooms(of: gone)), .string(cursor), "COUNT", Self.roomsPerScan,
        ]
        commands.send(command) { [weak self] result in
            guard let self, case .success(let value) = result, let reply = value.array, reply.count == 2,
                let next = reply[0].string, let names = reply[1].array
            else { return done(false) }
            let rooms = names.compactMap { $0.string.flatMap { RoomName($0) } }
            self.cleanNext(rooms[...], of: gone) { isDone in
                guard isDone, next != "0" else { return done(isDone) }
                self.cleanRooms(of: gone, cursor: next, done)
            }
        }
    }

    private func cleanNext(_ rooms: ArraySlice<RoomName>, of gone: NodeID, _ done: @escaping (Bool) -> Void) {
        guard let room = rooms.first else { return done(true) }
        clean(room, of: gone, cursor: "0") { [weak self] isDone in
            guard let self, isDone else { return done(false) }
            // Before the announcement: a node that lives after all names its rooms again when it hears that.
            if gone != self.node || self.presence.count(of: room, on: gone) == 0 {
                self.commands?.send(["SREM", .string(self.keys.rooms(of: gone)), .string(room.rawValue)])
            }
            // Behind this turn: a long list of rooms must not become a deep stack.
            self.eventLoop.assumeIsolated().execute { self.cleanNext(rooms.dropFirst(), of: gone, done) }
        }
    }

    private func clean(_ room: RoomName, of gone: NodeID, cursor: String, _ done: @escaping (Bool) -> Void) {
        guard let commands else { return done(false) }
        let command: [RedisArgument] = [
            "HSCAN", .string(keys.members(of: room)), .string(cursor), "MATCH", .string(keys.memberFields(of: gone)),
            "COUNT", Self.fieldsPerScan,
        ]
        commands.send(command) { [weak self] result in
            guard let self, case .success(let value) = result, let reply = value.array, reply.count == 2,
                let next = reply[0].string, let words = reply[1].array
            else { return done(false) }
            var clients: [ClientID] = []
            for index in stride(from: 0, to: words.count, by: 2) {
                guard let field = words[index].string, let slash = field.firstIndex(of: "/"),
                    let client = ClientID(field[field.index(after: slash)...]), client.node == gone
                else { continue }
                if gone != self.node || self.presence.member(client, in: room) == nil { clients.append(client) }
            }
            let finish = { (isDone: Bool) in
                guard isDone, next != "0" else { return done(isDone) }
                self.clean(room, of: gone, cursor: next, done)
            }
            guard !clients.isEmpty else { return finish(true) }
            self.writeMembers(of: room, set: [], remove: clients, finish)
            guard gone == self.node else { return }
            var news = NodeEnvelopeWriter()
            for client in clients { news.append { PresenceNews.left(client, .nodeLost).write(to: &$0) } }
            self.publishNow(.room(room), .presence, news)
        }
    }

    // MARK: The end of this node

    /// Takes this node out of the cluster: the clients are gone already. `done` is called when Redis has answered.
    func leave(_ done: @escaping () -> Void) {
        flush()
        isLeaving = true
        guard canAssert, let commands, commands.isReady else { return done() }
        for room in Array(presence.rooms) {
            let held = presence.members(of: room).filter { $0.node == node }
            var news = NodeEnvelopeWriter()
            for member in held {
                _ = presence.removeLocal(member.client, from: room, reason: .disconnected)
                news.append { PresenceNews.left(member.client, .disconnected).write(to: &$0) }
            }
            guard !held.isEmpty else { continue }
            writeMembers(of: room, set: [], remove: held.map(\.client)) { _ in }
            publishNow(.room(room), .presence, news)
        }
        releaseIdentity()
        publishNow(.control, .nodeDown(node, .shutdown))
        event("node_down", ["lost", node.rawValue, "reason", "shutdown"])
        // Each key may live on another server: the last answer ends it.
        var owed = 4
        let answered: RedisLink.Completion = { _ in
            owed -= 1
            if owed == 0 { done() }
        }
        commands.send(["DEL", .string(keys.node(node))], answered)
        commands.send(["DEL", .string(keys.busy(of: node))], answered)
        commands.send(["DEL", .string(keys.rooms(of: node))], answered)
        commands.send(["ZREM", .string(keys.nodes), .string(node.rawValue)], answered)
    }
}
