import NIOCore
import NIOPosix

/// A TCP proxy that can misbehave as networks do: hold back one direction or both, reset, delay, throttle, refuse.
///
/// It holds at most one read of each direction of a connection (64 KB); what it does not pass on waits in the sockets'
/// own buffers, so that the sender feels it. Everything runs on one loop.
package final class TCPProxy: Sendable {
    /// What happens to bytes.
    package struct Behaviour: Sendable, Hashable {
        /// Bytes from clients reach the server. Off: they wait, as behind a black hole, and go on when it is mended.
        package var passesUp = true
        /// Bytes from the server reach clients.
        package var passesDown = true
        /// Each read waits so long.
        package var delayMilliseconds: Int64 = 0
        /// Bytes a second from the server to each client; `nil` is as fast as they come.
        package var downBytesPerSecond: Int?
        /// New connections are reset at once.
        package var refuses = false

        package init() {}

        /// Everything goes through.
        package static let pass = Behaviour()
        /// Nothing goes through, and nobody is told.
        package static let blackHole: Behaviour = {
            var behaviour = Behaviour()
            behaviour.passesUp = false
            behaviour.passesDown = false
            return behaviour
        }()
        /// What is connected stays so; nobody else gets in.
        package static let refusesNew: Behaviour = {
            var behaviour = Behaviour()
            behaviour.refuses = true
            return behaviour
        }()
    }

    package let port: Int
    private let listener: any Channel
    private let core: NIOLoopBound<Core>

    private init(port: Int, listener: any Channel, core: NIOLoopBound<Core>) {
        self.port = port
        self.listener = listener
        self.core = core
    }

    deinit {
        let core = self.core
        listener.eventLoop.execute { core.value.resetAll() }
        listener.close(promise: nil)
    }

    /// Listens on a free port of the loopback interface and connects everybody to `server`.
    package static func start(to server: Int) async throws -> TCPProxy {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let core = try await loop.submit { NIOLoopBound(Core(server: server, loop: loop), eventLoop: loop) }.get()
        let listener = try await ServerBootstrap(group: loop, childGroup: loop)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try core.value.accept(channel) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return TCPProxy(port: listener.localAddress?.port ?? 0, listener: listener, core: core)
    }

    /// Changes what happens to bytes from now on, on the connections that are there too.
    package func set(_ behaviour: Behaviour) async throws {
        let core = self.core
        try await listener.eventLoop.submit { core.value.set(behaviour) }.get()
    }

    /// Resets every connection (RST); new ones are welcome.
    package func reset() async throws {
        let core = self.core
        try await listener.eventLoop.submit { core.value.resetAll() }.get()
    }

    /// Connections that are open now.
    package var connections: Int {
        get async throws {
            let core = self.core
            return try await listener.eventLoop.submit { core.value.legs.count / 2 }.get()
        }
    }

    /// All state; loop-bound.
    private final class Core {
        let server: Int
        let loop: any EventLoop
        var behaviour = Behaviour.pass
        var legs: [ObjectIdentifier: Leg] = [:]

        init(server: Int, loop: any EventLoop) {
            self.server = server
            self.loop = loop
        }

        func accept(_ channel: any Channel) throws {
            let near = Leg(core: self, goesUp: true)
            let far = Leg(core: self, goesUp: false)
            near.peer = far
            far.peer = near
            try channel.pipeline.syncOperations.addHandler(near)
            guard !behaviour.refuses else { return near.isRefused = true }
            let bound = NIOLoopBound(far, eventLoop: loop)
            ClientBootstrap(group: loop)
                .channelOption(.autoRead, value: false)
                .channelOption(.maxMessagesPerRead, value: 1)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                // Small, so that what is held back soon waits in the server.
                .channelOption(.socketOption(.so_rcvbuf), value: 65_536)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(bound.value)
                    }
                }
                .connect(host: "127.0.0.1", port: server)
                .assumeIsolated().whenFailure { _ in near.reset() }
        }

        func set(_ behaviour: Behaviour) {
            self.behaviour = behaviour
            for leg in legs.values { leg.goOn() }
        }

        func resetAll() {
            for leg in legs.values { leg.reset() }
        }
    }

    /// One end of a connection: reads a piece, waits until the other end has written it, reads the next.
    private final class Leg: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let core: Core
        /// Reads from the client.
        private let goesUp: Bool
        var peer: Leg?
        var isRefused = false
        private var context: ChannelHandlerContext?
        /// Read, and held back since.
        private var held: ByteBuffer?
        /// The next read may begin as soon as this direction passes.
        private var wantsRead = false

        init(core: Core, goesUp: Bool) {
            self.core = core
            self.goesUp = goesUp
        }

        private var passes: Bool { goesUp ? core.behaviour.passesUp : core.behaviour.passesDown }

        func channelActive(context: ChannelHandlerContext) {
            self.context = context
            guard !isRefused else { return reset() }
            core.legs[ObjectIdentifier(self)] = self
            // Nothing is read until both ends are there.
            guard let peer, peer.context != nil else { return }
            readNext()
            peer.readNext()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            held = unwrapInboundIn(data)
            goOn()
        }

        func channelInactive(context: ChannelHandlerContext) {
            core.legs[ObjectIdentifier(self)] = nil
            self.context = nil
            peer?.context?.close(promise: nil)
            peer = nil
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        /// What was held back goes on its way, where it may.
        func goOn() {
            guard passes else { return }
            if let bytes = held {
                held = nil
                let delay = core.behaviour.delayMilliseconds
                guard delay > 0 else { return forward(bytes) }
                core.loop.assumeIsolated().scheduleTask(in: .milliseconds(delay)) { self.forward(bytes) }
            } else if wantsRead {
                wantsRead = false
                context?.read()
            }
        }

        private func forward(_ bytes: ByteBuffer) {
            guard let context = peer?.context else { return }
            let count = bytes.readableBytes
            context.writeAndFlush(wrapOutboundOut(bytes)).assumeIsolated().whenSuccess {
                guard !self.goesUp, let rate = self.core.behaviour.downBytesPerSecond, rate > 0 else {
                    return self.readNext()
                }
                let pause = Int64(count) * 1_000_000 / Int64(rate)
                self.core.loop.assumeIsolated().scheduleTask(in: .microseconds(pause)) { self.readNext() }
            }
        }

        private func readNext() {
            wantsRead = true
            goOn()
        }

        func reset() {
            guard let context else { return }
            if let options = context.channel as? any SocketOptionProvider {
                options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in }
            }
            context.close(promise: nil)
        }
    }
}
