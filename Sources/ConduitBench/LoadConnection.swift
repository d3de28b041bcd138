import NIOCore
import NIOSSL

/// One WebSocket of a run: the last handler of its channel. It parses frames where they lie in the receive buffer and
/// copies nothing but the rest of an unfinished one.
///
/// Loop-bound: owned by its ``LoadWorker``.
final class LoadConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Role: Sendable {
        /// Stays and does nothing.
        case idle
        /// Is in a room and receives.
        case member
        /// Is in a room, receives and publishes to it.
        case both
        case publisher
        /// Asks for echoes.
        case echo
        /// Comes and goes.
        case churner
        /// Comes into the room when it is told to, and counts what it hears of the others.
        case attendee

        var joins: Bool { self == .member || self == .both || self == .churner }
        /// Receives what is checked.
        var receives: Bool { self == .member || self == .both || self == .echo }
        var publishes: Bool { self == .publisher || self == .both || self == .echo }
        /// What it takes part in needs to know its node.
        var asksNode: Bool { receives || publishes || self == .attendee }
    }

    enum State {
        /// From `connect` to the answer of the handshake.
        case opening
        /// Has asked for its node and its room.
        case preparing
        case ready
        /// We have said that we go.
        case leaving
        case closed
    }

    let worker: LoadWorker
    let role: Role
    let room: Int
    let target: Int
    var state = State.opening
    private(set) var wasReady = false
    let startedAt: UInt64
    var context: ChannelHandlerContext?

    /// The node's name, once it has told.
    var nodeName: String?
    /// Its number in this run.
    var node: UInt16 = 0
    private var awaitsNode: Bool
    private var awaitsRoom: Bool

    /// What was had of each publisher of the room, by place.
    var trackers: [DeliveryTracker] = []
    /// Publishers whose probes came.
    var probes: Set<UInt32> = []
    /// `presence`: what an attendee has been told.
    var attendance = Attendance()
    /// When a churner goes.
    var leavesAt: UInt64 = 0

    private var answer = HandshakeAnswer()
    /// The beginning of a frame whose end is to come.
    private var rest = ByteBuffer()
    /// Payload of fragments before the last.
    private var fragments = ByteBuffer()
    /// Where the mark stands in a payload; it is at the same place in all messages of a run.
    private var markOffset = 0
    /// Frames to be written at the end of the turn.
    var out = ByteBuffer()
    var isDirty = false

    init(worker: LoadWorker, role: Role, room: Int, target: Int, joins: Bool, now: UInt64) {
        self.worker = worker
        self.role = role
        self.room = room
        self.target = target
        self.startedAt = now
        self.awaitsNode = role.asksNode
        self.awaitsRoom = joins
    }

    var isOnItsWay: Bool { state == .opening || state == .preparing }

    // MARK: The channel's events

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(worker.requests[target]), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let input = unwrapInboundIn(data)
        let now = worker.now
        worker.book.countBytes(input.readableBytes, at: now)
        switch state {
        case .opening: readAnswer(input, now)
        case .closed: break
        case .preparing, .ready, .leaving: readFrames(input, now)
        }
        worker.pool.giveBack(input)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if state == .opening, case .refused(let why) = answer.end() {
            fail(why)
        } else {
            fail("closed without a word")
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(FailureText.describe(error))
    }

    // MARK: Opening

    private func readAnswer(_ input: ByteBuffer, _ now: UInt64) {
        switch answer.feed(input) {
        case .incomplete: break
        case .refused(let why): fail(why)
        case .accepted(let first):
            answer = HandshakeAnswer()
            state = .preparing
            worker.upgraded(self, at: now)
            if awaitsNode { ClientFrame.writeText("{\"type\":\"status\"}", mask: worker.mask, to: &out) }
            if awaitsRoom { ClientFrame.writeText(worker.joinText(room), mask: worker.mask, to: &out) }
            flush()
            becomeReadyIfDone(now)
            if first.readableBytes > 0 { readFrames(first, now) }
        }
    }

    private func becomeReadyIfDone(_ now: UInt64) {
        guard state == .preparing, !awaitsNode, !awaitsRoom else { return }
        state = .ready
        wasReady = true
        worker.becameReady(self, at: now)
    }

    // MARK: Frames

    private func readFrames(_ input: ByteBuffer, _ now: UInt64) {
        if rest.readableBytes == 0 {
            let end = parse(input, now)
            if end < input.writerIndex, let tail = input.getSlice(at: end, length: input.writerIndex - end) {
                // Into memory of its own: the input goes back to the pool.
                rest.writeImmutableBuffer(tail)
            }
        } else {
            rest.writeImmutableBuffer(input)
            let whole = rest
            rest = ByteBuffer()
            let end = parse(whole, now)
            if end < whole.writerIndex, let tail = whole.getSlice(at: end, length: whole.writerIndex - end) {
                rest.writeImmutableBuffer(tail)
            }
        }
    }

    /// Handles all whole frames; the index of the first byte that is left.
    private func parse(_ buffer: ByteBuffer, _ now: UInt64) -> Int {
        var index = buffer.readerIndex
        while state != .closed {
            switch ServerFrame.scan(buffer, at: index) {
            case .incomplete: return index
            case .invalid(let what):
                worker.figures.invalid += 1
                fail("the server sent \(what)")
            case .frame(let frame):
                index = frame.end
                handle(frame, buffer, now)
            }
        }
        return buffer.writerIndex
    }

    private func handle(_ frame: ServerFrame, _ buffer: ByteBuffer, _ now: UInt64) {
        switch frame.opcode {
        case 0x1, 0x2:
            if frame.isFinal {
                message(buffer, frame.range, now)
            } else if let part = buffer.getSlice(at: frame.start, length: frame.length) {
                fragments = ByteBuffer()
                fragments.writeImmutableBuffer(part)
            }
        case 0x0:
            guard fragments.readableBytes + frame.length <= ServerFrame.maximumLength,
                let part = buffer.getSlice(at: frame.start, length: frame.length)
            else { return fail("the server sent a message without end") }
            fragments.writeImmutableBuffer(part)
            guard frame.isFinal else { return }
            let whole = fragments
            fragments = ByteBuffer()
            message(whole, whole.readerIndex..<whole.writerIndex, now)
        case 0x8:
            let code = frame.length >= 2 ? buffer.getInteger(at: frame.start, as: UInt16.self) ?? 1005 : 1005
            ClientFrame.writeClose(code: code == 1005 ? 1000 : code, mask: worker.mask, to: &out)
            flush()
            let reason = buffer.getString(at: frame.start + 2, length: max(0, frame.length - 2)) ?? ""
            fail("closed by the server with \(code)\(reason.isEmpty ? "" : " (\(FailureText.printable(reason)))")")
        case 0x9:
            let payload = buffer.getSlice(at: frame.start, length: frame.length) ?? ByteBuffer()
            ClientFrame.write(0xA, payload, mask: worker.mask, to: &out)
            flush()
        default: break
        }
    }

    private func message(_ buffer: ByteBuffer, _ range: Range<Int>, _ now: UInt64) {
        if role == .attendee { return worker.hear(buffer, range, on: self, at: now) }
        if worker.plan.acks, role.publishes, !ServerText.hasType("bench", buffer, range) {
            if ServerText.hasType("ack", buffer, range) { return worker.acknowledge(buffer, range, at: now) }
            return control(ServerText(buffer.getString(at: range.lowerBound, length: range.count) ?? ""), now)
        }
        if markOffset + DeliveryMark.byteCount <= range.count,
            let mark = DeliveryMark.read(buffer, at: range.lowerBound + markOffset)
        {
            return worker.deliver(mark, to: self, at: now)
        }
        if let index = DeliveryMark.find(in: buffer, range: range), let mark = DeliveryMark.read(buffer, at: index) {
            markOffset = index - range.lowerBound
            return worker.deliver(mark, to: self, at: now)
        }
        control(ServerText(buffer.getString(at: range.lowerBound, length: range.count) ?? ""), now)
    }

    func control(_ text: ServerText, _ now: UInt64) {
        switch text.type {
        case "status":
            nodeName = text.string("node_id")
            awaitsNode = false
        case "room_joined":
            awaitsRoom = false
        case "error":
            if awaitsRoom, text.string("request_type") == "join_room" {
                return fail("joining was refused: \(FailureText.printable(text.error))")
            }
            worker.figures.errors.add(FailureText.printable(text.error))
        default: break
        }
        becomeReadyIfDone(now)
    }

    // MARK: Writing and closing

    /// Whether the socket takes what is written.
    var takesMore: Bool { context?.channel.isWritable ?? false }

    /// Writes what has gathered, in one piece.
    func flush() {
        isDirty = false
        guard out.readableBytes > 0, let context else { return }
        let bytes = out
        out = ByteBuffer()
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    /// Says goodbye; the server answers and closes.
    func leave(room: Bool) {
        guard state == .ready || state == .preparing else { return close() }
        if room, state == .ready { ClientFrame.writeText(worker.leaveText(self.room), mask: worker.mask, to: &out) }
        ClientFrame.writeClose(code: 1000, mask: worker.mask, to: &out)
        flush()
        state = .leaving
    }

    /// Ends it, whatever for; the first reason is the one that counts.
    func fail(_ why: String) {
        guard state != .closed else { return }
        let before = state
        state = .closed
        worker.ended(self, from: before, because: why)
        close()
    }

    func close() {
        rest = ByteBuffer()
        fragments = ByteBuffer()
        context?.close(promise: nil)
    }
}

@available(*, unavailable)
extension LoadConnection: Sendable {}
