import ConduitCore
import NIOCore

/// What this node has numbered lately, in that order: given again to a node that missed some of it.
///
/// A value. Bounded by bytes and age; the oldest go first. It shares the bytes of the payloads with the outbox and
/// copies none.
struct RecentMessages {
    /// One PUBLISH.
    struct Message {
        let topic: BusTopic
        /// The sequence number of its first message.
        let first: UInt64
        /// Messages in it.
        let count: Int
        /// A jump in the numbers before it is no gap.
        var startsRun = false
        let payload: ByteBuffer
        /// When it was sent last, or numbered when it never was, in milliseconds.
        var time: Int64

        /// The sequence number of its last message.
        var last: UInt64 { first &+ UInt64(clamping: count) &- 1 }
        var bytes: Int { payload.readableBytes + RecentMessages.overhead }
    }

    /// What an entry weighs besides its payload.
    static let overhead = 128
    private var messages = CircularBuffer<Message>()
    /// The number of the oldest that is kept. Each PUBLISH counts one.
    private(set) var start: UInt64 = 1
    private(set) var bytes = 0
    private let byteLimit: Int
    private let ageLimit: Int64

    init(byteLimit: Int, ageMilliseconds: Int64) {
        self.byteLimit = max(0, byteLimit)
        self.ageLimit = max(0, ageMilliseconds)
    }

    /// The number that the next PUBLISH will get.
    var end: UInt64 { start + UInt64(messages.count) }
    var count: Int { messages.count }

    /// Remembers a PUBLISH and returns its number.
    mutating func append(_ message: Message) -> UInt64 {
        let number = end
        messages.append(message)
        bytes += message.bytes
        while bytes > byteLimit { removeFirst() }
        return number
    }

    /// A PUBLISH is being sent, for the first time or again.
    mutating func sent(_ number: UInt64, now: Int64) {
        guard let index = index(number) else { return }
        messages[index].time = now
    }

    /// Forgets what is too old.
    mutating func tick(now: Int64) {
        while let oldest = messages.first, now - oldest.time > ageLimit { removeFirst() }
    }

    /// A PUBLISH by its number; `nil` when it is forgotten or never was.
    subscript(number: UInt64) -> Message? { index(number).map { messages[$0] } }

    private func index(_ number: UInt64) -> CircularBuffer<Message>.Index? {
        guard number >= start, number < end else { return nil }
        return messages.index(messages.startIndex, offsetBy: Int(number - start))
    }

    private mutating func removeFirst() {
        guard let oldest = messages.popFirst() else { return }
        bytes -= oldest.bytes
        start += 1
    }
}
