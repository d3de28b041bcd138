import ConduitCore
import ConduitHub

/// Rosters that are read for a question about a room that this node doesn't follow: one at a time for each room,
/// however many ask, and few at once.
struct RosterScans {
    /// Rosters that are read at once.
    static let window = 4
    /// Questions that may wait.
    static let limit = 1_024

    private struct Scan {
        let number: UInt64
        let deadline: Int64
        var waiting: [PresenceQuery]
    }

    private var scans: [RoomName: Scan] = [:]
    private var queue: [(room: RoomName, number: UInt64)] = []
    /// Scans that Redis still owes an answer, the ones that were given up too.
    private var running = 0
    private var newest: UInt64 = 0
    /// Questions that wait.
    private(set) var count = 0

    /// Takes a question in; `false` when too many wait. A scan that runs already answers it too.
    mutating func add(_ query: PresenceQuery, until deadline: Int64) -> Bool {
        guard count < Self.limit else { return false }
        count += 1
        if scans[query.room] != nil {
            scans[query.room]?.waiting.append(query)
            return true
        }
        newest += 1
        scans[query.room] = Scan(number: newest, deadline: deadline, waiting: [query])
        queue.append((query.room, newest))
        return true
    }

    /// The next roster to read, if one more may be read now.
    mutating func next() -> (room: RoomName, number: UInt64)? {
        guard running < Self.window else { return nil }
        while !queue.isEmpty {
            let first = queue.removeFirst()
            guard isWanted(first.room, first.number) else { continue }
            running += 1
            return first
        }
        return nil
    }

    /// Whether somebody still waits for this scan.
    func isWanted(_ room: RoomName, _ number: UInt64) -> Bool { scans[room]?.number == number }

    /// A scan ended, well or not. Returns who waited for it.
    mutating func finished(_ room: RoomName, _ number: UInt64) -> [PresenceQuery] {
        running -= 1
        guard isWanted(room, number), let scan = scans.removeValue(forKey: room) else { return [] }
        count -= scan.waiting.count
        return scan.waiting
    }

    /// Gives up what has taken too long. Returns who waited for it.
    mutating func expire(now: Int64) -> [PresenceQuery] {
        guard count > 0 else { return [] }
        var late: [PresenceQuery] = []
        for (room, scan) in scans where scan.deadline <= now {
            scans[room] = nil
            count -= scan.waiting.count
            late += scan.waiting
        }
        return late
    }
}
