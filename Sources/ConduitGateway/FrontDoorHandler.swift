import ConduitHub
import ConduitTelemetry
import Logging
import NIOCore
import NIOHTTP1

/// One connection until it is upgraded or answered. Loop-bound; after the upgrade nothing of it stays.
///
/// The clock runs from accept, so a client that dribbles its request or an authentication that hangs ends with it.
/// Only the first request is served: whatever is pipelined behind it is dropped as the answer says `close`.
final class FrontDoorHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = ByteBuffer

    private enum State {
        /// The head is awaited.
        case reading
        /// The head is here, its end is not.
        case deciding(HTTPRequestHead)
        /// Somebody is asked who this is.
        case authenticating(Handshake, HandshakeRequest, task: Task<Void, Never>?)
        /// The answer is out; what still comes is dropped until the peer closes.
        case answered
        /// The next handler takes over.
        case upgraded
        case closed
    }

    /// What the peer may still send after an answer, so that closing doesn't reset the connection under it.
    private static let lingerTime = TimeAmount.seconds(1)

    private let shared: Gateway.Shared
    private let decoder: ByteToMessageHandler<HTTPRequestDecoder>
    private var state = State.reading
    private var timer: Scheduled<Void>?

    init(shared: Gateway.Shared, decoder: ByteToMessageHandler<HTTPRequestDecoder>) {
        self.shared = shared
        self.decoder = decoder
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let time = TimeAmount.milliseconds(Int64(shared.configuration.handshakeTimeoutMilliseconds))
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: time) { self.timeIsUp(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    // MARK: Events of the channel

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), state) {
        case (.head(let head), .reading):
            state = .deciding(head)
        case (.body, .deciding(let head)):
            // Nothing here takes a body. It isn't waited for.
            finish(head, context)
        case (.end, .deciding(let head)):
            finish(head, context)
        default:
            break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard case .reading = state else {
            if error is IOError || error is ChannelError { context.close(promise: nil) }
            return
        }
        switch error {
        case HTTPParserError.headerOverflow:
            refuse(Refusal(.requestHeaderFieldsTooLarge, "the head of the request is too large"), context)
        case is HTTPParserError:
            refuse(Refusal(.badRequest, "not HTTP/1.1"), context)
        default:
            shared.logger.debug("connection failed", metadata: [LogKey.error: "\(error)"])
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The peer has sent all: a half-closed connection is of no use to a WebSocket.
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        switch state {
        case .reading, .deciding:
            shared.counters.count(.aborted)
        case .authenticating(_, _, let task):
            task?.cancel()
            shared.counters.count(.aborted)
            shared.counters.returnPlace()
        case .answered, .upgraded, .closed:
            break
        }
        state = .closed
        timer?.cancel()
        context.fireChannelInactive()
    }

    private func timeIsUp(_ context: ChannelHandlerContext) {
        switch state {
        case .reading, .deciding:
            shared.counters.count(.timeout)
            answer(Refusal(.requestTimeout, "the request took too long").answer, withBody: true, context)
        case .authenticating(_, _, let task):
            task?.cancel()
            shared.counters.returnPlace()
            refuse(Refusal(.serviceUnavailable, "authentication took too long", [("Retry-After", "1")]), context)
        case .answered, .upgraded, .closed:
            context.close(promise: nil)
        }
    }

    // MARK: Answers

    private func finish(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let address = context.channel.remoteAddress?.description
        switch shared.frontDoor.decide(head, remoteAddress: address, readiness: shared.readiness()) {
        case .page(let page):
            shared.counters.count(.page)
            answer(page, withBody: head.method != .HEAD, context)
        case .refuse(let refusal):
            refuse(refusal, withBody: head.method != .HEAD, context)
        case .upgrade(let handshake, let request):
            guard shared.counters.takePlace(limit: shared.configuration.connections) else {
                refuse(Refusal(.serviceUnavailable, "no more connections", [("Retry-After", "5")]), context)
                return
            }
            guard let authenticate = shared.authenticate else {
                upgrade(handshake, request, .anonymous, context)
                return
            }
            ask(authenticate, handshake, request, context)
        }
    }

    private func refuse(_ refusal: Refusal, withBody: Bool = true, _ context: ChannelHandlerContext) {
        shared.counters.count(HandshakeResult(refusal: refusal.status.code))
        answer(refusal.answer, withBody: withBody, context)
    }

    private func answer(_ answer: HTTPAnswer, withBody: Bool, _ context: ChannelHandlerContext) {
        state = .answered
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.lingerTime) { context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(answer.encode(withBody: withBody)), promise: nil)
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
        state = .authenticating(handshake, request, task: task)
    }

    private func authenticated(_ result: Result<Identity?, any Error>, _ context: ChannelHandlerContext) {
        guard case .authenticating(let handshake, let request, _) = state else { return }
        switch result {
        case .success(let identity?):
            upgrade(handshake, request, identity, context)
            return
        case .success(nil):
            refuseToken(AuthenticationError(), context)
        case .failure(let error as AuthenticationError):
            refuseToken(error, context)
        case .failure(let error):
            shared.logger.warning("authentication failed to answer", metadata: [LogKey.error: "\(error)"])
            refuse(Refusal(.serviceUnavailable, "authentication is unavailable", [("Retry-After", "1")]), context)
        }
        shared.counters.returnPlace()
    }

    private func refuseToken(_ error: AuthenticationError, _ context: ChannelHandlerContext) {
        refuse(Refusal(.unauthorized, error.message, [("WWW-Authenticate", "Bearer")]), context)
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard (try? context.channel.syncOptions?.getOption(.autoRead)) == false else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    // MARK: The upgrade

    private func upgrade(
        _ handshake: Handshake, _ request: HandshakeRequest, _ identity: Identity, _ context: ChannelHandlerContext
    ) {
        state = .upgraded
        // Until the next handler is in place nobody reads; what has been read already waits in the decoder.
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        let counters = shared.counters
        context.channel.closeFuture.whenComplete { _ in counters.returnPlace() }
        counters.count(.upgraded)

        var identity = identity
        identity.subprotocol = handshake.subprotocol
        let admission = Admission(
            shared: shared, identity: identity, handshake: handshake, remoteAddress: request.remoteAddress)
        do {
            let pipeline = context.pipeline.syncOperations
            try pipeline.addHandler(admission, position: .after(self))
            // In this order: the decoder gives what it holds to the handler behind it, which then is not this one.
            let channel = context.channel
            _ = pipeline.removeHandler(self)
            pipeline.removeHandler(decoder).assumeIsolated().whenComplete { _ in admission.admit(channel) }
        } catch {
            context.close(promise: nil)
        }
    }
}

@available(*, unavailable)
extension FrontDoorHandler: Sendable {}
