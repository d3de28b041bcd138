import ConduitCore
import ConduitWire
import NIOCore

/// What the clients of one shard are owed and were not written yet. A value without I/O.
///
/// The messages of one room in one turn are a *run*: one buffer, in which they stand behind each other. A member that is
/// owed nothing else holds only the run's number, so a second message to the room costs nothing per member, and a member
/// is written the run's bytes in one piece. Who is owed anything besides (an answer, another room's messages) holds a
/// *chain* of pieces in the order in which they came: whatever rooms one sender's messages went to, they never overtake
/// each other. Nothing is allocated per recipient.
///
/// Clients wait in one of two queues. ``nextUrgent()`` serves those who are owed answers or messages of rooms of usual
/// size, ``nextBulk()`` the members of very large rooms, which the shard takes in slices. A client that is owed both is
/// served by the first, in order.
///
/// Who takes messages compressed is owed the same runs and pieces; when the first of them is served, the run gets a twin
/// in which compressed frames stand in for those that compress.
struct Outbox {
    /// What one client is to be sent now.
    struct Write {
        let client: Int32
        let bytes: ByteBuffer
        /// How many messages the bytes are.
        let messages: Int
    }

    /// A room with more members than this on one shard is served in slices.
    static let bulkMembers = 512
    /// Storage beyond this many links or bytes is given back when everything is written.
    private static let keptLinks = 1 << 16
    private static let keptBytes = 1 << 20
    /// More than this is not left waiting for a next slice.
    private static let heavyLinks = 1 << 17
    static let mostBytes = 16 << 20
    private static let heavyRuns = 1 << 14
    private static let spareBuffers = 256

    private var heavyBytes: Int
    private let compressor: MessageCompressor?
    /// Clients who take messages compressed.
    private var deflatingClients = 0
    private var pending: ContiguousArray<Pending> = []
    private var links: ContiguousArray<Link> = []
    private var runs: ContiguousArray<Run> = []
    /// The open run of each room, by the room's number; -1 for none.
    private var openRun: ContiguousArray<Int32> = []
    private var openRooms: ContiguousArray<Int32> = []
    /// The open run to everybody.
    private var everybody: Int32 = -1
    /// Answers to single clients, behind each other.
    private var answers = ByteBuffer()
    private var gathered = ByteBuffer()
    private var urgent = Queue()
    private var bulk = Queue()
    private var spares: [ByteBuffer] = []
    private var runBytes = 0

    /// An outbox that is to be written when it holds so many bytes, whatever the turn.
    ///
    /// - Parameter compressor: for clients who take messages compressed; without one there are none.
    init(heavyBytes: Int = Outbox.mostBytes, compressor: MessageCompressor? = nil) {
        self.heavyBytes = Self.bounded(heavyBytes)
        self.compressor = compressor
    }

    /// Another bound for what is held.
    mutating func reload(heavyBytes: Int) { self.heavyBytes = Self.bounded(heavyBytes) }

    private static func bounded(_ heavyBytes: Int) -> Int { min(max(heavyBytes, 64 << 10), mostBytes) }

    /// Whether nobody is owed anything.
    var isEmpty: Bool { urgent.isEmpty && bulk.isEmpty }
    /// Whether members of large rooms are owed something.
    var hasBulk: Bool { !bulk.isEmpty }
    /// Whether so much is owed that it is to be written now, not in slices.
    var isHeavy: Bool {
        runBytes + answers.writerIndex > heavyBytes || links.count > Self.heavyLinks || runs.count > Self.heavyRuns
    }

    // MARK: Messages

    /// Queues a message for the members of a room, but not for `excluded`.
    mutating func publish(
        _ frame: ByteBuffer, deflated: DeflatedForms? = nil, room: Int32,
        members: ContiguousArray<RoomTable.Entry>, except excluded: Int32?
    ) {
        while openRun.count <= Int(room) { openRun.append(-1) }
        let open = openRun[Int(room)]
        guard open < 0 else { return append(frame, deflated, to: open, except: excluded) }
        let run = begin(frame, deflated)
        openRun[Int(room)] = run
        openRooms.append(room)
        let isBulk = members.count > Self.bulkMembers
        for member in members { add(member.client, to: run, isBulk: isBulk, except: excluded, isOpen: true) }
    }

    /// Queues a message for every client that `clients` names. The run stays open: later ones name the same clients.
    mutating func publishToEverybody(
        _ frame: ByteBuffer, deflated: DeflatedForms? = nil, _ clients: some Collection<Int32>, except excluded: Int32?
    ) {
        guard everybody < 0 else { return append(frame, deflated, to: everybody, except: excluded) }
        let run = begin(frame, deflated)
        everybody = run
        let isBulk = clients.count > Self.bulkMembers
        for client in clients { add(client, to: run, isBulk: isBulk, except: excluded, isOpen: true) }
    }

    /// Queues a message for some clients.
    mutating func publish(_ frame: ByteBuffer, deflated: DeflatedForms? = nil, to clients: some Collection<Int32>) {
        let run = begin(frame, deflated)
        let isBulk = clients.count > Self.bulkMembers
        for client in clients { add(client, to: run, isBulk: isBulk, except: nil, isOpen: false) }
    }

    /// Queues an answer for one client: `write` appends exactly one frame. Returns its length.
    mutating func answer(_ client: Int32, _ write: (inout ByteBuffer) -> Void) -> Int {
        let start = answers.writerIndex
        write(&answers)
        let length = answers.writerIndex - start
        grow(to: client)
        if pending[Int(client)].run >= 0 { chain(client) }
        let last = Int(pending[Int(client)].last)
        // What is answered in one go is one piece.
        if last >= 0, links[last].run < 0, Int(links[last].start) + Int(links[last].length) == start {
            links[last].length += Int32(truncatingIfNeeded: length)
            links[last].messages += 1
        } else {
            append(
                Link(
                    run: -1, start: Int32(truncatingIfNeeded: start), length: Int32(truncatingIfNeeded: length),
                    messages: 1, next: -1), to: client)
        }
        queue(client, isBulk: false)
        return length
    }

    // MARK: Members come and go within a turn

    /// A client is in a room from now on: messages that were published before are not for it.
    mutating func joined(_ client: Int32, room: Int32) {
        guard Int(room) < openRun.count, openRun[Int(room)] >= 0 else { return }
        follow(client, openRun[Int(room)])
    }

    /// A client is out of a room: messages that are published from now on are not for it.
    mutating func left(_ client: Int32, room: Int32, isEmpty: Bool) {
        guard Int(room) < openRun.count, openRun[Int(room)] >= 0 else { return }
        unfollow(client, openRun[Int(room)])
        if isEmpty { emptied(room) }
    }

    /// A room has no members any more: its number may be another room's soon.
    mutating func emptied(_ room: Int32) { if Int(room) < openRun.count { openRun[Int(room)] = -1 } }

    /// A new client: messages to everybody that were published before are not for it.
    ///
    /// - Parameter windowBits: the window of what it takes compressed; 0 when it takes nothing so.
    mutating func arrived(_ client: Int32, windowBits: UInt8 = 0) {
        if windowBits != 0, compressor != nil {
            grow(to: client)
            pending[Int(client)].windowBits = windowBits
            deflatingClients += 1
        }
        if everybody >= 0 { follow(client, everybody) }
    }

    /// A client takes no messages any more; what it is owed already it may still get.
    mutating func retired(_ client: Int32) { if everybody >= 0 { unfollow(client, everybody) } }

    /// Forgets what waits for a client that is gone, and returns how many messages that was. It is in no room any more.
    mutating func forget(_ client: Int32) -> Int {
        guard Int(client) < pending.count else { return 0 }
        let what = pending[Int(client)]
        pending[Int(client)] = Pending(isUrgent: what.isUrgent, isBulk: what.isBulk)
        if what.windowBits != 0 { deflatingClients -= 1 }
        if what.run >= 0 { return Int(runs[Int(what.run)].messages) }
        var (count, link) = (0, what.first)
        while link >= 0 {
            count += Int(links[Int(link)].messages)
            link = links[Int(link)].next
        }
        return count
    }

    // MARK: Writing

    /// Closes all runs: what is queued from now on is behind what is written now.
    mutating func seal() {
        for room in openRooms where Int(room) < openRun.count {
            let run = openRun[Int(room)]
            guard run >= 0 else { continue }
            openRun[Int(room)] = -1
            runs[Int(run)].chained.removeAll()
        }
        openRooms.removeAll(keepingCapacity: true)
        if everybody >= 0 { runs[Int(everybody)].chained.removeAll() }
        everybody = -1
    }

    /// The next client that is owed an answer or a message of a room of usual size; `nil` when all were served.
    mutating func nextUrgent() -> Write? {
        while let client = urgent.next() {
            pending[Int(client)].isUrgent = false
            if let write = take(client) { return write }
        }
        return nil
    }

    /// The next member of a large room; `nil` when all were served.
    mutating func nextBulk() -> Write? {
        while let client = bulk.next() {
            pending[Int(client)].isBulk = false
            if let write = take(client) { return write }
        }
        return nil
    }

    /// Gives the storage back, or keeps a little of it, when everything was written.
    mutating func reset() {
        // Who is owed an answer is urgent: with those served, nothing refers to the answers.
        if urgent.isEmpty {
            if answers.storageCapacity > Self.keptBytes { answers = ByteBuffer() } else { answers.clear() }
        }
        guard isEmpty else { return }
        for index in runs.indices where runs[index].isJoined {
            guard spares.count < Self.spareBuffers, runs[index].bytes.storageCapacity <= Self.keptBytes / 16 else {
                continue
            }
            spares.append(runs[index].bytes)
        }
        runs.removeAll(keepingCapacity: runs.count <= 1024)
        links.removeAll(keepingCapacity: links.capacity <= Self.keptLinks)
        runBytes = 0
        if gathered.storageCapacity > Self.keptBytes { gathered = ByteBuffer() }
    }

    // MARK: Runs

    private mutating func begin(_ frame: ByteBuffer, _ deflated: DeflatedForms?) -> Int32 {
        runs.append(Run(bytes: frame, messages: 1))
        runBytes += frame.readableBytes
        let run = Int32(truncatingIfNeeded: runs.count - 1)
        if let deflated { note(deflated, at: 0, count: frame.readableBytes, in: run) }
        return run
    }

    private mutating func append(
        _ frame: ByteBuffer, _ deflated: DeflatedForms?, to run: Int32, except excluded: Int32?
    ) {
        if let excluded, Int(excluded) < pending.count, pending[Int(excluded)].run == run {
            chain(excluded)
        }
        let start = runs[Int(run)].bytes.readableBytes
        if let deflated { note(deflated, at: start, count: frame.readableBytes, in: run) }
        if !runs[Int(run)].isJoined { join(run, adding: frame.readableBytes) }
        runs[Int(run)].bytes.writeImmutableBuffer(frame)
        runs[Int(run)].messages += 1
        runBytes += frame.readableBytes
        guard !runs[Int(run)].chained.isEmpty else { return }
        let piece = Link(
            run: run, start: Int32(truncatingIfNeeded: start), length: Int32(truncatingIfNeeded: frame.readableBytes),
            messages: 1, next: -1)
        for client in runs[Int(run)].chained where client != excluded { append(piece, to: client) }
    }

    /// Remembers that a message of a run may be compressed.
    private mutating func note(_ forms: DeflatedForms, at start: Int, count: Int, in run: Int32) {
        guard deflatingClients > 0 else { return }
        runs[Int(run)].compressible.append(CompressibleFrame(start: start, count: count, forms: forms))
    }

    /// Gives a run a buffer of its own, with what it holds.
    private mutating func join(_ run: Int32, adding count: Int) {
        let first = runs[Int(run)].bytes
        var own = spares.popLast() ?? ByteBuffer()
        own.clear(minimumCapacity: max(1024, (first.readableBytes + count) * 4))
        own.writeImmutableBuffer(first)
        runs[Int(run)].bytes = own
        runs[Int(run)].isJoined = true
    }

    /// Owes a client the first message of a new run.
    private mutating func add(_ client: Int32, to run: Int32, isBulk: Bool, except excluded: Int32?, isOpen: Bool) {
        grow(to: client)
        if client == excluded {
            if pending[Int(client)].run >= 0 { chain(client) }
            if isOpen { runs[Int(run)].chained.append(client) }
            return
        }
        if pending[Int(client)].isEmpty {
            pending[Int(client)].run = run
        } else {
            let length = Int32(truncatingIfNeeded: runs[Int(run)].bytes.readableBytes)
            append(Link(run: run, start: 0, length: length, messages: 1, next: -1), to: client)
            if isOpen { runs[Int(run)].chained.append(client) }
        }
        queue(client, isBulk: isBulk)
    }

    /// From now on the run's later messages are the client's too, behind what it is owed.
    private mutating func follow(_ client: Int32, _ run: Int32) {
        grow(to: client)
        if pending[Int(client)].run >= 0 { chain(client) }
        runs[Int(run)].chained.append(client)
    }

    private mutating func unfollow(_ client: Int32, _ run: Int32) {
        guard Int(client) < pending.count else { return }
        if pending[Int(client)].run == run {
            turnIntoChain(client)
        } else if let place = runs[Int(run)].chained.firstIndex(of: client) {
            // Their order means nothing.
            runs[Int(run)].chained.swapAt(place, runs[Int(run)].chained.count - 1)
            runs[Int(run)].chained.removeLast()
        }
    }

    /// A client that holds a run's number holds a chain from now on, and follows the run if that is still open.
    private mutating func chain(_ client: Int32) {
        let run = turnIntoChain(client)
        // A run that is sealed gets no message more; its list is not read again.
        runs[Int(run)].chained.append(client)
    }

    @discardableResult
    private mutating func turnIntoChain(_ client: Int32) -> Int32 {
        let run = pending[Int(client)].run
        pending[Int(client)].run = -1
        let whole = Link(
            run: run, start: 0, length: Int32(truncatingIfNeeded: runs[Int(run)].bytes.readableBytes),
            messages: runs[Int(run)].messages, next: -1)
        append(whole, to: client)
        return run
    }

    private mutating func append(_ link: Link, to client: Int32) {
        // Who follows a run that it got nothing of so far may hold the number of another one.
        if pending[Int(client)].run >= 0 { chain(client) }
        let index = Int32(truncatingIfNeeded: links.count)
        links.append(link)
        let last = pending[Int(client)].last
        if last < 0 { pending[Int(client)].first = index } else { links[Int(last)].next = index }
        pending[Int(client)].last = index
        if !pending[Int(client)].isBulk { queue(client, isBulk: false) }
    }

    // MARK: Clients

    private mutating func grow(to client: Int32) {
        while pending.count <= Int(client) { pending.append(Pending()) }
    }

    private mutating func queue(_ client: Int32, isBulk: Bool) {
        guard !pending[Int(client)].isUrgent else { return }
        if !isBulk {
            pending[Int(client)].isUrgent = true
            urgent.append(client)
        } else if !pending[Int(client)].isBulk {
            pending[Int(client)].isBulk = true
            bulk.append(client)
        }
    }

    /// Takes all that a client is owed.
    private mutating func take(_ client: Int32) -> Write? {
        let what = pending[Int(client)]
        pending[Int(client)].run = -1
        pending[Int(client)].first = -1
        pending[Int(client)].last = -1
        let windowBits = what.windowBits
        if what.run >= 0 {
            let run = Int(what.run)
            let bytes = windowBits == 0 ? runs[run].bytes : deflated(run, windowBits)?.bytes ?? runs[run].bytes
            return Write(client: client, bytes: bytes, messages: Int(runs[run].messages))
        }
        guard what.first >= 0 else { return nil }
        let first = links[Int(what.first)]
        if first.next < 0 {
            return Write(client: client, bytes: bytes(of: first, windowBits), messages: Int(first.messages))
        }
        gathered.clear()
        var (messages, link) = (0, what.first)
        while link >= 0 {
            let piece = links[Int(link)]
            gathered.writeImmutableBuffer(bytes(of: piece, windowBits))
            messages += Int(piece.messages)
            link = piece.next
        }
        return Write(client: client, bytes: gathered, messages: messages)
    }

    private mutating func bytes(of link: Link, _ windowBits: UInt8) -> ByteBuffer {
        if link.run < 0 {
            return answers.getSlice(at: Int(link.start), length: Int(link.length)) ?? ByteBuffer()
        }
        if windowBits != 0, let twin = deflated(Int(link.run), windowBits) {
            return twin.piece(from: Int(link.start), count: Int(link.length))
        }
        let whole = runs[Int(link.run)].bytes
        return whole.getSlice(at: whole.readerIndex + Int(link.start), length: Int(link.length)) ?? ByteBuffer()
    }

    /// A run as those get it whose window has so many bits; `nil` when nothing of it compresses.
    private mutating func deflated(_ run: Int, _ windowBits: UInt8) -> DeflatedRun? {
        guard !runs[run].compressible.isEmpty, let compressor else { return nil }
        if let known = runs[run].twins.first(where: { $0.windowBits == windowBits }) { return known }
        // All runs are sealed while clients are served, so a twin stays what it is.
        let twin = DeflatedRun(
            of: runs[run].bytes, runs[run].compressible, windowBits: windowBits, by: compressor)
        runs[run].twins.append(twin)
        return twin
    }
}
