package import ConduitWire
import Foundation
import Glibc
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix
package import NIOSSL

/// A WebSocket client for tests: small, raw, and able to misbehave.
///
/// Every wait has a bound. Pings are answered unless told otherwise; ``stopReading()`` makes a slow consumer of it.
package final class TestWebSocket: Sendable {
    /// What the server sent, in order.
    package enum Message: Sendable, Equatable {
        case text(String)
        case binary(ByteBuffer)
        case ping(ByteBuffer)
        case pong(ByteBuffer)
        case close(code: UInt16?, reason: String)
        /// The TCP connection is gone.
        case gone
    }

    private let channel: any Channel
    private let inbox: Inbox<Message>
    private let deflated: NIOLockedValueBox<Int>
    /// The head of the server's answer.
    package let response: TestHTTPResponse

    private init(channel: any Channel, session: Session, response: TestHTTPResponse) {
        self.channel = channel
        self.inbox = session.inbox
        self.deflated = session.deflated
        self.response = response
    }

    /// The key that RFC 6455 uses as its example, and the answer to it.
    package static let sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="
    package static let sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    /// Connects and upgrades. Throws the ``TestHTTPResponse`` when the server refuses. With the certificate of an
    /// authority it speaks TLS, in `tlsVersion` where one is given, and shows a certificate of its own where one is given.
    ///
    /// A kernel keeps some twenty segments for a peer that doesn't read: 3 MB of the loopback's large ones, which a test of
    /// slow consumers would have to fill first. `segmentBytes` asks for smaller ones.
    package static func connect(
        host: String = "127.0.0.1", port: Int, path: String = "/ws", headers: [(String, String)] = [],
        subprotocols: [String] = [], answersPings: Bool = true, receiveBufferBytes: Int? = nil,
        segmentBytes: Int? = nil,
        sendingBehindRequest tail: ByteBuffer = ByteBuffer(), authority caFile: String? = nil,
        tlsVersion: TLSVersion? = nil, clientCertificate: TestCertificates.Pair? = nil, from source: String? = nil,
        timeout: TimeAmount = .seconds(60)
    ) async throws -> TestWebSocket {
        let tls = try caFile.map { file in
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.trustRoots = .file(file)
            configuration.minimumTLSVersion = tlsVersion ?? .tlsv12
            configuration.maximumTLSVersion = tlsVersion
            if let clientCertificate {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(clientCertificate.certificateFile)
                    .map { .certificate($0) }
                configuration.privateKey = .privateKey(
                    try NIOSSLPrivateKey(file: clientCertificate.keyFile, format: .pem))
            }
            return try NIOSSLContext(configuration: configuration)
        }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let session = Session(loop: loop, answersPings: answersPings)
        var bootstrap = ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        let handler = try NIOSSLClientHandler(context: tls, serverHostname: "localhost")
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                    try channel.pipeline.syncOperations.addHandler(Handler(session: session))
                }
            }
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        if let receiveBufferBytes {
            bootstrap = bootstrap.channelOption(
                .socketOption(.so_rcvbuf), value: SocketOptionValue(receiveBufferBytes))
        }
        if let segmentBytes {
            bootstrap = bootstrap.channelOption(
                .tcpOption(NIOBSDSocket.Option(rawValue: TCP_MAXSEG)), value: SocketOptionValue(segmentBytes))
        }
        if let source { bootstrap = bootstrap.bind(to: try SocketAddress(ipAddress: source, port: 0)) }
        let channel = try await bootstrap.connect(host: host, port: port).get()
        var request = ByteBuffer(string: "GET \(path) HTTP/1.1\r\n")
        if !headers.contains(where: { $0.0.lowercased() == "host" }) {
            request.writeString("Host: \(host):\(port)\r\n")
        }
        request.writeString("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
        request.writeString("Sec-WebSocket-Key: \(sampleKey)\r\n")
        if !subprotocols.isEmpty {
            request.writeString("Sec-WebSocket-Protocol: \(subprotocols.joined(separator: ", "))\r\n")
        }
        for (name, value) in headers { request.writeString("\(name): \(value)\r\n") }
        request.writeString("\r\n")
        request.writeImmutableBuffer(tail)
        do {
            try await channel.writeAndFlush(request).get()
            let response = try await session.answers.take("HTTP answer", timeout: timeout) { _ in true }
            guard response.status == 101 else { throw response }
            guard response["sec-websocket-accept"] == sampleAccept else {
                throw TestConnectionClosed(description: "wrong Sec-WebSocket-Accept: \(response)")
            }
            return TestWebSocket(channel: channel, session: session, response: response)
        } catch {
            try? await channel.close()
            throw error
        }
    }

    /// The subprotocol that the server selected.
    package var subprotocol: String? { response["sec-websocket-protocol"] }

    /// The extension that was agreed on, with its parameters.
    package var extensions: String? { response["sec-websocket-extensions"] }

    /// Messages that came compressed, so far.
    package var deflatedMessages: Int { deflated.withLockedValue { $0 } }

    // MARK: Sending

    package func send(_ text: String) async throws {
        try await sendFrame(.text, ByteBuffer(string: text))
    }

    /// Sends without waiting for the socket, for floods.
    package func sendWithoutWaiting(_ text: String) {
        channel.writeAndFlush(MaskedFrame.encode(.text, ByteBuffer(string: text)), promise: nil)
    }

    package func ping(_ payload: String = "") async throws {
        try await sendFrame(.ping, ByteBuffer(string: payload))
    }

    package func sendFrame(_ opcode: Opcode, _ payload: ByteBuffer, isFinal: Bool = true) async throws {
        try await sendBytes(MaskedFrame.encode(opcode, payload, isFinal: isFinal))
    }

    /// Compresses a text and sends it.
    package func sendDeflated(_ text: String) async throws {
        let payload = MaskedFrame.deflated(ByteBuffer(string: text))
        try await sendBytes(MaskedFrame.encode(.text, payload, isDeflated: true))
    }

    /// Sends any bytes, however wrong.
    package func sendBytes(_ bytes: ByteBuffer) async throws {
        try await channel.writeAndFlush(bytes).get()
    }

    /// Sends a close frame; the server answers and ends the connection.
    package func close(code: UInt16 = 1000, reason: String = "") async throws {
        var payload = ByteBuffer(integer: code)
        payload.writeString(reason)
        try await sendFrame(.close, payload)
    }

    /// Ends the TCP connection without a word.
    package func drop() async { try? await channel.close() }

    // MARK: Receiving

    /// The next message of any kind.
    package func next(timeout: TimeAmount = .seconds(60)) async throws -> Message {
        try await inbox.take("message", timeout: timeout) { _ in true }
    }

    /// The next text message.
    package func nextText(timeout: TimeAmount = .seconds(60)) async throws -> String {
        let message = try await inbox.take("text", timeout: timeout) {
            if case .text = $0 { true } else { false }
        }
        guard case .text(let text) = message else { return "" }
        return text
    }

    /// The next event of a type; earlier ones of other types stay for later calls.
    package func next(type: String, timeout: TimeAmount = .seconds(60)) async throws -> TestEvent {
        try await nextEvent(type, timeout: timeout) { $0.type == type }
    }

    /// The answer to the request `id`.
    package func next(id: String, timeout: TimeAmount = .seconds(60)) async throws -> TestEvent {
        try await nextEvent("answer to \(id)", timeout: timeout) { $0.id == id }
    }

    /// The next event that fulfils a condition; others stay.
    package func nextEvent(
        _ what: String, timeout: TimeAmount = .seconds(60), where condition: @escaping @Sendable (TestEvent) -> Bool
    ) async throws -> TestEvent {
        let message = try await inbox.take(what, timeout: timeout) {
            guard case .text(let text) = $0, let event = TestEvent(text) else { return false }
            return condition(event)
        }
        guard case .text(let text) = message, let event = TestEvent(text) else {
            throw TestTimeout(description: "no \(what)")
        }
        return event
    }

    /// Sends a request and waits for the answer with its id.
    package func request(
        _ type: String, _ data: String = "null", id: String = UUID().uuidString, timeout: TimeAmount = .seconds(60)
    ) async throws -> TestEvent {
        try await send("{\"type\":\"\(type)\",\"data\":\(data),\"id\":\"\(id)\"}")
        return try await next(id: id, timeout: timeout)
    }

    /// The next pong's payload.
    package func nextPong(timeout: TimeAmount = .seconds(60)) async throws -> String {
        let message = try await inbox.take("pong", timeout: timeout) {
            if case .pong = $0 { true } else { false }
        }
        guard case .pong(let payload) = message else { return "" }
        return String(buffer: payload)
    }

    /// Waits for the server's close frame and returns its code; `nil` when there was none before the connection ended.
    package func waitForCloseCode(timeout: TimeAmount = .seconds(60)) async throws -> UInt16? {
        let message = try await inbox.take("close", timeout: timeout) {
            switch $0 {
            case .close, .gone: true
            default: false
            }
        }
        guard case .close(let code, _) = message else { return nil }
        return code
    }

    /// Waits until the TCP connection is gone.
    package func waitUntilGone(timeout: TimeAmount = .seconds(60)) async throws {
        _ = try await inbox.take("end of the connection", timeout: timeout) { $0 == .gone }
    }

    /// What came and was not taken.
    package var waitingMessages: [Message] { inbox.elements }

    /// Takes nothing from the socket any more: its buffers fill, then the server's.
    package func stopReading() async throws {
        try await channel.setOption(.autoRead, value: false).get()
    }

    package func resumeReading() async throws {
        try await channel.setOption(.autoRead, value: true).get()
        channel.read()
    }

    // MARK: Inside

    private struct Session: Sendable {
        let inbox: Inbox<Message>
        let answers: Inbox<TestHTTPResponse>
        let answersPings: Bool
        let deflated = NIOLockedValueBox(0)

        init(loop: any EventLoop, answersPings: Bool) {
            self.inbox = Inbox(loop: loop)
            self.answers = Inbox(loop: loop)
            self.answersPings = answersPings
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let session: Session
        private var bytes = ByteBuffer()
        private var isUpgraded = false
        private var parser = WebSocketFrameParser(maximumMessageBytes: 64 << 20, role: .client)
        private let compressor = MessageCompressor(level: 1, threshold: 0)
        private let limits = MessageCompressor.Limits(messageBytes: 64 << 20, ratio: 2000)

        init(session: Session) { self.session = session }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            bytes.writeImmutableBuffer(unwrapInboundIn(data))
            if !isUpgraded { readHead() }
            if isUpgraded { readFrames(context) }
        }

        private func readHead() {
            let view = bytes.readableBytesView
            guard let end = view.firstRange(of: Array("\r\n\r\n".utf8)),
                let head = bytes.getString(at: bytes.readerIndex, length: end.upperBound - bytes.readerIndex),
                let response = TestHTTPResponse(head), response.status == 101
            else { return }
            bytes.moveReaderIndex(to: end.upperBound)
            isUpgraded = true
            if response["sec-websocket-extensions"]?.hasPrefix("permessage-deflate") == true {
                parser = WebSocketFrameParser(maximumMessageBytes: 64 << 20, role: .client, deflates: true)
            }
            session.answers.put(response)
        }

        private func readFrames(_ context: ChannelHandlerContext) {
            do {
                while let event = try parser.next(from: &bytes) {
                    if case .deflated = event { session.deflated.withLockedValue { $0 += 1 } }
                    switch try compressor.expanded(event, limits) {
                    case .deflated: break
                    case .text(let text): session.inbox.put(.text(String(buffer: text)))
                    case .binary(let payload): session.inbox.put(.binary(payload))
                    case .pong(let payload): session.inbox.put(.pong(payload))
                    case .ping(let payload):
                        session.inbox.put(.ping(payload))
                        guard session.answersPings else { continue }
                        context.writeAndFlush(wrapOutboundOut(MaskedFrame.encode(.pong, payload)), promise: nil)
                    case .close(let code, let reason):
                        session.inbox.put(.close(code: code, reason: String(buffer: reason)))
                    }
                }
                bytes.discardReadBytes()
            } catch {
                // A test sees it as a close with a code that no server sends.
                session.inbox.put(.close(code: 0, reason: "the server broke RFC 6455: \(error.detail)"))
                context.close(promise: nil)
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if !isUpgraded, let response = TestHTTPResponse(String(buffer: bytes)) { session.answers.put(response) }
            session.answers.close()
            session.inbox.put(.gone)
            session.inbox.close()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}
