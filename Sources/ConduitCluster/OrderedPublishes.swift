import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore

/// Messages for ordered rooms until Redis has answered for them.
///
/// A value. One script a room is under way at a time; what comes meanwhile waits and goes together with the next. So
/// a room costs Redis one script a round trip however many publish to it, and nothing overtakes. Bounded by bytes and
/// number; what is beyond is refused, not kept.
struct OrderedPublishes {
    /// Most messages in one script.
    static let batchLimit = 512
    /// A script that has so many bytes takes no further message.
    static let batchBytes = 256 * 1024
    /// Messages that may wait.
    static let countLimit = 65_536
    /// What a message weighs besides its JSON.
    private static let overhead = 128
    /// Rooms whose last position is remembered.
    static let knownLimit = 16_384

    private struct Queue {
        var waiting = CircularBuffer<OrderedPublish>()
        var isUnderWay = false
    }

    private let byteLimit: Int
    private var queues: [RoomName: Queue] = [:]
    /// Rooms with something to send and nothing under way, in the order in which it came.
    private var ready = CircularBuffer<RoomName>()
    /// What Redis said last of rooms that were published to.
    private var known: [RoomName: RecoveryPoint] = [:]
    /// Messages that wait or are under way.
    private(set) var count = 0
    /// Their bytes.
    private(set) var bytes = 0

    init(byteLimit: Int) { self.byteLimit = byteLimit }

    /// Whether nothing waits and nothing is under way.
    var isEmpty: Bool { count == 0 }

    private static func weight(_ message: OrderedPublish) -> Int { message.json.readableBytes + overhead }

    /// Takes a message in; `false` when too much waits.
    mutating func add(_ message: OrderedPublish) -> Bool {
        let weight = Self.weight(message)
        guard count < Self.countLimit, bytes + weight <= byteLimit else { return false }
        count += 1
        bytes += weight
        var queue = Queue()
        // Out of the table and back, so that it isn't copied.
        swap(&queue, &queues[message.room, default: Queue()])
        if queue.waiting.isEmpty, !queue.isUnderWay { ready.append(message.room) }
        queue.waiting.append(message)
        queues[message.room] = queue
        return true
    }

    /// The messages of the next script; they are under way from now on.
    mutating func next() -> (room: RoomName, messages: [OrderedPublish])? {
        guard let room = ready.popFirst(), var queue = queues.removeValue(forKey: room) else { return nil }
        var batch: [OrderedPublish] = []
        var size = 0
        while let message = queue.waiting.first, batch.count < Self.batchLimit, size < Self.batchBytes {
            // A payload of the bus carries one trace: a traced message goes alone.
            if message.relaySpan != nil, !batch.isEmpty { break }
            queue.waiting.removeFirst()
            size += Self.weight(message)
            batch.append(message)
            if message.relaySpan != nil { break }
        }
        queue.isUnderWay = true
        queues[room] = queue
        return (room, batch)
    }

    /// The script of a room has ended, well or not.
    mutating func ended(_ room: RoomName, _ messages: [OrderedPublish]) {
        count -= messages.count
        bytes -= messages.reduce(0) { $0 + Self.weight($1) }
        guard var queue = queues.removeValue(forKey: room), !queue.waiting.isEmpty else { return }
        queue.isUnderWay = false
        queues[room] = queue
        ready.append(room)
    }

    /// Takes out everything that isn't under way.
    mutating func removeWaiting() -> [OrderedPublish] {
        guard count > 0 else { return [] }
        var removed: [OrderedPublish] = []
        for (room, queue) in queues {
            removed += queue.waiting
            queues[room] = queue.isUnderWay ? Queue(isUnderWay: true) : nil
        }
        ready.removeAll()
        count -= removed.count
        bytes -= removed.reduce(0) { $0 + Self.weight($1) }
        return removed
    }

    // MARK: Positions

    /// What is known of a room that this node doesn't follow.
    func position(of room: RoomName) -> RecoveryPoint? { known[room] }

    /// Redis has told where a room is.
    mutating func learned(_ position: RecoveryPoint, of room: RoomName) {
        if known.count >= Self.knownLimit, known[room] == nil { known.removeAll(keepingCapacity: true) }
        known[room] = position
    }
}
