import NIOCore
import NIOPosix
import NIOSSL

/// Opens one WebSocket that says nothing of its own accord, and tells how long it lives and who ends it: what stands
/// between a client and its node has time-outs that nobody sees otherwise.
package struct IdleProbe: Sendable {
    package enum End: Sendable, Hashable {
        /// No connection, in words.
        case failed(String)
        /// An answer, but no WebSocket, in words.
        case refused(String)
        /// It was open when the time was over.
        case open
        /// By a close frame: the node has said why.
        case closed(code: UInt16, reason: String)
        /// Without a close frame: something in between did it, or the node is gone.
        case cut
    }

    package struct Outcome: Sendable, Hashable {
        package var end: End
        /// Seconds from the first packet to the WebSocket.
        package var handshakeSeconds = 0.0
        /// Seconds from the WebSocket to the end.
        package var seconds = 0.0
        /// Pings of the node that came.
        package var pings = 0
        /// It was asked something at the end, and an answer came.
        package var hasAnswered = false

        package init(
            end: End, handshakeSeconds: Double = 0, seconds: Double = 0, pings: Int = 0, hasAnswered: Bool = false
        ) {
            self.end = end
            self.handshakeSeconds = handshakeSeconds
            self.seconds = seconds
            self.pings = pings
            self.hasAnswered = hasAnswered
        }
    }

    private let target: BenchTarget
    private let request: HandshakeRequest
    private let insecure: Bool
    private let connectTimeout = TimeAmount.seconds(10)

    package init(target: BenchTarget, request: HandshakeRequest, insecure: Bool) {
        self.target = target
        self.request = request
        self.insecure = insecure
    }

    /// Waits for the end, or so long. `answersPings`: as a living client does; else not a byte is sent.
    package func run(seconds: Double, answersPings: Bool) async -> Outcome {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: Outcome.self)
        let started = NIODeadline.now()
        do {
            let tls = try target.isSecure ? context() : nil
            let host = target.host
            let bytes = request.bytes(for: target)
            ClientBootstrap(group: loop)
                .connectTimeout(connectTimeout)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        if let tls {
                            let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
                            try channel.pipeline.syncOperations.addHandler(
                                try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : host))
                        }
                        try channel.pipeline.syncOperations.addHandler(
                            IdleSocket(
                                request: bytes, answersPings: answersPings,
                                patience: .nanoseconds(Int64(seconds * 1e9)),
                                started: started, promise: promise))
                    }
                }
                .connect(host: target.host, port: target.port)
                .whenFailure { promise.succeed(Outcome(end: .failed(FailureText.describe($0)))) }
            return try await promise.futureResult.get()
        } catch {
            promise.succeed(Outcome(end: .failed(FailureText.describe(error))))
            return Outcome(end: .failed(FailureText.describe(error)))
        }
    }

    private func context() throws -> NIOSSLContext {
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.certificateVerification = insecure ? .none : .fullVerification
        return try NIOSSLContext(configuration: settings)
    }
}

/// The socket of an ``IdleProbe``. Loop-bound: owned by its channel.
private final class IdleSocket: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let answerPatience = TimeAmount.seconds(5)
    /// Any number will do: the mask has to be there.
    private static let mask: UInt32 = 0x5A17_C0DE

    private let request: ByteBuffer
    private let answersPings: Bool
    private let patience: TimeAmount
    private let started: NIODeadline
    private let promise: EventLoopPromise<IdleProbe.Outcome>
    private var answer = HandshakeAnswer()
    private var buffer = ByteBuffer()
    private var upgraded: NIODeadline?
    private var outcome = IdleProbe.Outcome(end: .cut)
    private var isAsked = false
    private var isOver = false
    private var timer: Scheduled<Void>?

    init(
        request: ByteBuffer, answersPings: Bool, patience: TimeAmount, started: NIODeadline,
        promise: EventLoopPromise<IdleProbe.Outcome>
    ) {
        self.request = request
        self.answersPings = answersPings
        self.patience = patience
        self.started = started
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(10)) {
            self.finish(.refused("no answer to the handshake in time"), context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let input = unwrapInboundIn(data)
        guard !isOver else { return }
        guard upgraded == nil else {
            buffer.writeImmutableBuffer(input)
            return readFrames(context)
        }
        switch answer.feed(input) {
        case .incomplete: break
        case .refused(let why): finish(.refused(why), context)
        case .accepted(let rest):
            let now = NIODeadline.now()
            upgraded = now
            outcome.handshakeSeconds = Double((now - started).nanoseconds) / 1e9
            timer?.cancel()
            timer = context.eventLoop.assumeIsolated().scheduleTask(in: patience) { self.timeIsOver(context) }
            buffer = rest
            readFrames(context)
        }
    }

    private func readFrames(_ context: ChannelHandlerContext) {
        while !isOver {
            switch ServerFrame.scan(buffer, at: buffer.readerIndex) {
            case .incomplete:
                buffer.discardReadBytes()
                return
            case .invalid(let why): return finish(.refused("not a WebSocket: \(why)"), context)
            case .frame(let frame):
                let payload = buffer.getSlice(at: frame.start, length: frame.length) ?? ByteBuffer()
                buffer.moveReaderIndex(to: frame.end)
                take(frame.opcode, payload, context)
            }
        }
    }

    private func take(_ opcode: UInt8, _ payload: ByteBuffer, _ context: ChannelHandlerContext) {
        switch opcode {
        case 0x9:
            outcome.pings += 1
            guard answersPings else { return }
            var frame = ByteBuffer()
            ClientFrame.write(0xA, payload, mask: Self.mask, to: &frame)
            context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        case 0x8:
            var payload = payload
            let code = payload.readInteger(as: UInt16.self) ?? 1005
            finish(.closed(code: code, reason: FailureText.printable(String(buffer: payload))), context)
        case 0x1, 0x2:
            guard isAsked else { return }
            outcome.hasAnswered = true
            finish(.open, context)
        default: break
        }
    }

    private func timeIsOver(_ context: ChannelHandlerContext) {
        guard answersPings, !isOver else { return finish(.open, context) }
        // It seems to be open. What was cut without a word is noticed only by who says something.
        isAsked = true
        var frame = ByteBuffer()
        ClientFrame.writeText("{\"type\":\"ping\"}", mask: Self.mask, to: &frame)
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.answerPatience) {
            self.finish(.open, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        guard upgraded == nil, case .refused(let why) = answer.end() else { return finish(.cut, context) }
        finish(.refused(why), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(upgraded == nil ? .failed(FailureText.describe(error)) : .cut, context)
    }

    private func finish(_ end: IdleProbe.End, _ context: ChannelHandlerContext) {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        outcome.end = end
        if let upgraded { outcome.seconds = Double((NIODeadline.now() - upgraded).nanoseconds) / 1e9 }
        promise.succeed(outcome)
        context.close(promise: nil)
    }
}

@available(*, unavailable) extension IdleSocket: Sendable {}
