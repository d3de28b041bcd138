import ConduitHub
import ConduitWire
import NIOCore

/// Messages for other nodes, from the turn in which they were sent until Redis has answered their PUBLISH.
///
/// What is in flight when the connection ends is sent again on the next one, before what waits: nothing is lost by a
/// reconnect, and receivers drop what they have had already by its sequence number. Bounded by bytes and age.
struct RelayOutbox {
    /// One PUBLISH.
    struct Entry {
        let channel: ByteBuffer
        let payload: ByteBuffer
        /// Messages in it.
        let messages: Int
        /// Counted deliveries that wait for Redis's answer, which tells the number of receivers.
        let requests: [UInt64]
        /// When it was sent, in milliseconds.
        let time: Int64
        /// Its number in ``RecentMessages``.
        let number: UInt64
        /// The span of its one message, where somebody traces that.
        let span: RelaySpan?

        var bytes: Int { payload.readableBytes + channel.readableBytes }
    }

    /// What isn't numbered yet, for less than a millisecond: newer than everything else here.
    var collected = RelayBatches()
    private var flight = CircularBuffer<Entry>()
    private var waiting = CircularBuffer<Entry>()
    /// What Redis was too busy for, oldest first. Nothing is sent meanwhile, so that the order stays.
    private var returned = CircularBuffer<Entry>()
    private var retryAt: Int64 = 0
    private var publishBytes = 0
    /// Messages that are sent and not answered, or not sent.
    private(set) var messages = 0
    /// Bytes of everything that is here.
    var bytes: Int { publishBytes + collected.bytes }
    /// Messages that gave way to newer ones.
    private(set) var droppedForBytes: UInt64 = 0
    /// Messages that became too old.
    private(set) var droppedForAge: UInt64 = 0
    /// How long a busy Redis is left alone.
    private static let retryMilliseconds: Int64 = 100
    private let byteLimit: Int
    private let ageLimit: Int64
    private let windowLimit: Int

    /// `windowLimit`: how many may be in flight at once.
    init(byteLimit: Int, ageMilliseconds: Int64, windowLimit: Int = 16_384) {
        self.byteLimit = byteLimit
        self.ageLimit = ageMilliseconds
        self.windowLimit = max(1, windowLimit)
    }

    /// Whether nothing waits, for sending or for an answer.
    var isEmpty: Bool { flight.isEmpty && waiting.isEmpty && returned.isEmpty && collected.isEmpty }
    /// Entries that are sent and not answered.
    var inFlight: Int { flight.count }
    /// Entries that are not sent.
    var waitingCount: Int { waiting.count + returned.count }

    /// The number of the oldest that waits to be sent; what is older is sent or dropped.
    var oldestWaiting: UInt64? { (returned.first ?? waiting.first)?.number }

    /// Adds a PUBLISH. When it doesn't fit, the oldest ones that wait give way, and if that isn't enough, the new one.
    mutating func append(
        channel: ByteBuffer, payload: ByteBuffer, messages: Int, requests: [UInt64] = [], number: UInt64 = 0,
        span: RelaySpan? = nil, now: Int64
    ) {
        let entry = Entry(
            channel: channel, payload: payload, messages: messages, requests: requests, time: now, number: number,
            span: span)
        while publishBytes + entry.bytes > byteLimit, let old = waiting.popFirst() {
            publishBytes -= old.bytes
            self.messages -= old.messages
            droppedForBytes += UInt64(old.messages)
        }
        guard publishBytes + entry.bytes <= byteLimit else {
            droppedForBytes += UInt64(messages)
            return
        }
        publishBytes += entry.bytes
        self.messages += messages
        waiting.append(entry)
    }

    /// The next PUBLISH to send; it is in flight from now on.
    mutating func next() -> Entry? {
        guard returned.isEmpty, flight.count < windowLimit, let entry = waiting.popFirst() else { return nil }
        flight.append(entry)
        return entry
    }

    /// The link refused what ``next()`` gave last: it waits again.
    mutating func refused() {
        if let entry = flight.popLast() { waiting.prepend(entry) }
    }

    /// Redis has answered the oldest PUBLISH in flight.
    mutating func answered() -> Entry? {
        guard let entry = flight.popFirst() else { return nil }
        publishBytes -= entry.bytes
        messages -= entry.messages
        return entry
    }

    /// Redis was too busy for the oldest PUBLISH in flight: it is sent again in a while, before what waits.
    mutating func putBack(now: Int64) {
        guard let entry = flight.popFirst() else { return }
        returned.append(entry)
        retryAt = now + Self.retryMilliseconds
    }

    /// The connection ended: everything waits again, in the old order.
    mutating func connectionLost() {
        guard !flight.isEmpty || !returned.isEmpty else { return }
        returned.append(contentsOf: flight)
        returned.append(contentsOf: waiting)
        waiting = returned
        flight = CircularBuffer()
        returned = CircularBuffer()
    }

    /// The node ends: lets everything go, sent or not. Returns how many messages Redis has not answered; it may have
    /// taken those in flight.
    mutating func giveUp() -> Int {
        var given = messages
        collected.removeAll { given += $0.writer.count }
        flight = CircularBuffer()
        waiting = CircularBuffer()
        returned = CircularBuffer()
        publishBytes = 0
        messages = 0
        return given
    }

    /// Lets what was put back go again, and drops what has waited for too long.
    mutating func tick(now: Int64) {
        if !returned.isEmpty, flight.isEmpty, retryAt <= now { connectionLost() }
        while let oldest = waiting.first, now - oldest.time > ageLimit {
            waiting.removeFirst()
            publishBytes -= oldest.bytes
            messages -= oldest.messages
            droppedForAge += UInt64(oldest.messages)
        }
    }
}
