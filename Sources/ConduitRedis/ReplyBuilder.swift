import NIOCore

/// Puts the pieces that hiredis reports, depth-first, together to one reply, within bounds.
///
/// In `.pushes` mode an array of three at the top is a push: its words go to their places at once, without a
/// tree. A message then allocates its payload, and its channel unless that was the channel before as well.
struct ReplyBuilder {
    private enum PushKind { case message, subscribe, unsubscribe }
    private enum Push {
        case kind
        case channel(PushKind)
        case last(PushKind, ByteBuffer)
    }
    private struct OpenArray {
        var missing: Int
        var values: [RedisValue]
    }

    /// Whether arrays of three are pushes; changed only between two replies.
    var pushes: Bool
    private let limits: RedisReplyReader.Limits
    private var open: [OpenArray] = []
    private var push: Push?
    private var lastChannel = ByteBuffer()
    private var finished: RedisReply?
    private var bytes = 0
    private var elements = 0
    /// Why a callback refused; the connection is of no use then.
    private(set) var violation: String?

    init(mode: RedisReplyReader.Mode, limits: RedisReplyReader.Limits) {
        self.pushes = mode == .pushes
        self.limits = limits
    }

    mutating func takeFinished() -> RedisReply? {
        defer {
            finished = nil
            bytes = 0
            elements = 0
        }
        return finished
    }

    mutating func begin(count: Int) -> Bool {
        guard push == nil else { return refuse("a push holds an array") }
        elements += max(count, 1)
        guard elements <= limits.elements else { return refuse("a reply has more than \(limits.elements) values") }
        if pushes, open.isEmpty, count == 3 {
            push = .kind
            return true
        }
        guard count > 0 else { return close(.array([])) }
        var values: [RedisValue] = []
        // The count is only what the peer says; believe it slowly.
        values.reserveCapacity(min(count, 64))
        open.append(OpenArray(missing: count, values: values))
        return true
    }

    mutating func add(_ value: RedisValue, size: Int) -> Bool {
        guard charge(size) else { return false }
        guard let push else { return close(value) }
        guard case .last(let kind, let channel) = push, kind != .message, case .integer = value else {
            // UNSUBSCRIBE answers with a null channel when nothing was subscribed.
            if case .channel(.unsubscribe) = push, value == .null {
                self.push = .last(.unsubscribe, ByteBuffer())
                return true
            }
            return refuse("a push has an unknown shape")
        }
        return finish(kind == .subscribe ? .subscribed(channel: channel) : .unsubscribed(channel: channel))
    }

    /// Unsafe: the bytes are hiredis's and are copied before this returns.
    mutating func bulk(_ raw: UnsafeRawBufferPointer) -> Bool {
        guard charge(raw.count) else { return false }
        switch push {
        case nil: return unsafe close(.bulk(ByteBuffer(bytes: raw)))
        case .kind:
            guard let kind = unsafe Self.kind(raw) else { return refuse("an unknown kind of push") }
            push = .channel(kind)
            return true
        case .channel(let kind):
            unsafe push = .last(kind, channel(raw))
            return true
        case .last(.message, let channel):
            return unsafe finish(.message(channel: channel, payload: ByteBuffer(bytes: raw)))
        case .last: return refuse("a push has an unknown shape")
        }
    }

    private static func kind(_ raw: UnsafeRawBufferPointer) -> PushKind? {
        if unsafe raw.elementsEqual("message".utf8) || raw.elementsEqual("smessage".utf8) { return .message }
        if unsafe raw.elementsEqual("subscribe".utf8) || raw.elementsEqual("ssubscribe".utf8) { return .subscribe }
        if unsafe raw.elementsEqual("unsubscribe".utf8) || raw.elementsEqual("sunsubscribe".utf8) {
            return .unsubscribe
        }
        return nil
    }

    private mutating func channel(_ raw: UnsafeRawBufferPointer) -> ByteBuffer {
        let same = unsafe lastChannel.withUnsafeReadableBytes { last in
            unsafe last.count == raw.count && last.elementsEqual(raw)
        }
        if !same { unsafe lastChannel = ByteBuffer(bytes: raw) }
        return lastChannel
    }

    private mutating func charge(_ size: Int) -> Bool {
        bytes += size
        guard bytes <= limits.bytes else { return refuse("a reply of Redis is larger than \(limits.bytes) bytes") }
        return true
    }

    /// Puts a whole value where it belongs, and closes every array that it was the last of.
    private mutating func close(_ value: RedisValue) -> Bool {
        var value = value
        while !open.isEmpty {
            let top = open.count - 1
            open[top].values.append(value)
            open[top].missing -= 1
            guard open[top].missing == 0 else { return true }
            value = .array(open.removeLast().values)
        }
        finished = .value(value)
        return true
    }

    private mutating func finish(_ reply: RedisReply) -> Bool {
        push = nil
        finished = reply
        return true
    }

    private mutating func refuse(_ reason: String) -> Bool {
        violation = violation ?? reason
        return false
    }
}
