import ConduitTesting
import NIOCore

/// One client that publishes numbered messages to all rooms. To fast rooms it sends at its pace and counts acks; to
/// ordered ones it has one message under way at a time, and repeats it with the same key until it is acknowledged,
/// on whichever node.
///
/// Loop-bound: owned by its ``FaultTraffic``.
final class FaultPublisher {
    private struct Outstanding {
        var number: Int
        /// When it goes out again.
        var again: Int
    }

    private let traffic: FaultTraffic
    let home: Int
    /// Its number in ordered rooms, over all connections.
    private let number: Int
    /// Its number in fast rooms: another for each connection.
    private var fastNumber: Int
    private(set) var socket: FaultSocket?
    private(set) var node: Int
    private var next: [Int]
    private var due: [Int]
    private var outstanding: [Int: Outstanding] = [:]

    init(traffic: FaultTraffic, number: Int, home: Int) {
        self.traffic = traffic
        self.number = number
        self.fastNumber = traffic.nextPublisher()
        self.home = home
        self.node = home
        self.next = Array(repeating: 0, count: traffic.kinds.count)
        self.due = Array(repeating: 0, count: traffic.kinds.count)
    }

    /// Ordered messages that wait for their ack.
    var waiting: Int { outstanding.count }

    func connect() {
        guard let node = traffic.runningNode(from: node), let port = traffic.ports[node] else {
            return traffic.later(200) { self.connect() }
        }
        self.node = node
        FaultSocket.connect(port: port, loop: traffic.loop) { socket in
            self.socket = socket
            // What was under way on the old connection goes out again at once.
            for room in self.outstanding.keys { self.outstanding[room]?.again = 0 }
        } onEnvelope: {
            self.read($0)
        } onEnd: { end in
            self.socket = nil
            if self.traffic.killed.contains(self.node) { self.traffic.judge.orphaned(publisher: self.fastNumber) }
            self.fastNumber = self.traffic.nextPublisher()
            for room in self.traffic.fastRooms { self.next[room] = 0 }
            if case .closed(let code) = end { self.traffic.note("publisher closed \(code.map(String.init) ?? "")") }
            // Elsewhere, unless there is nothing else.
            self.node = (self.node + 1) % self.traffic.plan.nodes
            self.traffic.later(150) { self.connect() }
        }
    }

    /// From now on messages are due; publishers don't all speak at the same moment.
    func began(at now: Int) {
        for room in due.indices { due[room] = now + (home * due.count + room) * 3_000 }
    }

    func tick(_ now: Int) {
        guard socket?.isOpen == true else { return }
        if traffic.isPublishing {
            for room in traffic.fastRooms where due[room] <= now {
                due[room] = max(due[room], now - 100_000) + Int(1e6 / traffic.plan.fastRate)
                publish(room, fastNumber, next[room])
                next[room] += 1
            }
        }
        for room in traffic.orderedRooms {
            if let waiting = outstanding[room] {
                guard waiting.again <= now else { continue }
                traffic.judge.repeated(.init(publisher: number, room: room, number: waiting.number))
                outstanding[room]?.again = now + 10_000_000
                send(room, number, waiting.number)
            } else if traffic.isPublishing, due[room] <= now {
                due[room] = max(due[room], now - 100_000) + Int(1e6 / traffic.plan.orderedRate)
                outstanding[room] = Outstanding(number: next[room], again: now + 10_000_000)
                publish(room, number, next[room])
                next[room] += 1
            }
        }
    }

    private func publish(_ room: Int, _ publisher: Int, _ number: Int) {
        traffic.judge.published(
            .init(publisher: publisher, room: room, number: number), node: node, at: FaultTraffic.now)
        send(room, publisher, number)
    }

    private func send(_ room: Int, _ publisher: Int, _ number: Int) {
        let id = "\(publisher):\(room):\(number)"
        let isOrdered = traffic.kinds[room] == .ordered
        let padding =
            isOrdered || traffic.plan.padding == 0
            ? "" : ",\"pad\":\"" + String(repeating: "x", count: traffic.plan.padding) + "\""
        socket?.send(
            "{\"type\":\"broadcast\",\"id\":\"\(id)\",\"data\":{\"room\":\"\(traffic.roomNames[room])\",\"type\":\"t\","
                + (isOrdered ? "\"key\":\"k\(id)\"," : "")
                + "\"payload\":{\"p\":\(publisher),\"r\":\(room),\"n\":\(number)\(padding)}}}")
    }

    private func read(_ envelope: FaultSocket.Envelope) {
        guard let id = envelope.id, case let parts = id.split(separator: ":").compactMap({ Int($0) }), parts.count == 3
        else {
            if envelope.type != "reconnect" { traffic.note("publisher got \(envelope.type)") }
            return
        }
        let message = DeliveryJudge.Message(publisher: parts[0], room: parts[1], number: parts[2])
        let isOrdered = traffic.kinds[message.room] == .ordered
        switch envelope.type {
        case "ack":
            if isOrdered {
                // A late answer to an earlier attempt says the same.
                guard outstanding[message.room]?.number == message.number else { return }
                outstanding[message.room] = nil
                if envelope.data["duplicate"] as? Bool == true { traffic.note("ack duplicate") }
            }
            traffic.judge.acknowledged(
                message, epoch: envelope.string("epoch"), offset: envelope.int("offset"), at: FaultTraffic.now)
        case "error":
            let code = envelope.string("code") ?? "?"
            traffic.note("\(traffic.kinds[message.room].rawValue) error \(code)")
            if isOrdered, outstanding[message.room]?.number == message.number {
                outstanding[message.room]?.again = FaultTraffic.now + 200_000
            }
        default: traffic.note("publisher got \(envelope.type)")
        }
    }
}

@available(*, unavailable)
extension FaultPublisher: Sendable {}
