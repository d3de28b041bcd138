import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore
import NIOSSL

/// What all connections of the public port on one event loop share. Loop-bound.
final class GatewayLoop {
    /// Connections beside the upgraded and the unfinished ones: those that read their answer. More are cut at accept.
    private static let spareConnections = 256

    let shared: Gateway.Shared
    let pool: ReceivePool
    let deadlines: HandshakeDeadlines
    let firstReads = FirstReceiveAllocator()
    let laterReads: PooledReceiveAllocator
    private let certificates: CertificateKeeper?
    /// Unfinished handshakes that this loop may have: its share.
    private var handshaking: Int
    /// What holds now; ``Gateway/Shared/configuration`` is what the port was opened with.
    private(set) var configuration: GatewayConfiguration
    private(set) var frontDoor: FrontDoor
    /// What the echo keeps to, as the hub does.
    private(set) var clientLimits: HubConfiguration
    /// For the echo alone: made when the first such client has agreed on compression.
    private(set) lazy var compressor = shared.clientLimits.compression?.makeCompressor()
    private let eventLoop: any EventLoop
    /// The hub knows nothing of them, so they are closed from here when the node stops.
    private var echoes: [ObjectIdentifier: EchoHandler] = [:]
    /// Completes when there are none any more.
    private var echoesGone: EventLoopPromise<Void>?

    init(
        shared: Gateway.Shared, eventLoop: any EventLoop, pool: ReceivePool, certificates: CertificateKeeper?,
        handshaking: Int
    ) {
        self.shared = shared
        self.eventLoop = eventLoop
        self.pool = pool
        self.certificates = certificates
        self.handshaking = handshaking
        self.configuration = shared.configuration
        self.clientLimits = shared.clientLimits
        self.frontDoor = Self.frontDoor(shared.configuration, shared)
        self.deadlines = HandshakeDeadlines(
            eventLoop: eventLoop,
            time: .milliseconds(Int64(shared.configuration.handshakeTimeoutMilliseconds)))
        self.laterReads = PooledReceiveAllocator(pool: pool, eventLoop: eventLoop)
    }

    private static func frontDoor(_ configuration: GatewayConfiguration, _ shared: Gateway.Shared) -> FrontDoor {
        FrontDoor(
            configuration: configuration, windowBits: UInt8(clamping: shared.clientLimits.compression?.windowBits ?? 0))
    }

    /// Other settings from now on, for connections that are not upgraded yet and those to come.
    func reload(_ new: GatewayConfiguration, clientLimits: HubConfiguration, handshaking: Int) {
        configuration = new
        frontDoor = Self.frontDoor(new, shared)
        self.handshaking = handshaking
        var limits = clientLimits
        limits.compression = self.clientLimits.compression
        self.clientLimits = limits
        deadlines.time = .milliseconds(Int64(new.handshakeTimeoutMilliseconds))
    }

    /// Puts the echo into a channel that was upgraded for it.
    func admitEcho(_ channel: any Channel, _ accepted: AcceptedHandshake) throws {
        let echo = EchoHandler(loop: self, accepted: accepted)
        try channel.pipeline.syncOperations.addHandler(echo)
        echo.start(leftover: accepted.leftover)
    }

    func add(_ echo: EchoHandler) { echoes[ObjectIdentifier(echo)] = echo }

    func remove(_ echo: EchoHandler) {
        echoes[ObjectIdentifier(echo)] = nil
        if echoes.isEmpty { echoesGone.take()?.succeed() }
    }

    var echoCount: Int { echoes.count }

    /// Closes the echoes, evenly over the time of `spread`; completes when they are gone, at the latest after `time`.
    func closeEchoes(_ reason: CloseReason, over spread: TimeAmount, within time: TimeAmount) -> EventLoopFuture<Void> {
        guard !echoes.isEmpty else { return eventLoop.makeSucceededVoidFuture() }
        let gone = echoesGone ?? eventLoop.makePromise(of: Void.self)
        echoesGone = gone
        let all = Array(echoes.values)
        for (index, echo) in all.enumerated() {
            let delay = spread.nanoseconds / Int64(all.count) * Int64(index)
            guard delay > 0 else {
                echo.end(reason)
                continue
            }
            eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) { echo.end(reason) }
        }
        eventLoop.assumeIsolated().scheduleTask(in: time) {
            for echo in Array(self.echoes.values) { echo.cut() }
            self.echoesGone.take()?.succeed()
        }
        return gone.futureResult
    }

    /// Prepares a connection that was just accepted; an error closes it.
    func open(_ channel: any Channel) throws {
        let counters = shared.counters
        let limit = configuration.connections
        let open = counters.accept()
        guard limit == 0 || open <= limit + configuration.handshaking + Self.spareConnections else {
            counters.count(.overflow)
            counters.close()
            throw ChannelError.eof
        }
        do {
            let pipeline = channel.pipeline.syncOperations
            let door = FrontDoorHandler(loop: self, isBehindTLS: certificates != nil)
            if configuration.proxyProtocol, let peer = channel.remoteAddress.flatMap(IPAddress.init),
                configuration.trustedProxies.contains(peer)
            {
                try pipeline.addHandler(ProxyHeaderHandler(door: door))
            }
            if let certificates {
                try channel.syncOptions?.setOption(
                    .recvAllocator, value: TLSReceiveAllocator(bytes: pool.bufferBytes))
                try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
                try pipeline.addHandler(NIOSSLServerHandler(context: certificates.context))
            } else {
                try channel.syncOptions?.setOption(.recvAllocator, value: firstReads)
            }
            try pipeline.addHandler(door)
            deadlines.shrink(to: handshaking)
        } catch {
            counters.close()
            throw error
        }
    }
}

@available(*, unavailable)
extension GatewayLoop: Sendable {}
