import ConduitHub
import ConduitWire
import NIOCore
import NIOSSL

/// What all connections of the public port on one event loop share. Loop-bound.
final class GatewayLoop {
    /// Handshakes that may be under way when ``GatewayConfiguration/connections`` is reached; more are cut at accept.
    private static let spareConnections = 256

    let shared: Gateway.Shared
    let pool: ReceivePool
    let deadlines: HandshakeDeadlines
    let firstReads = FirstReceiveAllocator()
    let laterReads: PooledReceiveAllocator
    private let tls: NIOSSLContext?
    /// For the echo alone: made when the first such client has agreed on compression.
    private(set) lazy var compressor = shared.limits.compression?.makeCompressor()

    init(shared: Gateway.Shared, eventLoop: any EventLoop, pool: ReceivePool, tls: NIOSSLContext?) {
        self.shared = shared
        self.pool = pool
        self.tls = tls
        self.deadlines = HandshakeDeadlines(
            eventLoop: eventLoop,
            time: .milliseconds(Int64(shared.configuration.handshakeTimeoutMilliseconds)))
        self.laterReads = PooledReceiveAllocator(pool: pool, eventLoop: eventLoop)
    }

    /// Puts the echo into a channel that was upgraded for it.
    func admitEcho(_ channel: any Channel, _ accepted: AcceptedHandshake) throws {
        let echo = EchoHandler(loop: self, accepted: accepted)
        try channel.pipeline.syncOperations.addHandler(echo)
        echo.start(leftover: accepted.leftover)
    }

    /// Prepares a connection that was just accepted; an error closes it.
    func open(_ channel: any Channel) throws {
        let counters = shared.counters
        let limit = shared.configuration.connections
        let open = counters.accept()
        guard limit == 0 || open <= limit + Self.spareConnections else {
            counters.count(.overflow)
            counters.close()
            throw ChannelError.eof
        }
        do {
            let pipeline = channel.pipeline.syncOperations
            if let tls {
                try channel.syncOptions?.setOption(
                    .recvAllocator, value: TLSReceiveAllocator(bytes: pool.bufferBytes))
                try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
                try pipeline.addHandler(NIOSSLServerHandler(context: tls))
            } else {
                try channel.syncOptions?.setOption(.recvAllocator, value: firstReads)
            }
            try pipeline.addHandler(FrontDoorHandler(loop: self, isBehindTLS: tls != nil))
        } catch {
            counters.close()
            throw error
        }
    }
}

@available(*, unavailable)
extension GatewayLoop: Sendable {}
