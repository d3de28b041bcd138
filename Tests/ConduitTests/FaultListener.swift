import ConduitTesting
import NIOCore

/// One client that listens in rooms of one kind. In fast rooms it comes back to its own node and begins anew; in
/// ordered ones it comes back to the next node and resumes where it was.
///
/// Loop-bound: owned by its ``FaultTraffic``.
final class FaultListener {
    private let traffic: FaultTraffic
    let number: Int
    let home: Int
    let rooms: [Int]
    private let isOrdered: Bool
    /// Goes to the next node every so often.
    var hops = false
    private var nextHop = 0
    private(set) var socket: FaultSocket?
    private(set) var node: Int
    private(set) var clientID: String?
    /// By room, where it is in. Ordered memberships stay in ``kept`` over reconnects.
    private(set) var memberships: [Int: Int] = [:]
    private var kept: [Int: Int] = [:]
    private var positions: [Int: (epoch: String, offset: Int)] = [:]
    /// Of which nodes' publishers it has heard something, by room.
    private(set) var heardNodes: [Int: Set<Int>] = [:]

    init(traffic: FaultTraffic, number: Int, home: Int, rooms: [Int]) {
        self.traffic = traffic
        self.number = number
        self.home = home
        self.node = home
        self.rooms = rooms
        self.isOrdered = rooms.first.map { traffic.kinds[$0] == .ordered } ?? false
    }

    var isConnected: Bool { socket?.isOpen == true }
    var isInAllRooms: Bool { isConnected && clientID != nil && memberships.count == rooms.count }

    func connect() {
        // A fast listener waits for its own node: then every node has one.
        guard let node = isOrdered ? traffic.runningNode(from: node) : home, let port = traffic.ports[node] else {
            return traffic.later(100) { self.connect() }
        }
        self.node = node
        FaultSocket.connect(port: port, loop: traffic.loop) { socket in
            self.socket = socket
            self.nextHop = FaultTraffic.now + Int(self.traffic.plan.hopEvery / .microseconds(1))
            socket.send("{\"type\":\"status\",\"id\":\"status\"}")
            for room in self.rooms { self.join(room) }
        } onEnvelope: {
            self.read($0)
        } onEnd: { end in
            self.ended(end)
        }
    }

    private func ended(_ end: FaultSocket.End) {
        socket = nil
        clientID = nil
        if !isOrdered {
            for membership in memberships.values { traffic.judge.ended(membership, at: FaultTraffic.now) }
        }
        memberships = [:]
        if case .closed(let code) = end { traffic.note("listener closed \(code.map(String.init) ?? "")") }
        if isOrdered { node = (node + 1) % traffic.plan.nodes }
        traffic.later(isOrdered ? 50 : 150) { self.connect() }
    }

    func tick(_ now: Int) {
        guard hops, isInAllRooms, now >= nextHop else { return }
        traffic.note("hops")
        nextHop = .max
        socket?.drop()
    }

    private func join(_ room: Int) {
        var recover = ""
        if isOrdered, let position = positions[room] {
            recover = ",\"recover\":{\"epoch\":\"\(position.epoch)\",\"offset\":\(position.offset)}"
        }
        socket?.send(
            "{\"type\":\"join_room\",\"id\":\"join:\(room)\",\"data\":{\"room\":\"\(traffic.roomNames[room])\","
                + "\"presence\":true\(recover)}}")
    }

    private func read(_ envelope: FaultSocket.Envelope) {
        switch envelope.type {
        case "t": deliver(envelope)
        case "status": clientID = envelope.string("client_id")
        case "room_joined": joined(envelope)
        case "room_state": changed(envelope)
        case "presence_diff", "reconnect": break
        case "error":
            traffic.note("join error \(envelope.string("code") ?? "?")")
            guard let room = roomOf(envelope.id) else { return }
            // The connection may be another by then.
            let asked = socket
            traffic.later(300) { if self.socket === asked, self.memberships[room] == nil { self.join(room) } }
        default: traffic.note("listener got \(envelope.type)")
        }
    }

    /// The room of a join, by the id of its answer.
    private func roomOf(_ id: String?) -> Int? {
        guard let id, id.hasPrefix("join:"), let room = Int(id.dropFirst(5)), rooms.contains(room) else { return nil }
        return room
    }

    private func joined(_ envelope: FaultSocket.Envelope) {
        guard let room = roomOf(envelope.id) else { return }
        let now = FaultTraffic.now
        guard isOrdered else {
            memberships[room] = traffic.judge.joined(listener: number, room: room)
            return
        }
        guard let epoch = envelope.string("epoch"), let offset = envelope.int("offset") else {
            return traffic.judge.contradict("room_joined of \(traffic.roomNames[room]) has no epoch and offset")
        }
        guard let membership = kept[room], let position = positions[room] else {
            positions[room] = (epoch, offset)
            let membership = traffic.judge.joined(listener: number, room: room, offset: offset)
            kept[room] = membership
            memberships[room] = membership
            return
        }
        memberships[room] = membership
        if envelope.data["recovered"] as? Bool == true {
            traffic.note("recovered")
            if epoch != position.epoch || offset < position.offset {
                traffic.judge.contradict(
                    "recovered from \(position.epoch)/\(position.offset) to \(epoch)/\(offset) in room \(room)")
            }
        } else {
            let reason = envelope.string("reason")
            traffic.note("not recovered: \(reason ?? "no reason")")
            if reason == nil { traffic.judge.contradict("not recovered, and no reason, in room \(room)") }
            traffic.judge.told(membership, position: offset, at: now)
            positions[room] = (epoch, offset)
        }
    }

    private func changed(_ envelope: FaultSocket.Envelope) {
        guard let state = envelope.string("state"), let name = envelope.room,
            let room = rooms.first(where: { traffic.roomNames[$0] == name })
        else { return }
        traffic.note("\(isOrdered ? "ordered" : "fast") room_state \(state)")
        guard isOrdered, state == "gap", let membership = kept[room] else { return }
        traffic.judge.told(membership, at: FaultTraffic.now)
        if let epoch = envelope.string("epoch") { positions[room]?.epoch = epoch }
    }

    private func deliver(_ envelope: FaultSocket.Envelope) {
        guard let publisher = envelope.int("p"), let room = envelope.int("r"), let number = envelope.int("n") else {
            return traffic.judge.contradict("a message without its number")
        }
        let message = DeliveryJudge.Message(publisher: publisher, room: room, number: number)
        guard envelope.room == (traffic.roomNames.indices.contains(room) ? traffic.roomNames[room] : nil),
            let membership = memberships[room]
        else { return traffic.judge.contradict("\(message) came to a client that is not in the room (yet)") }
        traffic.judge.delivered(message, to: membership, node: node, offset: envelope.offset, at: FaultTraffic.now)
        if let offset = envelope.offset { positions[room]?.offset = offset }
        if let from = traffic.judge.node(of: message) { heardNodes[room, default: []].insert(from) }
    }
}

@available(*, unavailable)
extension FaultListener: Sendable {}

/// Asks one node who is in a room.
///
/// Loop-bound: owned by its ``FaultTraffic``.
final class FaultObserver {
    private let traffic: FaultTraffic
    let node: Int
    private(set) var socket: FaultSocket?
    private var waiting: [String: EventLoopPromise<Set<String>?>] = [:]
    private var count = 0
    /// The answer to the last question.
    private var last: EventLoopFuture<Set<String>?>

    init(traffic: FaultTraffic, node: Int) {
        self.traffic = traffic
        self.node = node
        self.last = traffic.loop.makeSucceededFuture(nil)
    }

    func connect() {
        guard let port = traffic.ports[node] else { return traffic.later(100) { self.connect() } }
        FaultSocket.connect(port: port, loop: traffic.loop) { socket in
            self.socket = socket
        } onEnvelope: { envelope in
            guard let id = envelope.id, let promise = self.waiting.removeValue(forKey: id) else { return }
            let members = envelope.data["members"] as? [[String: Any]] ?? []
            let ids = Set(members.compactMap { $0["client_id"] as? String })
            if envelope.type == "presence" {
                // The number must fit the names.
                let count = envelope.int("count") ?? -1
                promise.succeed(count == ids.count ? ids : ids.union(["a count of \(count)"]))
            } else {
                self.traffic.note("presence error \(envelope.string("code") ?? "?")")
                promise.succeed(nil)
            }
        } onEnd: { _ in
            self.socket = nil
            for promise in self.waiting.values { promise.succeed(nil) }
            self.waiting = [:]
            self.traffic.later(100) { self.connect() }
        }
    }

    /// The client ids that the node knows; `nil` when it does not answer within a second. One question at a time: a
    /// node takes no more of one client.
    func members(of room: String) -> EventLoopFuture<Set<String>?> {
        let answer = last.assumeIsolated().flatMap { _ -> EventLoopFuture<Set<String>?> in self.ask(room) }
        last = answer.nonisolated()
        return last
    }

    private func ask(_ room: String) -> EventLoopFuture<Set<String>?> {
        guard let socket, socket.isOpen else { return traffic.loop.makeSucceededFuture(nil) }
        count += 1
        let id = "o\(count)"
        let promise = traffic.loop.makePromise(of: Set<String>?.self)
        waiting[id] = promise
        socket.send("{\"type\":\"presence\",\"id\":\"\(id)\",\"data\":{\"room\":\"\(room)\",\"limit\":1000}}")
        traffic.later(1_000) { self.waiting.removeValue(forKey: id)?.succeed(nil) }
        return promise.futureResult
    }
}

@available(*, unavailable)
extension FaultObserver: Sendable {}
