package import NIOCore

/// The life of one kept connection: events in, actions out; no I/O, no clock, no luck of its own.
///
/// idle → connecting → handshaking → ready → (lost) waiting → connecting …, and closing → closed from
/// anywhere. Each attempt has a number, so that what a former connection still reports is ignored.
package struct RedisLinkMachine {
    /// The commands of the handshake, sent together and answered in this order.
    package enum HandshakeStep: Hashable, Sendable {
        case authenticate
        case setName
        /// The server must be a master.
        case checkRole
        case ping
    }

    package enum Phase: Hashable, Sendable {
        case idle
        case waiting
        case connecting
        case handshaking
        case ready
        case closing
        case closed
    }

    package enum StartAction: Hashable, Sendable {
        case connect(attempt: Int)
        case none
    }

    package enum ConnectedAction: Hashable, Sendable {
        case handshake([HandshakeStep])
        /// The connection came too late; close it.
        case discard
    }

    package enum HandshakeAction: Hashable, Sendable {
        case wait
        case ready
        case fail(RedisError)
    }

    package enum EndAction: Hashable, Sendable {
        /// Connect again after `delay`. `wasReady`: the owner had it and must know. `warn`: operators must, too.
        case retry(after: TimeAmount, wasReady: Bool, warn: Bool)
        case closed
        /// About a connection that is not ours any more.
        case ignore
    }

    package enum CloseAction: Hashable, Sendable {
        /// Answers are owed: wait for them first.
        case drain
        case closeNow
        case none
    }

    private enum State {
        case idle
        case waiting
        case connecting
        case handshaking(rest: ArraySlice<HandshakeStep>)
        case ready(since: NIODeadline)
        case closing
        case closed
    }

    private let steps: [HandshakeStep]
    private let reconnectMin: TimeAmount
    private let reconnectMax: TimeAmount
    private let authenticationRetry: TimeAmount
    private var state = State.idle
    /// Failed attempts since the connection last was stable.
    private var failures = 0
    private var warned: [RedisError.Code: NIODeadline] = [:]
    /// Number of the attempt under way or of the connection that is up.
    package private(set) var attempt = 0

    package init(_ configuration: RedisConfiguration) {
        var steps: [HandshakeStep] = []
        if configuration.password != nil { steps.append(.authenticate) }
        if configuration.clientName != nil { steps.append(.setName) }
        if case .sentinel = configuration.topology { steps.append(.checkRole) }
        self.steps = steps + [.ping]
        self.reconnectMin = configuration.reconnectMin
        self.reconnectMax = max(configuration.reconnectMin, configuration.reconnectMax)
        self.authenticationRetry = configuration.authenticationRetry
    }

    /// Whether only a master will do.
    var checksRole: Bool { steps.contains(.checkRole) }

    package var phase: Phase {
        switch state {
        case .idle: .idle
        case .waiting: .waiting
        case .connecting: .connecting
        case .handshaking: .handshaking
        case .ready: .ready
        case .closing: .closing
        case .closed: .closed
        }
    }

    package mutating func start() -> StartAction {
        guard case .idle = state else { return .none }
        return connect()
    }

    /// The wait is over.
    package mutating func retry() -> StartAction {
        guard case .waiting = state else { return .none }
        return connect()
    }

    package mutating func connected(attempt: Int) -> ConnectedAction {
        guard case .connecting = state, attempt == self.attempt else { return .discard }
        state = .handshaking(rest: steps[...])
        return .handshake(steps)
    }

    /// An answer while the handshake is under way.
    package mutating func handshakeReply(_ value: RedisValue, now: NIODeadline) -> HandshakeAction {
        guard case .handshaking(var rest) = state, let step = rest.popFirst() else {
            return .fail(RedisError(.protocolViolation, "Redis answered what nobody asked"))
        }
        if let error = Self.judge(value, of: step) { return .fail(error) }
        guard rest.isEmpty else {
            state = .handshaking(rest: rest)
            return .wait
        }
        state = .ready(since: now)
        warned = [:]
        return .ready
    }

    /// The attempt failed or the connection is gone. `random` is in 0..<1.
    package mutating func ended(
        attempt: Int, _ error: RedisError, now: NIODeadline, random: Double
    ) -> EndAction {
        guard attempt == self.attempt else { return .ignore }
        var wasReady = false
        switch state {
        case .idle, .waiting, .closed: return .ignore
        case .closing:
            state = .closed
            return .closed
        case .connecting, .handshaking: break
        case .ready(let since):
            wasReady = true
            // One that broke at once counts as a failure, so that flapping slows down.
            if now - since >= reconnectMax { failures = 0 }
        }
        state = .waiting
        let delay = delay(after: error.code, random: random)
        failures += 1
        return .retry(after: delay, wasReady: wasReady, warn: shouldWarn(error.code, now: now))
    }

    package mutating func close(hasPendingReplies: Bool) -> CloseAction {
        switch state {
        case .closing, .closed: return .none
        case .ready where hasPendingReplies:
            state = .closing
            return .drain
        case .idle, .waiting, .connecting, .handshaking, .ready:
            state = .closed
            return .closeNow
        }
    }

    /// All owed answers came, or the time for them is over.
    package mutating func drained() -> CloseAction {
        guard case .closing = state else { return .none }
        state = .closed
        return .closeNow
    }

    private mutating func connect() -> StartAction {
        attempt += 1
        state = .connecting
        return .connect(attempt: attempt)
    }

    /// Full jitter: anything from nothing to a bound that doubles with every failure.
    private func delay(after code: RedisError.Code, random: Double) -> TimeAmount {
        let random = min(max(random, 0), 1)
        if code == .authentication {
            return .nanoseconds(Int64(Double(authenticationRetry.nanoseconds) * (1 + random)))
        }
        let doubled = Double(reconnectMin.nanoseconds) * Double(1 << min(failures, 30))
        return .nanoseconds(Int64(min(doubled, Double(reconnectMax.nanoseconds)) * random))
    }

    /// Once per kind of trouble until the connection is up again; a refused password again each 30 s.
    private mutating func shouldWarn(_ code: RedisError.Code, now: NIODeadline) -> Bool {
        if let last = warned[code] {
            guard code == .authentication, now - last >= .seconds(30) else { return false }
        }
        warned[code] = now
        return true
    }

    private static func judge(_ value: RedisValue, of step: HandshakeStep) -> RedisError? {
        switch (step, value) {
        case (.authenticate, .simple("OK")), (.setName, .simple("OK")), (.ping, .simple("PONG")):
            nil
        case (_, .error(let text)) where text.hasPrefix("NOAUTH") || text.hasPrefix("WRONGPASS"):
            RedisError(.authentication, text)
        case (_, .error(let text)) where isBusy(text):
            RedisError(.server, text)
        case (.authenticate, .error(let text)):
            RedisError(.authentication, text)
        case (.setName, .error):
            // An ACL may forbid it; a name is a nicety.
            nil
        case (.ping, .error(let text)), (.checkRole, .error(let text)):
            RedisError(.server, text)
        case (.checkRole, .array(let words)):
            words.first?.string == "master"
                ? nil : RedisError(.connectFailed, "this Redis is a replica; the master is wanted")
        default:
            RedisError(.protocolViolation, "the answer to the handshake is not Redis's")
        }
    }

    /// Refusals that have nothing to do with the password, although they may come in its place.
    private static func isBusy(_ text: String) -> Bool {
        text.hasPrefix("LOADING") || text.hasPrefix("MASTERDOWN") || text.hasPrefix("DENIED")
            || text.contains("max number of clients")
    }
}
