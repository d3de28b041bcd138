import ConduitCore
import ConduitTesting
import Synchronization

/// Numbered messages from every node into several rooms, all the while, and what became of them at the other nodes.
/// What was published while nobody listened is repaired from its origin's ring, so nothing may be lost at all.
final class RoomTraffic: Sendable {
    /// What a receiver can say of one sender's messages in one room.
    struct Verdict: CustomStringConvertible {
        var received = 0
        var reordered = 0
        var doubled = 0
        /// Numbers that never came.
        var lost: Set<Int> = []
        /// The same for each sender, receiver and room.
        var losses: [String] = []
        var isPerfect: Bool { reordered == 0 && doubled == 0 && lost.isEmpty }

        var description: String {
            let all = losses.isEmpty ? "" : ": " + losses.joined(separator: ", ")
            return "\(received) received, \(reordered) reordered, \(doubled) doubled, \(lost.count) numbers lost\(all)"
        }
    }

    let nodes: [TestNode]
    let rooms: [RoomName]
    private let number = Atomic<Int>(0)
    private let isOver = Atomic<Bool>(false)
    private struct Book {
        /// Records of each node's sink that were read.
        var read: [NodeID: Int] = [:]
        var lines: [String: [Int]] = [:]
    }
    private let book = Mutex(Book())
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// Every node joins every room.
    init(_ nodes: [TestNode], rooms: [RoomName]) async throws {
        self.nodes = nodes
        self.rooms = rooms
        for node in nodes {
            for room in rooms { try node.join(room, "x") }
        }
        for node in nodes {
            for room in rooms { try await node.waitForRoster(room, Set(nodes.map { "\($0.id).x" })) }
        }
    }

    /// Begins, at most a hundred messages a second in each room from each node.
    func start() {
        let sender = Task { [self] in
            while !isOver.load(ordering: .relaxed) {
                let next = number.load(ordering: .relaxed)
                for node in nodes {
                    for room in rooms { node.broadcast(room, "{\"from\":\"\(node.id)\",\"n\":\(next)}") }
                }
                number.store(next + 1, ordering: .relaxed)
                try? await Task.sleep(for: .milliseconds(10))
            }
        }
        task.withLock { $0 = sender }
    }

    /// The number of the next message.
    var next: Int { number.load(ordering: .relaxed) }

    /// Waits until everybody has everybody's message of this number or a later one, in every room.
    func reaches(_ number: Int, within limit: Duration = .seconds(60)) async throws {
        try await eventually("message \(number) is everywhere", within: limit, poll: .milliseconds(50)) {
            self.lines.allSatisfy { ($0.last ?? -1) >= number }
        }
    }

    /// Ends and says what became of everything, together.
    func stop() async throws -> Verdict {
        isOver.store(true, ordering: .relaxed)
        await task.withLock { $0 }?.value
        let count = next
        try await reaches(count - 1)
        var sum = Verdict()
        for line in lines {
            sum.received += line.count
            var highest = -1
            for number in line {
                if number < highest { sum.reordered += 1 }
                highest = max(highest, number)
            }
            let unique = Set(line)
            sum.doubled += line.count - unique.count
            let lost = Set(0..<count).subtracting(unique)
            if !lost.isEmpty { sum.losses.append("\(lost.count) of \(lost.min() ?? 0)...\(lost.max() ?? 0)") }
            sum.lost.formUnion(lost)
        }
        return sum
    }

    /// The numbers that each node got from each other one in each room, in the order of arrival. What was read once is
    /// not read again: a look must cost nothing beside the traffic.
    private var lines: [[Int]] {
        book.withLock { book in
            for node in nodes {
                let received = node.sink.received
                for entry in received[book.read[node.id, default: 0]...] {
                    guard case .room(let room) = entry.kind, let (sender, number) = Self.read(entry.json) else {
                        continue
                    }
                    book.lines["\(node.id) \(room) \(sender)", default: []].append(number)
                }
                book.read[node.id] = received.count
            }
            return nodes.flatMap { receiver in
                nodes.filter { $0.id != receiver.id }.flatMap { sender in
                    rooms.map { book.lines["\(receiver.id) \($0) \(sender.id)"] ?? [] }
                }
            }
        }
    }

    private static func read(_ json: String) -> (sender: String, number: Int)? {
        let parts = json.split(separator: "\"")
        guard parts.count == 7, let number = Int(parts[6].dropFirst().dropLast()) else { return nil }
        return (String(parts[3]), number)
    }
}
