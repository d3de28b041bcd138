import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// An HTTP server that answers as a test tells it to, or doesn't; it closes with this object.
package final class TestHTTPServer: Sendable {
    /// What came.
    package struct Request: Sendable {
        package let method: String
        package let path: String
        /// Names in lower case.
        package let headers: [String: String]
        package let body: String
    }

    /// What goes back.
    package enum Answer: Sendable {
        case status(Int, String = "")
        /// Nothing, for ever.
        case silence
        /// The end of the connection.
        case hangUp
        /// A head, a little of the body, and nothing more.
        case half
    }

    private struct State {
        var requests: [Request] = []
        var connections = 0
        var answer: @Sendable (Request) -> Answer
    }

    private let state: NIOLockedValueBox<State>
    private let channel: any Channel
    private let scheme: String

    private init(state: NIOLockedValueBox<State>, channel: any Channel, scheme: String) {
        self.state = state
        self.channel = channel
        self.scheme = scheme
    }

    deinit { channel.close(promise: nil) }

    /// Listens on a free port of loopback; with certificates it speaks TLS.
    package static func start(
        port: Int = 0, tls: TestCertificates? = nil, _ answer: @escaping @Sendable (Request) -> Answer
    ) async throws -> TestHTTPServer {
        let state = NIOLockedValueBox(State(answer: answer))
        let context = try tls.map { files in
            try NIOSSLContext(
                configuration: .makeServerConfiguration(
                    certificateChain: NIOSSLCertificate.fromPEMFile(files.certificateFile).map { .certificate($0) },
                    privateKey: .privateKey(try NIOSSLPrivateKey(file: files.keyFile, format: .pem))))
        }
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    state.withLockedValue { $0.connections += 1 }
                    let pipeline = channel.pipeline.syncOperations
                    if let context { try pipeline.addHandler(NIOSSLServerHandler(context: context)) }
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try pipeline.addHandler(Handler(state: state))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        return TestHTTPServer(state: state, channel: channel, scheme: tls == nil ? "http" : "https")
    }

    package var port: Int { channel.localAddress?.port ?? 0 }

    package func url(_ path: String = "/") -> String { "\(scheme)://localhost:\(port)\(path)" }

    /// Everything that was asked so far.
    package var requests: [Request] { state.withLockedValue { $0.requests } }

    /// Connections that were ever made.
    package var connections: Int { state.withLockedValue { $0.connections } }

    /// Answers otherwise from now on.
    package func answer(_ answer: @escaping @Sendable (Request) -> Answer) {
        state.withLockedValue { $0.answer = answer }
    }

    package func stop() async { try? await channel.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let state: NIOLockedValueBox<State>
        private var head: HTTPRequestHead?
        private var body = ByteBuffer()

        init(state: NIOLockedValueBox<State>) { self.state = state }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body.clear()
            case .body(var part): body.writeBuffer(&part)
            case .end:
                guard let head else { return }
                let request = Request(
                    method: head.method.rawValue, path: head.uri,
                    headers: Dictionary(
                        head.headers.map { ($0.name.lowercased(), $0.value) }, uniquingKeysWith: { first, _ in first }),
                    body: String(buffer: body))
                let answer = state.withLockedValue { state in
                    state.requests.append(request)
                    return state.answer
                }
                write(answer(request), context)
            }
        }

        private func write(_ answer: Answer, _ context: ChannelHandlerContext) {
            switch answer {
            case .silence: break
            case .hangUp: context.close(promise: nil)
            case .half:
                var head = HTTPResponseHead(version: .http1_1, status: .ok)
                head.headers.add(name: "content-length", value: "1000")
                context.write(wrapOutboundOut(.head(head)), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "{")))), promise: nil)
            case .status(let status, let text):
                var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
                head.headers.add(name: "content-length", value: "\(text.utf8.count)")
                context.write(wrapOutboundOut(.head(head)), promise: nil)
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
