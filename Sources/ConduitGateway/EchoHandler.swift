import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// The other end of `/echo`: sends back every text and binary message, keeps to RFC 6455, knows nothing of rooms.
/// Loop-bound; the last handler of its channel.
///
/// It reads no faster than the peer takes its echoes: while the socket is full it reads nothing. So a connection holds
/// one message at most, and what NIO lets wait in a channel (64 KiB).
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case open
        /// A close frame is out; what still comes is dropped until the peer closes or this closes it.
        case closing
        case closed
    }

    /// What a peer has to close its side after the close frame.
    private static let closeGrace = TimeAmount.seconds(2)

    private let loop: GatewayLoop
    private let deflate: DeflateParameters?
    private let observer: any ConnectionObserver
    private var limits: HubConfiguration { loop.clientLimits }
    private var parser: WebSocketFrameParser
    private var state = State.open
    private var context: ChannelHandlerContext?
    /// What was read and not looked at because the socket is full.
    private var held: ByteBuffer?
    /// Whether messages are being taken: writing may call back.
    private var isTaking = false
    private var hasStoppedReading = false
    private var lastSeen: NIODeadline
    private var unfinishedSince: NIODeadline?
    private var timer: Scheduled<Void>?
    /// Only where messages or bytes a second are limited.
    private let meter: Meter?

    init(loop: GatewayLoop, accepted: AcceptedHandshake) {
        self.loop = loop
        self.deflate = accepted.deflate
        self.observer = accepted.observer
        let limits = loop.clientLimits
        self.parser = WebSocketFrameParser(
            maximumMessageBytes: limits.messageBytes, maximumFrames: limits.framesPerMessage,
            deflates: accepted.deflate != nil)
        self.meter = Meter(limits, now: Self.milliseconds)
        self.lastSeen = .now()
    }

    /// Begins to look at the time, and at what came right behind the handshake, once its answer is written.
    func start(leftover: ByteBuffer?) {
        guard let context else { return }
        watch(context)
        guard let leftover, leftover.readableBytes > 0 else { return }
        held = leftover
        context.eventLoop.assumeIsolated().execute { self.goOn() }
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        loop.add(self)
    }

    /// Says why and closes, unless that has begun.
    func end(_ reason: CloseReason) {
        guard let context else { return }
        close(FrameEncoder.close(reason), context)
    }

    /// Closes the socket at once.
    func cut() { context?.close(promise: nil) }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset or a broken pipe: the peer is gone, and that is all there is to know.
        context.close(promise: nil)
    }

    private func end() {
        if case .closed = state { return }
        state = .closed
        timer?.cancel()
        timer = nil
        held = nil
        parser.finish()
        observer.connectionEnded()
        loop.remove(self)
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        loop.pool.giveBack(bytes)
        lastSeen = .now()
        guard case .open = state else { return }
        if held != nil || isTaking { return hold(bytes) }
        take(bytes, context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, !isTaking { goOn() }
        context.fireChannelWritabilityChanged()
    }

    /// Takes messages until the bytes are used up or the socket is full.
    private func take(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        var bytes = bytes
        isTaking = true
        defer { isTaking = false }
        do throws(WebSocketError) {
            while case .open = state {
                if !context.channel.isWritable {
                    context.flush()
                    if !context.channel.isWritable { return stop(bytes, context) }
                }
                guard let event = try parser.next(from: &bytes) else { break }
                unfinishedSince = nil
                try answer(event, context)
            }
        } catch {
            loop.shared.logger.debug("echo: peer broke the protocol", metadata: [LogKey.error: "\(error.detail)"])
            close(FrameEncoder.close(error.reason), context)
        }
        if !parser.hasUnfinishedMessage {
            unfinishedSince = nil
        } else if unfinishedSince == nil {
            unfinishedSince = .now()
        }
    }

    /// Keeps what was read and reads nothing more for now; a read or two come still.
    private func stop(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        hold(bytes)
        guard !hasStoppedReading else { return }
        hasStoppedReading = true
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
    }

    private func hold(_ bytes: ByteBuffer) {
        if held == nil { held = bytes } else { held?.writeImmutableBuffer(bytes) }
    }

    /// The socket takes more.
    private func goOn() {
        guard let context, case .open = state else { return }
        if let bytes = held.take() {
            take(bytes, context)
            context.flush()
        }
        guard held == nil, hasStoppedReading, case .open = state else { return }
        hasStoppedReading = false
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    // MARK: Answers

    private func answer(
        _ event: WebSocketFrameParser.Event, _ context: ChannelHandlerContext
    ) throws(WebSocketError) {
        if isOverRate(event) { return close(FrameEncoder.close(.tooManyRequests), context) }
        switch event {
        case .text(let payload): echo(.text, payload, context)
        case .binary(let payload): echo(.binary, payload, context)
        case .deflated:
            guard let compressor = loop.compressor else { return }
            try answer(try compressor.expanded(event, limits.inflationLimits), context)
        case .ping(let payload): context.write(wrapOutboundOut(FrameEncoder.pong(payload)), promise: nil)
        case .pong: break
        case .close(let code, _):
            close(code.map { FrameEncoder.close(code: $0) } ?? FrameEncoder.emptyClose, context)
        }
    }

    /// Monotonic, as the meter counts.
    private static var milliseconds: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Counts what the hub counts. There is no answer that says "later" here, so one too many is the last.
    private func isOverRate(_ event: WebSocketFrameParser.Event) -> Bool {
        guard let meter else { return false }
        switch event {
        case .text(let payload), .binary(let payload), .ping(let payload), .pong(let payload):
            return meter.take(payload.readableBytes, now: Self.milliseconds) != nil
        // Counted when it is expanded.
        case .deflated: return false
        case .close: return false
        }
    }

    private func echo(_ opcode: Opcode, _ payload: ByteBuffer, _ context: ChannelHandlerContext) {
        if let deflate, let compressor = loop.compressor, payload.readableBytes >= compressor.threshold,
            let frame = compressor.deflated(payload, opcode: opcode, windowBits: deflate.serverWindowBits)
        {
            return context.write(wrapOutboundOut(frame), promise: nil)
        }
        // In two pieces: a long message need not be copied for its header.
        context.write(wrapOutboundOut(FrameEncoder.header(opcode, length: payload.readableBytes)), promise: nil)
        context.write(wrapOutboundOut(payload), promise: nil)
    }

    /// Says the last word and closes this side; the rest of what the peer sends is read and dropped, so that the
    /// connection isn't reset under the close frame.
    private func close(_ frame: ByteBuffer, _ context: ChannelHandlerContext) {
        guard case .open = state else { return }
        state = .closing
        parser.finish()
        held = nil
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        context.close(mode: .output, promise: nil)
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closeGrace) { context.close(promise: nil) }
        guard hasStoppedReading else { return }
        hasStoppedReading = false
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    // MARK: Time

    private var idleTime: TimeAmount { .milliseconds(Int64(limits.idleTimeoutMilliseconds)) }
    private var readTime: TimeAmount { .milliseconds(Int64(limits.readTimeoutMilliseconds)) }

    /// Looks once in the shorter of the two times whether either has passed.
    private func watch(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: min(idleTime, readTime)) { self.check(context) }
    }

    private func check(_ context: ChannelHandlerContext) {
        guard case .open = state else { return }
        let now = NIODeadline.now()
        if let since = unfinishedSince, now - since >= readTime {
            return close(FrameEncoder.close(.badRequest), context)
        }
        // Who takes nothing is read from no more, so it looks idle too.
        if now - lastSeen >= idleTime { return close(FrameEncoder.close(.noPong), context) }
        watch(context)
    }
}

@available(*, unavailable)
extension EchoHandler: Sendable {}
