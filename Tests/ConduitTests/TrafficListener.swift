import ConduitTesting
import Foundation
import NIOCore
import Synchronization

/// One client that reads all the time and keeps what it got of the traffic: numbers in order, and the time each took.
final class TrafficListener: Sendable {
    struct Arrival: Sendable {
        let sender: Int
        let number: Int
        /// From just before it was sent to when it was read here; one clock, since all is on one machine.
        let microseconds: Int
    }

    /// Who came and went in a room, as told by `presence_diff`.
    struct Leaving: Sendable, Hashable {
        let client: String
        let reason: String
    }

    private struct State {
        var arrivals: [Arrival] = []
        var answers: [String: TestEvent] = [:]
        var left: [Leaving] = []
        var rosterCount: Int?
        var isOver = false
    }

    let socket: TestWebSocket
    private let state = Mutex(State())
    private let reading = Mutex<Task<Void, Never>?>(nil)

    private init(socket: TestWebSocket) { self.socket = socket }

    /// Connects to a node and, where one is named, joins a room.
    static func connect(
        to node: NodeProcess, room: String? = nil, presence: Bool = false, subprotocols: [String] = []
    ) async throws -> TrafficListener {
        let listener = TrafficListener(
            socket: try await TestWebSocket.connect(port: node.port, subprotocols: subprotocols))
        let task = Task { [weak listener, socket = listener.socket] in
            while let text = try? await socket.nextText(timeout: .hours(1)) { listener?.note(text) }
            listener?.state.withLock { $0.isOver = true }
        }
        listener.reading.withLock { $0 = task }
        if let room {
            let answer = try await listener.request("join_room", "{\"room\":\"\(room)\",\"presence\":\(presence)}")
            guard answer.type == "room_joined" else { throw NodeProcess.Failure(description: "\(answer)") }
        }
        return listener
    }

    private func note(_ text: String) {
        let now = Traffic.now
        guard let event = TestEvent(text) else { return }
        state.withLock { state in
            if let id = event.id {
                state.answers[id] = event
            } else if event.type == "traffic", let sender = event.int("s"), let number = event.int("n"),
                let sent = event.int("t")
            {
                state.arrivals.append(Arrival(sender: sender, number: number, microseconds: now - sent))
            } else if event.type == "presence_diff" {
                for member in event.data["left"] as? [[String: Any]] ?? [] {
                    state.left.append(
                        Leaving(
                            client: member["client_id"] as? String ?? "", reason: member["reason"] as? String ?? ""))
                }
                state.rosterCount = event.int("count")
            }
        }
    }

    func request(_ type: String, _ data: String = "null") async throws -> TestEvent {
        let id = UUID().uuidString
        try await socket.send("{\"type\":\"\(type)\",\"data\":\(data),\"id\":\"\(id)\"}")
        try await eventually("answer to \(type)") { self.state.withLock { $0.answers[id] != nil || $0.isOver } }
        guard let answer = state.withLock({ $0.answers.removeValue(forKey: id) }) else {
            throw NodeProcess.Failure(description: "closed before the answer to \(type)")
        }
        return answer
    }

    func clientID() async throws -> String { try await request("status").string("client_id") ?? "" }

    /// The client ids of a room, as this client's node knows them.
    func roster(_ room: String) async throws -> Set<String> {
        let answer = try await request("presence", "{\"room\":\"\(room)\",\"limit\":1000}")
        let members = answer.data["members"] as? [[String: Any]] ?? []
        return Set(members.compactMap { $0["client_id"] as? String })
    }

    var arrivals: [Arrival] { state.withLock { $0.arrivals } }

    /// The numbers of one sender, in the order in which they came.
    func numbers(from sender: Int) -> [Int] { arrivals.filter { $0.sender == sender }.map(\.number) }

    /// Who left, with the reasons, in order.
    var left: [Leaving] { state.withLock { $0.left } }

    /// How many members the last `presence_diff` told of.
    var rosterCount: Int? { state.withLock { $0.rosterCount } }
}

/// Numbered broadcasts to one room, from several clients at a steady pace, until stopped.
final class Traffic: Sendable {
    private let tasks: [Task<Int, Never>]

    /// Microseconds of the clock that messages are stamped with.
    static var now: Int { Int(NIODeadline.now().uptimeNanoseconds / 1_000) }

    /// The index of a publisher is its number as a sender.
    init(from publishers: [TrafficListener], to room: String, every pause: Duration = .milliseconds(5)) {
        tasks = publishers.enumerated().map { sender, publisher in
            Task {
                var number = 0
                let clock = ContinuousClock()
                var due = clock.now
                while !Task.isCancelled {
                    let payload = "{\"s\":\(sender),\"n\":\(number),\"t\":\(Self.now)}"
                    publisher.socket.sendWithoutWaiting(
                        "{\"type\":\"broadcast\",\"data\":{\"room\":\"\(room)\",\"type\":\"traffic\",\"payload\":\(payload)}}"
                    )
                    number += 1
                    due += pause
                    // The pace of the load, not a way to be in step with the server.
                    try? await clock.sleep(until: due)
                }
                return number
            }
        }
    }

    /// Stops, and says how many messages each sender has sent.
    func stop() async -> [Int] {
        for task in tasks { task.cancel() }
        var totals: [Int] = []
        for task in tasks { totals.append(await task.value) }
        return totals
    }

    deinit {
        for task in tasks { task.cancel() }
    }
}

/// Percentiles of a few thousand times, for what a test prints.
struct Latencies: CustomStringConvertible {
    private let sorted: [Int]

    init(_ arrivals: some Sequence<TrafficListener.Arrival>) { sorted = arrivals.map(\.microseconds).sorted() }

    private func at(_ part: Double) -> Double {
        guard !sorted.isEmpty else { return 0 }
        return Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]) / 1_000
    }

    var description: String {
        let figures = [("p50", 0.5), ("p99", 0.99), ("max", 1)].map { name, part in
            "\(name) \(String(format: "%.1f", at(part))) ms"
        }
        return "\(sorted.count) messages, " + figures.joined(separator: ", ")
    }
}

extension [Int] {
    /// Whether each number is above the one before: nothing twice, nothing out of order.
    var isStrictlyAscending: Bool { zip(self, dropFirst()).allSatisfy { $0 < $1 } }
}
