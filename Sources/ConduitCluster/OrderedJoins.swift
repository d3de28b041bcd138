import ConduitCore
import ConduitHub
import ConduitWire

/// Clients that wait to be let into ordered rooms, and what is read for those who missed something.
///
/// A value. A room's log is read once for all who wait, backwards from where the node stands as far as a resume may go.
/// What is delivered meanwhile is added, so that each gets everything up to the last message that its shard has had.
struct OrderedJoins {
    /// Clients that may wait.
    static let limit = 100_000
    /// How long one waits, in milliseconds.
    static let patience: Int64 = 5_000

    /// One of them.
    struct Waiting {
        let join: OrderedJoin
        let deadline: Int64
        /// The log was read after it came, up to the end.
        var hasSeenEnd = false
    }

    /// What is to be done with one.
    enum Verdict: Equatable {
        case admit(recovered: Bool, reason: RecoveryFailure?)
        /// What it missed is to be read.
        case replay
        /// It has read further than this node: the log tells who is right.
        case ahead
    }

    /// A message that was or will be delivered.
    struct Frame {
        let offset: UInt64
        let message: ServerMessage
    }

    /// A read for clients of one room.
    struct Resume {
        let number: UInt64
        let epoch: String
        /// Where the one stopped that missed most.
        let after: UInt64
        var joins: [Waiting]
        /// What was read, the newest first.
        var read: [Frame] = []
        /// The last offset that isn't read yet.
        var through: UInt64
        /// What was delivered since.
        var tail: [Frame] = []
        var bytes = 0
        var tailBytes = 0
        /// There was more than one replay may have.
        var isCut = false
    }

    /// Of one client's replay.
    var byteLimit: Int
    /// Messages of fewer bytes are compressed for nobody.
    private let compressesFrom: Int
    private var waiting: [RoomName: [Waiting]] = [:]
    private var resumes: [RoomName: Resume] = [:]
    private var newest: UInt64 = 0
    /// Clients that wait, for whatever.
    private(set) var count = 0

    /// `byteLimit`: of one client's replay.
    init(byteLimit: Int, compressesFrom: Int = .max) {
        self.byteLimit = byteLimit
        self.compressesFrom = compressesFrom
    }

    /// Rooms with somebody who waits for a position.
    var rooms: some Collection<RoomName> { waiting.keys }
    func hasWaiting(_ room: RoomName) -> Bool { waiting[room] != nil }

    /// What a client gets, by what it asks for and where the node stands.
    static func verdict(_ asked: RecoveryPoint?, at position: RecoveryPoint, limit: Int) -> Verdict {
        guard let asked else { return .admit(recovered: false, reason: nil) }
        guard asked.epoch == position.epoch else { return .admit(recovered: false, reason: .epochChanged) }
        if asked.offset == position.offset { return .admit(recovered: true, reason: nil) }
        if asked.offset > position.offset { return .ahead }
        guard position.offset - asked.offset <= UInt64(clamping: limit) else {
            return .admit(recovered: false, reason: .limit)
        }
        return .replay
    }

    // MARK: Waiting

    /// Takes a client in; `false` when too many wait.
    mutating func add(_ join: OrderedJoin, now: Int64) -> Bool {
        guard count < Self.limit else { return false }
        count += 1
        waiting[join.room, default: []].append(Waiting(join: join, deadline: now + Self.patience))
        return true
    }

    /// Takes all who wait for a room's position out, to be answered or put back.
    mutating func take(_ room: RoomName) -> [Waiting] {
        let taken = waiting.removeValue(forKey: room) ?? []
        count -= taken.count
        return taken
    }

    mutating func putBack(_ some: [Waiting], to room: RoomName) {
        guard !some.isEmpty else { return }
        count += some.count
        waiting[room, default: []] += some
    }

    /// The log was read up to its end.
    mutating func sawEnd(of room: RoomName) {
        guard let indices = waiting[room]?.indices else { return }
        for index in indices { waiting[room]?[index].hasSeenEnd = true }
    }

    /// Takes out who has waited for too long.
    mutating func expire(now: Int64) -> [Waiting] {
        guard count > 0 else { return [] }
        var late: [Waiting] = []
        for (room, some) in waiting {
            let expired = some.filter { $0.deadline <= now }
            guard !expired.isEmpty else { continue }
            let rest = some.filter { $0.deadline > now }
            waiting[room] = rest.isEmpty ? nil : rest
            late += expired
        }
        for (room, resume) in resumes where resume.joins.contains(where: { $0.deadline <= now }) {
            late += resume.joins.filter { $0.deadline <= now }
            resumes[room]?.joins.removeAll { $0.deadline <= now }
        }
        count -= late.count
        return late
    }

    /// Takes out all who wait for a room, for whatever.
    mutating func removeAll(of room: RoomName) -> [Waiting] {
        var all = take(room)
        if let resume = resumes.removeValue(forKey: room) {
            count -= resume.joins.count
            all += resume.joins
        }
        return all
    }

    // MARK: Resuming

    /// Reads for clients who stopped before `position`. Those whom a read that is under way serves too join it; returns
    /// the number of a new read when one is to be made, and puts back who has to wait for the one before it.
    mutating func resume(_ some: [Waiting], of room: RoomName, at position: RecoveryPoint) -> UInt64? {
        guard !some.isEmpty else { return nil }
        if let running = resumes[room] {
            let served = some.filter {
                running.epoch == position.epoch && ($0.join.recover?.offset ?? 0) >= running.after
            }
            resumes[room]?.joins += served
            count += served.count
            let others = some.filter {
                running.epoch != position.epoch || ($0.join.recover?.offset ?? 0) < running.after
            }
            putBack(others, to: room)
            return nil
        }
        newest += 1
        count += some.count
        resumes[room] = Resume(
            number: newest, epoch: position.epoch, after: some.compactMap { $0.join.recover?.offset }.min() ?? 0,
            joins: some, through: position.offset)
        return newest
    }

    /// The part of the log that the read `number` needs next; `nil` when nobody waits for it any more.
    func request(_ room: RoomName, _ number: UInt64) -> (after: RecoveryPoint, through: UInt64, bytes: Int)? {
        guard let resume = resumes[room], resume.number == number else { return nil }
        let after = RecoveryPoint(epoch: resume.epoch, offset: resume.after)
        return (after, resume.through, max(1, byteLimit - resume.bytes))
    }

    /// Something was delivered to the room's members.
    mutating func delivered(_ message: ServerMessage, offset: UInt64, epoch: String, to room: RoomName) {
        guard !resumes.isEmpty, let index = resumes.index(forKey: room), resumes.values[index].epoch == epoch else {
            return
        }
        resumes.values[index].tailBytes += message.byteCount
        guard resumes.values[index].tailBytes <= byteLimit else {
            // Everybody who waits lacks more than a replay may have.
            resumes.values[index].isCut = true
            resumes.values[index].tail = []
            return
        }
        resumes.values[index].tail.append(Frame(offset: offset, message: message))
    }

    /// A part of the log, newest last. Returns whether more is to be read.
    mutating func read(_ page: OrderedRoom.Page, of room: RoomName, _ number: UInt64) -> Bool {
        guard let index = resumes.index(forKey: room), resumes.values[index].number == number else { return false }
        for message in page.messages.reversed() where message.offset <= resumes.values[index].through {
            let frame = ServerMessage(json: message.json, offset: message.offset)
            resumes.values[index].read.append(Frame(offset: message.offset, message: frame))
            resumes.values[index].bytes += frame.byteCount
            resumes.values[index].through = message.offset - 1
        }
        guard !page.isWhole, !page.messages.isEmpty else { return false }
        if resumes.values[index].bytes >= byteLimit { resumes.values[index].isCut = true }
        return !resumes.values[index].isCut
    }

    /// The read has ended: who waited for it, and what there is for them, oldest first.
    mutating func finish(_ room: RoomName, _ number: UInt64) -> (resume: Resume, frames: [Frame])? {
        guard let resume = resumes[room], resume.number == number else { return nil }
        resumes[room] = nil
        count -= resume.joins.count
        let frames = resume.read.reversed() + resume.tail
        // One client's replay is compressed as it is written. What several get is compressed once for all of them.
        guard resume.joins.count > 1, compressesFrom < .max else { return (resume, frames) }
        return (resume, frames.map(compressible))
    }

    private func compressible(_ frame: Frame) -> Frame {
        guard frame.message.byteCount >= compressesFrom else { return frame }
        return Frame(offset: frame.offset, message: frame.message.compressible)
    }

    /// What a client that stopped at `asked` gets of `frames`, which end where the node stands. `isCut`: the log may
    /// have more before them.
    func replay(
        after asked: UInt64, of frames: [Frame], at position: RecoveryPoint, limit: Int, isCut: Bool
    ) -> (messages: [ServerMessage], failure: RecoveryFailure?) {
        guard asked < position.offset else { return ([], asked == position.offset ? nil : .offsetAhead) }
        let missing = position.offset - asked
        guard missing <= UInt64(clamping: limit) else { return ([], .limit) }
        let part = frames.suffix(Int(clamping: missing))
        guard part.count == Int(clamping: missing), part.first?.offset == asked + 1,
            part.last?.offset == position.offset
        else { return ([], isCut ? .limit : .trimmed) }
        guard part.reduce(0, { $0 + $1.message.byteCount }) <= byteLimit else { return ([], .limit) }
        return (part.map(\.message), nil)
    }
}
