import CHiredis
package import NIOCore

/// What the reader hands out: an answer, or a push of a subscribed connection.
package enum RedisReply: Hashable, Sendable {
    case value(RedisValue)
    case message(channel: ByteBuffer, payload: ByteBuffer)
    case subscribed(channel: ByteBuffer)
    case unsubscribed(channel: ByteBuffer)
}

/// Turns bytes from Redis into replies, by hiredis's reader with callbacks of our own. Loop-bound.
///
/// hiredis calls back depth-first, so the stack of unfinished arrays in `ReplyBuilder` is all the state there
/// is; what hiredis keeps as "objects" is one dummy pointer that nobody follows.
@safe package final class RedisReplyReader {
    package enum Mode: Sendable {
        /// Every reply is a value.
        case answers
        /// An array of three is a push, and becomes flat values without a tree.
        case pushes
    }

    /// Bounds of one reply; more is a protocol violation.
    package struct Limits: Sendable {
        package var bytes: Int
        package var elements: Int
        /// Of a line: a status, an error, a number, a length.
        package var lineBytes = 64 << 10

        package init(bytes: Int = 64 << 20, elements: Int = 1 << 20) {
            self.bytes = bytes
            self.elements = elements
        }
    }

    /// Most bytes that hiredis gets at a time: it moves what is left over in its buffer each time that
    /// replies were taken, so big feeds are slow.
    package static let slice = 16 << 10

    // Unsafe: owned by this object and freed in deinit; its `privdata` points back here, which lives longer.
    private let reader: UnsafeMutablePointer<redisReader>
    private let limits: Limits
    private var builder: ReplyBuilder

    package init(mode: Mode, limits: Limits = Limits()) throws(RedisError) {
        guard let reader = unsafe redisReaderCreateWithFunctions(replyFunctions) else {
            throw RedisError(.protocolViolation, "no memory for a reply reader")
        }
        unsafe self.reader = reader
        self.limits = limits
        self.builder = ReplyBuilder(mode: mode, limits: limits)
        unsafe reader.pointee.privdata = Unmanaged.passUnretained(self).toOpaque()
    }

    /// From the next reply on; to be called between two.
    package func expectPushes() { builder.pushes = true }

    deinit { unsafe redisReaderFree(reader) }

    /// Reads all of `bytes` and hands out every reply that is complete, until `take` answers `false`.
    ///
    /// After an error, or after `false`, this reader is of no more use.
    package func read(_ bytes: ByteBuffer, _ take: (RedisReply) -> Bool) throws(RedisError) {
        var rest = bytes
        while let slice = rest.readSlice(length: min(Self.slice, rest.readableBytes)), slice.readableBytes > 0 {
            try feed(slice)
            while let reply = try next() {
                guard take(reply) else { return }
            }
            try checkBounds()
        }
    }

    private func feed(_ slice: ByteBuffer) throws(RedisError) {
        // Unsafe: hiredis copies the bytes before it returns.
        let status = unsafe slice.withUnsafeReadableBytes { raw in
            unsafe redisReaderFeed(reader, raw.baseAddress?.assumingMemoryBound(to: CChar.self), raw.count)
        }
        guard status == REDIS_OK else { throw violation() }
    }

    private func next() throws(RedisError) -> RedisReply? {
        // Unsafe: the pointer that comes back is the dummy; the reply itself is in the builder.
        var object: UnsafeMutableRawPointer?
        guard unsafe redisReaderGetReply(reader, &object) == REDIS_OK else { throw violation() }
        guard unsafe object != nil else { return nil }
        guard let reply = builder.takeFinished() else {
            // hiredis knows RESP3 and calls nobody for its doubles, booleans and big numbers: a reply would be missing,
            // and each later answer would be taken for the one before.
            throw RedisError(.protocolViolation, "Redis sent a value of RESP3")
        }
        return reply
    }

    /// What is unfinished must not grow without end: hiredis itself would wait for a bulk of any length.
    private func checkBounds() throws(RedisError) {
        // Unsafe: reads hiredis's own bookkeeping, whose invariants are pos ≤ len and -1 ≤ ridx ≤ 8.
        let position = unsafe reader.pointee.pos
        let buffered = unsafe reader.pointee.len - position
        guard buffered > 0 else { return }
        guard let buffer = unsafe reader.pointee.buf else { return }
        if unsafe Self.isBulk(reader) {
            let head = unsafe UnsafeRawBufferPointer(start: buffer + position, count: min(buffered, 24))
            guard unsafe Self.isBulkLengthAllowed(head, limit: limits.bytes) else {
                throw RedisError(.protocolViolation, "a reply of Redis is larger than \(limits.bytes) bytes")
            }
        } else if buffered > limits.lineBytes {
            throw RedisError(.protocolViolation, "a line of Redis is longer than \(limits.lineBytes) bytes")
        }
    }

    private static func isBulk(_ reader: UnsafeMutablePointer<redisReader>) -> Bool {
        let index = unsafe Int(reader.pointee.ridx)
        // Unsafe: a C array of nine is imported as a tuple, which can't be indexed.
        return unsafe withUnsafeBytes(of: &reader.pointee.rstack) { raw in
            let stack = unsafe raw.bindMemory(to: redisReadTask.self)
            guard stack.indices.contains(index) else { return false }
            return unsafe stack[index].type == REDIS_REPLY_STRING
        }
    }

    /// Whether the announced length of an unfinished bulk string (what follows the `$`) is within `limit`.
    private static func isBulkLengthAllowed(_ head: UnsafeRawBufferPointer, limit: Int) -> Bool {
        var length = 0
        for byte in unsafe Array(head) {
            switch byte {
            case UInt8(ascii: "\r"): return true
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                length = length * 10 + Int(byte - UInt8(ascii: "0"))
                guard length <= limit else { return false }
            default: return true  // hiredis will have its own word on this, once the line is whole.
            }
        }
        // Twenty-four bytes and no end of the line is no length.
        return head.count < 24
    }

    private func violation() -> RedisError {
        if let reason = builder.violation { return RedisError(.protocolViolation, reason) }
        // Unsafe: hiredis ends its message with a zero, within its 128 bytes.
        let text = unsafe withUnsafeBytes(of: &reader.pointee.errstr) { raw in
            unsafe String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
        return RedisError(.protocolViolation, "Redis sent what is not RESP2", underlying: text)
    }

    // Called back by hiredis through the table below.

    fileprivate func string(type: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
        switch type {
        case REDIS_REPLY_STATUS: unsafe builder.add(.simple(String(decoding: bytes, as: UTF8.self)), size: bytes.count)
        case REDIS_REPLY_ERROR: unsafe builder.add(.error(String(decoding: bytes, as: UTF8.self)), size: bytes.count)
        default: unsafe builder.bulk(bytes)
        }
    }

    fileprivate func array(count: Int) -> Bool { builder.begin(count: count) }
    fileprivate func scalar(_ value: RedisValue) -> Bool { builder.add(value, size: 0) }
}

@available(*, unavailable)
extension RedisReplyReader: Sendable {}

/// Unsafe: `privdata` of every task is the reader that made it, which is alive as long as hiredis calls back.
private func owner(_ task: UnsafePointer<redisReadTask>?) -> RedisReplyReader? {
    guard let privdata = unsafe task?.pointee.privdata else { return nil }
    return unsafe Unmanaged<RedisReplyReader>.fromOpaque(privdata).takeUnretainedValue()
}

/// Unsafe: never followed; not null means "go on", null stops hiredis with an error.
private func token(_ accepted: Bool) -> UnsafeMutableRawPointer? {
    unsafe accepted ? UnsafeMutableRawPointer(bitPattern: 1) : nil
}

/// hiredis's table of callbacks.
///
/// Unsafe: hiredis wants a pointer to it that is good for ever; it is written once, here, and never freed.
nonisolated(unsafe) private let replyFunctions: UnsafeMutablePointer<redisReplyObjectFunctions> = {
    let table = UnsafeMutablePointer<redisReplyObjectFunctions>.allocate(capacity: 1)
    unsafe table.initialize(
        to: redisReplyObjectFunctions(
            createString: { task, start, count in
                guard let task = unsafe task, let reader = unsafe owner(task) else { return nil }
                let bytes = unsafe UnsafeRawBufferPointer(start: start, count: count)
                return unsafe token(reader.string(type: task.pointee.type, bytes))
            },
            createArray: { task, count in
                guard let reader = unsafe owner(task) else { return nil }
                return unsafe token(reader.array(count: Int(count)))
            },
            createInteger: { task, value in
                guard let reader = unsafe owner(task) else { return nil }
                return unsafe token(reader.scalar(.integer(value)))
            },
            createNil: { task in
                guard let reader = unsafe owner(task) else { return nil }
                return unsafe token(reader.scalar(.null))
            },
            freeObject: { _ in }))
    return unsafe table
}()
