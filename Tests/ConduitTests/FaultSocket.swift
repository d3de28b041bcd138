import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import NIOPosix

/// One WebSocket of the fault tests: callbacks on the loop of all of them, nothing kept, nothing awaited.
final class FaultSocket: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What a client reads: an envelope, parsed once.
    struct Envelope {
        let type: String
        let id: String?
        let room: String?
        let offset: Int?
        let data: [String: Any]

        init?(_ text: ByteBuffer) {
            let bytes = Data(text.readableBytesView)
            guard let object = try? JSONSerialization.jsonObject(with: bytes) as? [String: Any],
                let type = object["type"] as? String
            else { return nil }
            self.type = type
            self.id = object["id"] as? String
            self.room = object["room"] as? String
            self.offset = (object["offset"] as? NSNumber)?.intValue
            self.data = object["data"] as? [String: Any] ?? [:]
        }

        func string(_ key: String) -> String? { data[key] as? String }
        func int(_ key: String) -> Int? { (data[key] as? NSNumber)?.intValue }
    }

    enum End {
        /// A close frame with its code.
        case closed(UInt16?)
        /// The connection broke, or never came to be.
        case broken
    }

    private let onOpen: (FaultSocket) -> Void
    private let onEnvelope: (Envelope) -> Void
    private let onEnd: (End) -> Void
    private var context: ChannelHandlerContext?
    private var bytes = ByteBuffer()
    private var isUpgraded = false
    private var parser = WebSocketFrameParser(maximumMessageBytes: 64 << 20, role: .client)
    private(set) var isOpen = false
    private var hasEnded = false

    private init(
        onOpen: @escaping (FaultSocket) -> Void, onEnvelope: @escaping (Envelope) -> Void,
        onEnd: @escaping (End) -> Void
    ) {
        self.onOpen = onOpen
        self.onEnvelope = onEnvelope
        self.onEnd = onEnd
    }

    /// Connects from `loop`; one of the ends is told in any case, once.
    static func connect(
        port: Int, loop: any EventLoop, onOpen: @escaping (FaultSocket) -> Void,
        onEnvelope: @escaping (Envelope) -> Void, onEnd: @escaping (End) -> Void
    ) {
        let socket = FaultSocket(onOpen: onOpen, onEnvelope: onEnvelope, onEnd: onEnd)
        let bound = NIOLoopBound(socket, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(.seconds(2))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
            .connect(host: "127.0.0.1", port: port)
            .assumeIsolated().whenFailure { _ in socket.end(.broken) }
        // A stopped node accepts, and answers nothing.
        loop.assumeIsolated().scheduleTask(in: .seconds(4)) {
            if !socket.isUpgraded { socket.drop() }
        }
    }

    func send(_ text: String) {
        guard isOpen, let context else { return }
        context.writeAndFlush(wrapOutboundOut(MaskedFrame.text(text)), promise: nil)
    }

    /// Ends the TCP connection without a word.
    func drop() {
        if let context { context.close(promise: nil) } else { end(.broken) }
    }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        let request =
            "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(TestWebSocket.sampleKey)\r\n"
            + "Sec-WebSocket-Protocol: conduit.v1.json\r\n\r\n"
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes.writeImmutableBuffer(unwrapInboundIn(data))
        if !isUpgraded { readHead() }
        guard isUpgraded else { return }
        do {
            while let event = try parser.next(from: &bytes) {
                switch event {
                case .text(let text):
                    if let envelope = Envelope(text) { onEnvelope(envelope) }
                case .binary, .pong, .deflated: break
                case .ping(let payload):
                    context.writeAndFlush(wrapOutboundOut(MaskedFrame.encode(.pong, payload)), promise: nil)
                case .close(let code, _):
                    end(.closed(code))
                    context.close(promise: nil)
                }
            }
            bytes.discardReadBytes()
        } catch {
            context.close(promise: nil)
        }
    }

    private func readHead() {
        guard let end = bytes.readableBytesView.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
        guard bytes.readableBytesView.starts(with: "HTTP/1.1 101".utf8) else { return drop() }
        bytes.moveReaderIndex(to: end.upperBound)
        isUpgraded = true
        isOpen = true
        onOpen(self)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        end(.broken)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func end(_ how: End) {
        guard !hasEnded else { return }
        hasEnded = true
        isOpen = false
        // Later, so that whoever closed it is done with what it was doing.
        guard let loop = context?.eventLoop else { return onEnd(how) }
        loop.assumeIsolated().execute { self.onEnd(how) }
    }
}

@available(*, unavailable)
extension FaultSocket: Sendable {}
