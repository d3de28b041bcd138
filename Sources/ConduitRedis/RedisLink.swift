import ConduitTelemetry
package import Logging
package import NIOCore
import NIOSSL

/// One kept connection to Redis: it connects, introduces itself, pipelines, notices death and comes back.
///
/// Loop-bound: made, used and called back on its event loop only. It never queues while it is down; the owner
/// has the outbox. On every new connection ``onReady`` is called, and subscriptions are the owner's to renew.
/// Commands are written together, once per turn of the loop. It lives until ``close(timeout:)``.
package final class RedisLink {
    /// RESP2 has no pushes among answers, so a connection does one or the other.
    package enum Role: String, Sendable {
        case commands
        case subscriptions
    }

    /// Called once with the answer (an error that Redis sent is a failure of code `.server`).
    package typealias Completion = (Result<RedisValue, RedisError>) -> Void

    /// Most channels in one SUBSCRIBE or UNSUBSCRIBE.
    package static let channelsPerCommand = 512

    enum Waiting {
        case answer(Completion?)
        case published
        case pong(Completion?)
        case subscribe(channels: [String], missing: Int)
        case unsubscribe(channels: [String], missing: Int)
    }

    package let eventLoop: any EventLoop
    package let configuration: RedisConfiguration
    package let role: Role
    /// Whether its channels are those of a Cluster's shards: `SSUBSCRIBE` and `SPUBLISH`, one slot a command.
    package let isSharded: Bool
    /// Where its last attempt to connect went; `nil` before the first.
    package private(set) var endpoint: RedisConfiguration.Endpoint?

    /// A connection is up; called for every new one.
    package var onReady: (() -> Void)?
    /// A connection that was ready is gone, after all pending completions have failed. Not after ``close(timeout:)``.
    package var onLost: ((RedisError) -> Void)?
    /// An attempt to connect failed; another will follow.
    package var onConnectFailed: ((RedisError) -> Void)?
    /// The answers to ``publishInOrder(channel:payload:)``, in its order. Not called for those that a lost connection
    /// owes: ``onLost`` says that.
    package var onPublished: ((Result<RedisValue, RedisError>) -> Void)?
    /// The channel and the payload of a message. Of the role `.subscriptions`, as are the next three.
    package var onMessage: ((ByteBuffer, ByteBuffer) -> Void)?
    package var onSubscribed: ((ByteBuffer) -> Void)?
    package var onUnsubscribed: ((ByteBuffer) -> Void)?
    /// Redis refused one SUBSCRIBE with all of its channels, as an ACL does.
    package var onSubscribeRefused: (([String], RedisError) -> Void)?
    /// Channels that the server took away, as a Cluster does with those of a slot that moved.
    package var onChannelsLost: (([String]) -> Void)?
    /// All replies of one read have been handed out: a good moment to pass on what they brought.
    package var onReadComplete: (() -> Void)?

    /// Why there is no connection; `nil` while it is ready and before the first attempt ended.
    package private(set) var lastError: RedisError?
    /// Connections that became ready so far.
    package private(set) var connections = 0

    var machine: RedisLinkMachine
    var pending = RedisPendingReplies<Waiting>()
    var channel: (any Channel)?
    let logger: Logger
    var hasWarnedOfCluster = false
    private let locator: (any RedisLocator)?
    private var handler: RedisChannelHandler?
    private var tlsContext: NIOSSLContext?
    private var outbound = ByteBuffer()
    private var bytesInFlight = 0
    private var flushScheduled = false
    private var turn = NIODeadline.distantPast
    private var lastHeard = NIODeadline.distantPast
    private var attemptTimer: Scheduled<Void>?
    private var sweepTimer: Scheduled<Void>?
    private var closePromise: EventLoopPromise<Void>?

    package convenience init(
        eventLoop: any EventLoop, configuration: RedisConfiguration, role: Role, logger: Logger
    ) {
        self.init(eventLoop: eventLoop, configuration: configuration, role: role, locator: nil, logger: logger)
    }

    /// `locator`: says for each attempt where the server is; without one it is the configured endpoint.
    init(
        eventLoop: any EventLoop, configuration: RedisConfiguration, role: Role, isSharded: Bool = false,
        locator: (any RedisLocator)?, logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.isSharded = isSharded
        self.locator = locator
        self.configuration = configuration
        self.role = role
        self.machine = RedisLinkMachine(configuration)
        var logger = logger
        logger[metadataKey: LogKey.address] = locator == nil ? "\(configuration.endpoint)" : nil
        logger[metadataKey: LogKey.link] = "\(role.rawValue)"
        self.logger = logger
    }

    // MARK: State

    package var isReady: Bool { machine.phase == .ready }
    package var phase: RedisLinkMachine.Phase { machine.phase }
    /// Commands that wait for an answer.
    package var pendingReplies: Int { pending.count }
    /// Bytes that the socket has not taken yet.
    package var pendingBytes: Int { outbound.readableBytes + bytesInFlight }

    // MARK: Life

    /// Begins to connect, for as long as it takes.
    package func start() {
        eventLoop.preconditionInEventLoop()
        perform(machine.start())
    }

    /// Drops the connection, if there is one, and makes a new one.
    package func forceReconnect(reason: String) {
        eventLoop.preconditionInEventLoop()
        switch machine.phase {
        case .connecting, .handshaking, .ready:
            connectionEnded(attempt: machine.attempt, RedisError(.connectionLost, reason))
        case .idle, .waiting, .closing, .closed: break
        }
    }

    /// Goes to another server: at once where it is connected or on its way, with the next attempt where it waits.
    func move(to endpoint: RedisConfiguration.Endpoint, reason: String) {
        switch machine.phase {
        case .waiting: retryNow()
        case .connecting, .handshaking, .ready: if self.endpoint != endpoint { forceReconnect(reason: reason) }
        case .idle, .closing, .closed: break
        }
    }

    /// Makes the wait for the next attempt end.
    private func retryNow() {
        guard machine.phase == .waiting, let failed = endpoint, let locator else { return }
        // Only when there is something new to try: else the wait is there for a reason.
        locator.locate { result in
            guard self.machine.phase == .waiting, case .success(let endpoint) = result, endpoint != failed else {
                return
            }
            self.attemptTimer?.cancel()
            self.perform(self.machine.retry())
        }
    }

    /// Waits for owed answers, at most `timeout`, and closes for good. Callbacks cease; it can't start again.
    package func close(timeout: TimeAmount = .seconds(2)) -> EventLoopFuture<Void> {
        eventLoop.preconditionInEventLoop()
        let promise = closePromise ?? eventLoop.makePromise(of: Void.self)
        closePromise = promise
        switch machine.close(hasPendingReplies: role == .commands && !pending.isEmpty) {
        case .closeNow: finishClosing()
        case .none: break
        case .drain:
            flush()
            attemptTimer = eventLoop.assumeIsolated().scheduleTask(in: timeout) {
                if self.machine.drained() == .closeNow { self.finishClosing() }
            }
        }
        return promise.futureResult
    }

    private func finishClosing() {
        guard let channel else {
            release(RedisError(.notConnected, "the link was closed"))
            closed()
            return
        }
        let error = RedisError(.connectionLost, "the link was closed")
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.closed() }
        release(error)
    }

    private func closed() {
        guard let rest = locator?.released() else {
            closePromise?.succeed()
            return
        }
        rest.assumeIsolated().whenComplete { _ in self.closePromise?.succeed() }
    }

    private func perform(_ action: RedisLinkMachine.StartAction) {
        guard case .connect(let attempt) = action else { return }
        attemptTimer = eventLoop.assumeIsolated().scheduleTask(in: configuration.connectTimeout) {
            self.connectionEnded(attempt: attempt, RedisError(.timedOut, "Redis did not welcome us in time"))
        }
        do throws(RedisError) {
            if tlsContext == nil { tlsContext = try RedisConnector.makeTLSContext(configuration) }
        } catch {
            // Not at once: the owner's callbacks must not run inside start().
            eventLoop.assumeIsolated().execute { self.connectionEnded(attempt: attempt, error) }
            return
        }
        guard let locator else { return open(configuration.endpoint, attempt: attempt) }
        locator.locate { result in
            switch result {
            case .success(let endpoint): self.open(endpoint, attempt: attempt)
            case .failure(let error):
                self.eventLoop.assumeIsolated().execute { self.connectionEnded(attempt: attempt, error) }
            }
        }
    }

    private func open(_ endpoint: RedisConfiguration.Endpoint, attempt: Int) {
        // The place was found too late.
        guard machine.phase == .connecting, machine.attempt == attempt else { return }
        self.endpoint = endpoint
        logger.debug("connecting to Redis", metadata: [LogKey.address: "\(endpoint)"])
        RedisConnector.connect(to: endpoint, configuration, on: eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel, attempt: attempt)
            case .failure(let error):
                self.connectionEnded(attempt: attempt, RedisConnector.describe(error, whileConnecting: true))
            }
        }
    }

    private func connected(_ channel: any Channel, attempt: Int) {
        guard case .handshake(let steps) = machine.connected(attempt: attempt) else {
            channel.close(promise: nil)
            return
        }
        self.channel = channel
        do {
            let limits = RedisReplyReader.Limits(
                bytes: configuration.maxReplyBytes, elements: configuration.maxReplyElements)
            // The handshake has answers only, and one of them is an array.
            let reader = try RedisReplyReader(mode: .answers, limits: limits)
            let handler = RedisChannelHandler(reader: reader, attempt: attempt, link: self)
            self.handler = handler
            if let tlsContext, let endpoint {
                try channel.pipeline.syncOperations.addHandler(
                    RedisConnector.makeTLSHandler(tlsContext, configuration, for: endpoint))
            }
            try channel.pipeline.syncOperations.addHandler(handler)
        } catch {
            connectionEnded(attempt: attempt, RedisConnector.describe(error, whileConnecting: true))
            return
        }
        for step in steps { _ = RedisCommandFormatter.append(command(for: step), to: &outbound) }
        flush()
        channel.setOption(.autoRead, value: true).assumeIsolated().whenFailure { error in
            self.connectionEnded(attempt: attempt, RedisConnector.describe(error, whileConnecting: true))
        }
    }

    private func command(for step: RedisLinkMachine.HandshakeStep) -> [RedisArgument] {
        switch step {
        case .authenticate:
            ["AUTH"] + (configuration.username.map { [.string($0)] } ?? []) + [.string(configuration.password ?? "")]
        case .setName: ["CLIENT", "SETNAME", .string(Self.allowedName(configuration.clientName ?? ""))]
        case .checkRole: ["ROLE"]
        case .ping: ["PING"]
        }
    }

    /// Redis takes printable ASCII without spaces.
    private static func allowedName(_ name: String) -> String {
        String(decoding: name.utf8.map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "-") }, as: UTF8.self)
    }

    /// The one end of every attempt and every connection, whoever noticed it.
    func connectionEnded(attempt: Int, _ error: RedisError) {
        let action = machine.ended(
            attempt: attempt, error, now: .now(), random: Double.random(in: 0..<1))
        switch action {
        case .ignore: return
        case .closed:
            release(error)
            closed()
        case .retry(let delay, let wasReady, let warn):
            lastError = error
            logger.log(
                level: warn ? .warning : .debug,
                wasReady ? "Redis connection lost, reconnecting" : "no connection to Redis, trying again",
                metadata: [
                    LogKey.error: "\(error)", LogKey.milliseconds: "\(delay.nanoseconds / 1_000_000)",
                    LogKey.address: "\(endpoint ?? configuration.endpoint)",
                ])
            locator?.failed(error)
            release(error)
            if wasReady { onLost?(error) } else { onConnectFailed?(error) }
            // The owner may have closed the link just now.
            guard machine.phase == .waiting else { return }
            attemptTimer = eventLoop.assumeIsolated().scheduleTask(in: delay) { self.perform(self.machine.retry()) }
        }
    }

    /// Lets go of the connection and fails what waits for it, in order.
    private func release(_ error: RedisError) {
        attemptTimer?.cancel()
        attemptTimer = nil
        sweepTimer?.cancel()
        sweepTimer = nil
        handler?.detach()
        handler = nil
        let channel = channel
        self.channel = nil
        outbound = ByteBuffer()
        bytesInFlight = 0
        channel?.close(promise: nil)
        let lost = RedisError(.connectionLost, error.message, underlying: error.underlying)
        for waiting in pending.removeAll() {
            switch waiting {
            case .answer(let completion), .pong(let completion): completion?(.failure(lost))
            case .published, .subscribe, .unsubscribe: break
            }
        }
    }

    // MARK: Reading, called by the handler

    func heard() { lastHeard = .now() }

    func readComplete() { if machine.phase == .ready { onReadComplete?() } }

    func received(_ reply: RedisReply) {
        switch machine.phase {
        case .handshaking: handshake(reply)
        case .ready, .closing:
            if let error = role == .commands ? answer(reply) : push(reply) {
                connectionEnded(attempt: machine.attempt, error)
            } else if machine.phase == .closing, pending.isEmpty, machine.drained() == .closeNow {
                finishClosing()
            }
        case .idle, .waiting, .connecting, .closed: break
        }
    }

    private func handshake(_ reply: RedisReply) {
        guard case .value(let value) = reply else {
            connectionEnded(attempt: machine.attempt, RedisError(.protocolViolation, "a push before its time"))
            return
        }
        switch machine.handshakeReply(value, now: .now()) {
        case .wait: break
        case .fail(let error): connectionEnded(attempt: machine.attempt, error)
        case .ready:
            attemptTimer?.cancel()
            attemptTimer = nil
            lastError = nil
            if role == .subscriptions { handler?.expectPushes() }
            connections += 1
            logger.log(level: connections == 1 ? .debug : .info, "Redis connection ready")
            startSweeping()
            onReady?()
        }
    }

    // MARK: Writing

    /// Why nothing can be sent now; `nil` when it can.
    func refusal(for role: Role?) -> RedisError? {
        eventLoop.preconditionInEventLoop()
        if let role, role != self.role {
            return RedisError(.invalidCommand, "not a command for a connection for \(self.role.rawValue)")
        }
        guard machine.phase == .ready else {
            return lastError.map { RedisError(.notConnected, $0.message, underlying: $0.underlying) }
                ?? RedisError(.notConnected, "no connection to Redis yet")
        }
        if pending.count >= configuration.maxPendingReplies {
            return RedisError(.overloaded, "\(pending.count) commands wait for an answer")
        }
        if pendingBytes >= configuration.maxPendingBytes {
            return RedisError(.overloaded, "\(pendingBytes) bytes wait for the socket")
        }
        return nil
    }

    /// Appends one command with `write` and notes who waits for the answer.
    func enqueue(_ waiting: Waiting, _ write: (inout ByteBuffer) -> Bool) -> RedisError? {
        guard write(&outbound) else { return RedisError(.invalidCommand, "hiredis can't format the command") }
        if !flushScheduled {
            flushScheduled = true
            // One look at the clock and one flush a turn, however many commands.
            turn = .now()
            eventLoop.assumeIsolated().execute {
                self.flushScheduled = false
                self.flush()
            }
        }
        pending.append(waiting, sent: turn)
        return nil
    }

    private func flush() {
        guard let channel, outbound.readableBytes > 0 else { return }
        let bytes = outbound
        let attempt = machine.attempt
        outbound = channel.allocator.buffer(capacity: min(bytes.readableBytes, 16 << 10))
        bytesInFlight += bytes.readableBytes
        channel.writeAndFlush(bytes).assumeIsolated().whenComplete { _ in
            guard attempt == self.machine.attempt else { return }
            self.bytesInFlight = max(0, self.bytesInFlight - bytes.readableBytes)
        }
    }

    // MARK: Watching

    /// One timer for all commands: it notices answers that don't come and pings a silent connection.
    private func startSweeping() {
        lastHeard = .now()
        let shortest = min(configuration.commandTimeout, configuration.keepalive ?? configuration.commandTimeout)
        sweep(each: .nanoseconds(max(shortest.nanoseconds / 4, 5_000_000)))
    }

    private func sweep(each period: TimeAmount) {
        sweepTimer = eventLoop.assumeIsolated().scheduleTask(in: period) {
            self.sweep(each: period)
            self.sweep(now: .now())
        }
    }

    private func sweep(now: NIODeadline) {
        guard machine.phase == .ready || machine.phase == .closing else { return }
        if pending.isOverdue(now: now, lastHeard: lastHeard, timeout: configuration.commandTimeout) {
            connectionEnded(attempt: machine.attempt, RedisError(.timedOut, "Redis does not answer"))
        } else if let keepalive = configuration.keepalive, pending.isEmpty, now - lastHeard >= keepalive {
            ping()
        }
    }
}

@available(*, unavailable)
extension RedisLink: Sendable {}
