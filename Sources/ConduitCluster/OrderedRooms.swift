import ConduitCore
import ConduitWire
import NIOCore

/// The ordered rooms that this node follows: their positions, and which logs are to be read.
///
/// A value, owned by the bridge. Reads wait in a queue and run few at a time; each has a number, so that an answer for
/// a room that was given up and taken up again meanwhile is not mistaken.
struct OrderedRooms {
    /// Logs that are read at once.
    static let readWindow = 64
    /// Bytes that wait behind holes, in all rooms together.
    static let waitingByteLimit = 32 << 20
    /// How long a message may be on its way after Redis has told of it, in milliseconds.
    static let patience: Int64 = 250
    /// How long a failed read is not tried again, in milliseconds.
    static let retryMilliseconds: Int64 = 500

    private struct Entry {
        let number: UInt64
        var room = OrderedRoom()
    }

    private var entries: [RoomName: Entry] = [:]
    private var newest: UInt64 = 0
    private var queue = CircularBuffer<RoomName>()
    private var queued: Set<RoomName> = []
    private var running = 0
    private var waitingBytes = 0
    /// What should have come, and until when.
    private var expected: [RoomName: (point: RecoveryPoint, deadline: Int64)] = [:]
    private var retries: [(room: RoomName, at: Int64)] = []
    /// Rooms that are not live, since when.
    private var behind: [RoomName: Int64] = [:]
    /// Rooms whose observers were told so.
    private var told: Set<RoomName> = []

    var isEmpty: Bool { entries.isEmpty }
    var rooms: some Collection<RoomName> { entries.keys }
    func contains(_ room: RoomName) -> Bool { entries[room] != nil }
    subscript(_ room: RoomName) -> OrderedRoom? { entries[room]?.room }

    // MARK: Life

    /// Begins to follow a room; its position isn't known.
    mutating func open(_ room: RoomName) {
        guard entries[room] == nil else { return }
        newest += 1
        entries[room] = Entry(number: newest)
    }

    /// Nobody of this node is interested any more.
    mutating func close(_ room: RoomName) {
        guard let entry = entries.removeValue(forKey: room) else { return }
        waitingBytes -= entry.room.waitingBytes
        queued.remove(room)
        expected[room] = nil
        behind[room] = nil
        told.remove(room)
    }

    /// Changes a room, and queues its log when that is to be read.
    mutating func update<Result>(
        _ room: RoomName, now: @autoclosure () -> Int64, _ body: (inout OrderedRoom) -> Result
    ) -> Result? {
        guard let index = entries.index(forKey: room) else { return nil }
        let before = entries.values[index].room.waitingBytes
        let result = body(&entries.values[index].room)
        waitingBytes += entries.values[index].room.waitingBytes - before
        if waitingBytes > Self.waitingByteLimit {
            waitingBytes -= entries.values[index].room.waitingBytes
            entries.values[index].room.dropWaiting()
        }
        if entries.values[index].room.isLive {
            if !behind.isEmpty { behind[room] = nil }
        } else {
            if behind[room] == nil { behind[room] = now() }
            if entries.values[index].room.wantsRead { enqueue(room) }
        }
        return result
    }

    private mutating func enqueue(_ room: RoomName) {
        guard queued.insert(room).inserted else { return }
        queue.append(room)
    }

    // MARK: Reads

    /// The next log to read, if one more may be read now. Rooms for which `mayRead` is false leave the queue.
    mutating func nextRead(_ mayRead: (RoomName) -> Bool) -> (room: RoomName, number: UInt64, state: OrderedRoom)? {
        while running < Self.readWindow, let room = queue.popFirst() {
            guard queued.remove(room) != nil, let entry = entries[room], entry.room.wantsRead, mayRead(room) else {
                continue
            }
            running += 1
            entries[room]?.room.readStarted()
            return (room, entry.number, entry.room)
        }
        return nil
    }

    /// A read has ended. Returns whether its answer still concerns somebody.
    mutating func readEnded(_ room: RoomName, _ number: UInt64) -> Bool {
        running -= 1
        return entries[room]?.number == number
    }

    /// A read has failed: it is tried again in a while.
    mutating func readFailed(_ room: RoomName, now: Int64) {
        entries[room]?.room.readFailed()
        retries.append((room, now + Self.retryMilliseconds))
    }

    /// Something is to be read again, as far as it isn't known to be whole.
    mutating func want(_ room: RoomName) {
        if entries[room]?.room.wantsRead == true { enqueue(room) }
    }

    // MARK: Time

    /// Redis has told a position that the bus hasn't brought yet.
    mutating func expect(_ point: RecoveryPoint, in room: RoomName, now: Int64) {
        if expected[room] == nil { expected[room] = (point, now + Self.patience) }
    }

    /// Doubts rooms in which something has been expected for too long, and queues what is due.
    mutating func tick(now: Int64) {
        for (room, wait) in expected where wait.deadline <= now {
            expected[room] = nil
            guard let position = entries[room]?.room.position, position.epoch == wait.point.epoch,
                position.offset < wait.point.offset
            else { continue }
            update(room, now: now) { $0.doubt() }
        }
        guard !retries.isEmpty else { return }
        let due = retries.filter { $0.at <= now }
        retries.removeAll { $0.at <= now }
        for (room, _) in due { want(room) }
    }

    // MARK: What observers are told

    /// Rooms that have been behind for a while and whose observers don't know it; they do from now on.
    mutating func takeNewlyBehind(before time: Int64) -> [RoomName] {
        guard !behind.isEmpty else { return [] }
        let rooms = behind.filter { $0.value <= time && !told.contains($0.key) }.map(\.key)
        told.formUnion(rooms)
        return rooms
    }

    /// The observers of all rooms were told that something is wrong.
    mutating func allAreTold() { told = Set(entries.keys) }

    /// Whether the room's observers are to be told that it is whole again; they are from now on.
    mutating func takeRecovered(_ room: RoomName) -> Bool {
        guard !told.isEmpty, entries[room]?.room.isLive == true else { return false }
        return told.remove(room) != nil
    }
}
