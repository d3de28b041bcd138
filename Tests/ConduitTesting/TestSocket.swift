import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix

/// A TCP connection that says exactly the bytes it is told to and keeps all that comes back.
package final class TestSocket: Sendable {
    private let channel: any Channel
    private let collector: Collector

    private init(channel: any Channel, collector: Collector) {
        self.channel = channel
        self.collector = collector
    }

    /// - Parameter source: the address to come from, where it matters.
    package static func connect(
        host: String = "127.0.0.1", port: Int, from source: String? = nil
    ) async throws -> TestSocket {
        let collector = Collector()
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(collector: collector))
                }
            }
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        if let source { bootstrap = bootstrap.bind(to: try SocketAddress(ipAddress: source, port: 0)) }
        let channel = try await bootstrap.connect(host: host, port: port).get()
        return TestSocket(channel: channel, collector: collector)
    }

    package func send(_ text: String) async throws { try await send(ByteBuffer(string: text)) }

    package func send(_ bytes: ByteBuffer) async throws { try await channel.writeAndFlush(bytes).get() }

    /// What has come so far.
    package var received: ByteBuffer { collector.state.withLockedValue { $0.bytes } }

    /// Waits until what came fulfils `condition`, or the peer has closed.
    @discardableResult
    package func wait(
        timeout: TimeAmount = .seconds(60), until condition: @escaping @Sendable (String) -> Bool
    ) async throws -> String {
        let deadline = NIODeadline.now() + timeout
        while true {
            let (bytes, isClosed) = collector.state.withLockedValue { ($0.bytes, $0.isClosed) }
            let text = String(buffer: bytes)
            if condition(text) { return text }
            guard !isClosed else { throw TestConnectionClosed(description: "closed after: \(text.prefix(500))") }
            guard NIODeadline.now() < deadline else {
                throw TestTimeout(description: "not in time, but: \(text.prefix(500))")
            }
            // A poll of a bounded wait, not a way to be in step with the server.
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Waits until the peer has closed and returns all that it said.
    package func waitForClose(timeout: TimeAmount = .seconds(60)) async throws -> String {
        let deadline = NIODeadline.now() + timeout
        while !collector.state.withLockedValue({ $0.isClosed }) {
            guard NIODeadline.now() < deadline else {
                throw TestTimeout(description: "still open after: \(String(buffer: received).prefix(500))")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        return String(buffer: received)
    }

    package func close() async { try? await channel.close() }

    private final class Collector: Sendable {
        struct State {
            var bytes = ByteBuffer()
            var isClosed = false
        }
        let state = NIOLockedValueBox(State())
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let collector: Collector

        init(collector: Collector) { self.collector = collector }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            collector.state.withLockedValue { _ = $0.bytes.writeImmutableBuffer(bytes) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            collector.state.withLockedValue { $0.isClosed = true }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}
