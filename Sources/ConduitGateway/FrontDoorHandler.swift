import ConduitCore
import ConduitHub
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore
import NIOSSL

/// One connection until it is upgraded or answered. Loop-bound; after the upgrade nothing of it stays.
///
/// The clock runs from accept, so a client that dribbles its request or an authentication that hangs ends with it.
/// Only the first request is served: whatever is pipelined behind it is dropped as the answer says `close`.
final class FrontDoorHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        /// The head is awaited.
        case reading
        /// Somebody is asked who this is.
        case authenticating(Handshake, task: Task<Void, Never>?)
        /// The answer is out; what still comes is dropped until the peer closes or this closes it.
        case answered(Scheduled<Void>)
        /// The next handler takes over.
        case upgraded
        case closed
    }

    /// What the peer may still send after an answer, so that closing doesn't reset the connection under it.
    private static let lingerTime = TimeAmount.seconds(1)

    private let loop: GatewayLoop
    private var shared: Gateway.Shared { loop.shared }
    private var context: ChannelHandlerContext?
    private var state = State.reading
    private var reader = RequestReader()
    /// What came behind the request.
    private var leftover: ByteBuffer?
    /// For whom a PROXY header speaks, where there was one.
    var announced: ProxyHeader.Party?
    /// The client's address, once its request is read. Its places are counted by this.
    private var client: IPAddress?
    /// The address whose place it has taken.
    private var place: IPAddress?
    private let isBehindTLS: Bool
    /// Whether anything has come that isn't TLS's own.
    private var hasBeenHeard = false
    /// Whether the channel reads into what it shall read into for the rest of its life.
    private var hasAllocator: Bool

    /// Places in ``HandshakeDeadlines``, which alone touches them.
    var begun = NIODeadline.uptimeNanoseconds(0)
    var deadline = NIODeadline.uptimeNanoseconds(0)
    var earlier: FrontDoorHandler?
    var later: FrontDoorHandler?

    init(loop: GatewayLoop, isBehindTLS: Bool) {
        self.loop = loop
        self.isBehindTLS = isBehindTLS
        self.hasAllocator = isBehindTLS
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        loop.deadlines.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    // MARK: Events of the channel

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        hasBeenHeard = true
        loop.pool.giveBack(bytes)
        if !hasAllocator {
            hasAllocator = true
            // The buffer that NIO keeps is chosen; from now on, beginning with the next read of this turn, the pool's.
            try? context.channel.syncOptions?.setOption(.recvAllocator, value: loop.laterReads)
            try? context.channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
        }
        switch state {
        case .reading:
            read(bytes, context)
        case .authenticating:
            // What the socket gave in the turn in which reading was stopped: a read or two.
            keep(bytes)
        case .answered, .upgraded, .closed:
            break
        }
    }

    private func read(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        let configuration = loop.configuration
        switch reader.next(bytes, maxBytes: configuration.maxHeaderBytes, maxFields: configuration.maxHeaderFields) {
        case .incomplete:
            break
        case .complete(let head, let leftover):
            self.leftover = leftover
            reader = RequestReader()
            finish(head, context)
        case .malformed:
            refuse(Refusal(.badRequest, "not HTTP/1.1"), context)
        case .tooLarge:
            refuse(Refusal(.requestHeaderFieldsTooLarge, "the head of the request is too large"), context)
        }
    }

    private func keep(_ bytes: ByteBuffer) {
        if leftover == nil {
            leftover = bytes
        } else {
            leftover?.writeImmutableBuffer(bytes)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        shared.logger.debug("connection failed", metadata: [LogKey.error: "\(error)"])
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// The connection is gone, or no longer this handler's.
    private func end() {
        loop.deadlines.remove(self)
        switch state {
        case .reading:
            shared.counters.count(.aborted)
        case .authenticating(_, let task):
            task?.cancel()
            shared.counters.count(.aborted)
            shared.limits.leave(place)
        case .answered(let timer):
            timer.cancel()
        case .upgraded, .closed:
            return
        }
        state = .closed
        shared.counters.close()
    }

    /// Called by ``HandshakeDeadlines``.
    func timeIsUp() {
        guard let context else { return }
        switch state {
        case .reading:
            // TLS has not come about: an answer could not be read.
            guard hasBeenHeard || !isBehindTLS else { return cut(as: .timeout) }
            shared.counters.count(.timeout)
            answer(Refusal(.requestTimeout, "the request took too long").answer, withBody: true, context)
        case .authenticating(_, let task):
            task?.cancel()
            shared.limits.leave(place)
            refuse(Refusal(.serviceUnavailable, "authentication took too long", [("Retry-After", "1")]), context)
        case .answered, .upgraded, .closed:
            break
        }
    }

    /// Whether it has not said yet what it wants.
    var isUnheard: Bool { if case .reading = state { true } else { false } }

    /// Called by ``HandshakeDeadlines``: there are too many, and this is the oldest.
    func giveWay() {
        shared.counters.count(.handshaking)
        cut(as: .gaveWay)
    }

    /// Ends the connection without an answer, at once.
    func cut(as result: HandshakeResult) {
        guard let context else { return }
        switch state {
        case .reading: break
        case .authenticating(_, let task):
            task?.cancel()
            shared.limits.leave(place)
        case .answered, .upgraded, .closed: return
        }
        loop.deadlines.remove(self)
        state = .closed
        shared.counters.count(result)
        shared.counters.close()
        close(context)
    }

    /// Closes the socket without TLS's farewell, for which a peer may let us wait for seconds.
    private func close(_ context: ChannelHandlerContext) {
        if isBehindTLS,
            let tls = try? context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self)
        {
            tls.close(promise: nil)
        } else {
            context.close(promise: nil)
        }
    }

    // MARK: Answers

    private func finish(_ head: RequestHead, _ context: ChannelHandlerContext) {
        client = address(head, context)
        let decision = loop.frontDoor.decide(head, readiness: shared.readiness()) { client?.description }
        switch decision {
        case .page(let page):
            shared.counters.count(.page)
            answer(page, withBody: head.method != .head, context)
        case .refuse(let refusal):
            if refusal.isOverload { shared.counters.count(shared.memory.isOver ? .memory : .connections) }
            refuse(refusal, withBody: head.method != .head, context)
        case .upgrade(let handshake, let request):
            switch shared.limits.enter(client) {
            case .refused(let refusal): return refuse(refusal, context)
            case .entered(let taken): place = taken
            }
            // An echo tells nobody anything that they didn't say themselves.
            guard let authenticate = shared.authenticate, !handshake.isEcho else {
                upgrade(handshake, .anonymous, context)
                return
            }
            let shown = loop.frontDoor.request(
                head, remoteAddress: request?.remoteAddress ?? client?.description,
                clientCertificate: certificate(context))
            ask(authenticate, handshake, shown, context)
        }
    }

    /// The client's address, as far as it can be believed.
    private func address(_ head: RequestHead, _ context: ChannelHandlerContext) -> IPAddress? {
        let peer: IPAddress?
        switch announced {
        case .client(let client): peer = client
        // Nobody trusted has written this head: its fields are the client's own.
        case .unknown: return context.channel.remoteAddress.flatMap(IPAddress.init)
        case .proxy, nil: peer = context.channel.remoteAddress.flatMap(IPAddress.init)
        }
        guard let peer else { return nil }
        return ForwardedAddress.client(of: head, peer: peer, trusted: loop.configuration.trustedProxies)
    }

    /// Whom the certificate names that the client has shown.
    private func certificate(_ context: ChannelHandlerContext) -> ClientCertificate? {
        guard let tls = loop.configuration.tls, tls.clientCertificates != .none else { return nil }
        let certificate = try? context.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self).peerCertificate
        return certificate.flatMap { try? $0.toDERBytes() }.flatMap(ClientCertificate.init(der:))
    }

    private func refuse(_ refusal: Refusal, withBody: Bool = true, _ context: ChannelHandlerContext) {
        shared.counters.count(HandshakeResult(refusal: refusal.status.code))
        shared.logger.debug(
            "request refused",
            metadata: [
                LogKey.code: "\(refusal.status.code)",
                LogKey.address: "\(client?.description ?? "")",
            ])
        answer(refusal.answer, withBody: withBody, context)
    }

    private func answer(_ answer: HTTPAnswer, withBody: Bool, _ context: ChannelHandlerContext) {
        sayLast(answer.encode(withBody: withBody), context)
    }

    private func sayLast(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        loop.deadlines.remove(self)
        state = .answered(
            context.eventLoop.assumeIsolated().scheduleTask(in: Self.lingerTime) { self.close(context) })
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        // Only our half: a full close with unread bytes would reset the connection and could destroy the answer.
        context.close(mode: .output, promise: nil)
        resumeReading(context)
    }

    // MARK: Authentication

    private func ask(
        _ authenticate: @escaping AuthenticationHandler, _ handshake: Handshake, _ request: HandshakeRequest,
        _ context: ChannelHandlerContext
    ) {
        // Nothing is read meanwhile: a client that floods before it is known fills its own socket.
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        let promise = context.eventLoop.makePromise(of: Identity?.self)
        promise.futureResult.assumeIsolated().whenComplete { self.authenticated($0, context) }
        let task = Task {
            do {
                promise.succeed(try await authenticate(request))
            } catch {
                promise.fail(error)
            }
        }
        state = .authenticating(handshake, task: task)
    }

    private func authenticated(_ result: Result<Identity?, any Error>, _ context: ChannelHandlerContext) {
        guard case .authenticating(let handshake, _) = state else { return }
        switch result {
        case .success(let identity?):
            upgrade(handshake, identity, context)
            return
        case .success(nil):
            refuseToken(AuthenticationError(), context)
        case .failure(let error as AuthenticationError):
            refuseToken(error, context)
        case .failure(let error):
            shared.limitedLog.log(.warning, "authentication failed to answer", [LogKey.error: "\(error)"])
            refuse(Refusal(.serviceUnavailable, "authentication is unavailable", [("Retry-After", "1")]), context)
        }
        shared.limits.leave(place)
    }

    private func refuseToken(_ error: AuthenticationError, _ context: ChannelHandlerContext) {
        refuse(Refusal(.unauthorized, error.message, [("WWW-Authenticate", "Bearer")]), context)
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard let options = context.channel.syncOptions, (try? options.getOption(.autoRead)) == false else { return }
        try? options.setOption(.autoRead, value: true)
    }

    // MARK: The upgrade

    /// Leaves, hands the channel over and answers the handshake.
    ///
    /// In this order: who has read the answer is registered and misses no message. The new owner writes at the end of
    /// the turn at the earliest, so nothing overtakes the answer.
    private func upgrade(_ handshake: Handshake, _ identity: Identity, _ context: ChannelHandlerContext) {
        let user: UserID?
        switch shared.limits.enter(identity.user) {
        case .entered(let taken): user = taken
        case .full:
            shared.limits.leave(place)
            shared.counters.count(.turnedAway)
            // A browser's page is told nothing of an answer that doesn't upgrade, but of a close code it is.
            var bytes = handshake.answer
            bytes.writeImmutableBuffer(FrameEncoder.close(.connectionLimit))
            return sayLast(bytes, context)
        }
        let observer = shared.limits.observer(address: place, user: user)
        let hasStoppedReading = if case .authenticating = state { true } else { false }
        let channel = context.channel
        let counters = shared.counters
        var identity = identity
        identity.subprotocol = handshake.subprotocol
        let accepted = AcceptedHandshake(
            identity: identity, leftover: leftover, deflate: handshake.deflate,
            microseconds: loop.deadlines.microseconds(since: self), observer: observer,
            address: client.map { RemoteAddress(high: $0.high, low: $0.low) } ?? .unknown)
        loop.deadlines.remove(self)
        state = .upgraded
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        do {
            if handshake.isEcho { try loop.admitEcho(channel, accepted) } else { try shared.admit(channel, accepted) }
        } catch {
            shared.logger.debug("client not admitted", metadata: [LogKey.error: "\(error)"])
            let refusal = Refusal(.serviceUnavailable, "this node takes no clients", [("Retry-After", "1")])
            counters.count(HandshakeResult(refusal: refusal.status.code))
            observer.connectionEnded()
            channel.writeAndFlush(refusal.answer.encode(withBody: true), promise: nil)
            channel.close(promise: nil)
            return
        }
        counters.count(.upgraded)
        shared.logger.debug("client upgraded", metadata: [LogKey.address: "\(client?.description ?? "")"])
        channel.writeAndFlush(handshake.answer, promise: nil)
        if hasStoppedReading { try? channel.syncOptions?.setOption(.autoRead, value: true) }
    }
}

@available(*, unavailable)
extension FrontDoorHandler: Sendable {}
