import NIOCore

/// What the clients of one shard are to be sent at the end of this loop turn. A value without I/O.
///
/// Messages stand once in a palette; each client has a chain of small integers that name them, in the order in which
/// they came. So queueing allocates nothing per recipient, and a client is written to once a turn. Clients whose chains
/// are alike (the members of one room) share the one buffer in which their messages were put behind each other.
struct TurnOutbox {
    /// What one client is to be sent now.
    struct Write {
        let client: Int32
        let bytes: ByteBuffer
        /// How many messages the bytes are.
        let messages: Int
    }

    private struct Link {
        let message: Int32
        var next: Int32
    }

    private struct Chain {
        var first: Int32 = -1
        var last: Int32 = -1
    }

    /// Storage beyond this many links is given back after the turn.
    private static let keptLinks = 1 << 17

    private var palette: ContiguousArray<ByteBuffer> = []
    private var links: ContiguousArray<Link> = []
    private var chains: ContiguousArray<Chain> = []
    private var touched: ContiguousArray<Int32> = []
    private var cursor = 0
    /// The last chain that was joined, and the result, for the clients that follow with the same one.
    private var joinedFirst: Int32 = -1
    private var joined = ByteBuffer()
    private var joinedCount = 0

    /// Whether nothing is queued.
    var isEmpty: Bool { touched.isEmpty }

    /// Puts a message into the palette of this turn.
    mutating func add(_ frame: ByteBuffer) -> Int32 {
        palette.append(frame)
        return Int32(palette.count - 1)
    }

    /// Queues a message of the palette for a client.
    mutating func enqueue(_ message: Int32, for client: Int32) {
        while chains.count <= Int(client) { chains.append(Chain()) }
        let link = Int32(links.count)
        links.append(Link(message: message, next: -1))
        let last = chains[Int(client)].last
        if last < 0 {
            chains[Int(client)].first = link
            touched.append(client)
        } else {
            links[Int(last)].next = link
        }
        chains[Int(client)].last = link
    }

    /// Forgets what waits for a client that is gone, and returns how many messages that was.
    mutating func forget(_ client: Int32) -> Int {
        guard Int(client) < chains.count else { return 0 }
        let count = length(of: chains[Int(client)].first).messages
        chains[Int(client)] = Chain()
        return count
    }

    /// The next client's bytes; `nil` when everybody was served. What is queued in between is served too.
    mutating func next() -> Write? {
        while cursor < touched.count {
            let client = touched[cursor]
            cursor += 1
            let first = chains[Int(client)].first
            // A slot that was freed and used again within the turn stands here twice; its chain is empty then.
            guard first >= 0 else { continue }
            chains[Int(client)] = Chain()
            if links[Int(first)].next < 0 {
                return Write(client: client, bytes: palette[Int(links[Int(first)].message)], messages: 1)
            }
            if joinedFirst < 0 || !sameMessages(first, joinedFirst) { join(first) }
            return Write(client: client, bytes: joined, messages: joinedCount)
        }
        return nil
    }

    /// Ends the turn when ``next()`` has returned `nil`; the storage stays for the next one.
    mutating func endTurn() {
        cursor = 0
        joinedFirst = -1
        joined = ByteBuffer()
        let keep = links.capacity <= Self.keptLinks
        palette.removeAll(keepingCapacity: keep)
        links.removeAll(keepingCapacity: keep)
        touched.removeAll(keepingCapacity: keep)
    }

    private func sameMessages(_ a: Int32, _ b: Int32) -> Bool {
        var (x, y) = (a, b)
        while x >= 0, y >= 0 {
            if links[Int(x)].message != links[Int(y)].message { return false }
            x = links[Int(x)].next
            y = links[Int(y)].next
        }
        return x == y
    }

    private func length(of first: Int32) -> (messages: Int, bytes: Int) {
        var (messages, bytes) = (0, 0)
        var link = first
        while link >= 0 {
            bytes += palette[Int(links[Int(link)].message)].readableBytes
            messages += 1
            link = links[Int(link)].next
        }
        return (messages, bytes)
    }

    private mutating func join(_ first: Int32) {
        let size = length(of: first)
        joined = ByteBufferAllocator().buffer(capacity: size.bytes)
        var link = first
        while link >= 0 {
            joined.writeImmutableBuffer(palette[Int(links[Int(link)].message)])
            link = links[Int(link)].next
        }
        joinedFirst = first
        joinedCount = size.messages
    }
}
