import ConduitRedis
import ConduitTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// A link on a loop of its own with everything it reported, seen from a test.
final class LinkProbe: Sendable {
    struct Message: Hashable {
        var channel: String
        var payload: ByteBuffer
    }

    struct Events {
        var ready = 0
        var lost: [RedisError] = []
        var failed: [RedisError] = []
        var messages: [Message] = []
        var subscribed: [String] = []
        var unsubscribed: [String] = []
        var refused: [([String], RedisError)] = []
    }

    private let link: NIOLoopBound<RedisLink>
    private let state: Recorder

    private final class Recorder: Sendable {
        let events = Mutex(Events())
    }

    var events: Events { state.events.withLock { $0 } }

    private init(link: NIOLoopBound<RedisLink>, state: Recorder) {
        self.link = link
        self.state = state
    }

    /// Starts a link; doesn't wait.
    static func start(
        _ configuration: RedisConfiguration, role: RedisLink.Role = .commands,
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) async throws -> LinkProbe {
        let state = Recorder()
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        return try await eventLoop.submit {
            let link = RedisLink(eventLoop: eventLoop, configuration: configuration, role: role, logger: logger)
            link.onReady = { state.events.withLock { $0.ready += 1 } }
            link.onLost = { error in state.events.withLock { $0.lost.append(error) } }
            link.onConnectFailed = { error in state.events.withLock { $0.failed.append(error) } }
            link.onMessage = { channel, payload in
                state.events.withLock {
                    $0.messages.append(Message(channel: String(buffer: channel), payload: payload))
                }
            }
            link.onSubscribed = { channel in state.events.withLock { $0.subscribed.append(String(buffer: channel)) } }
            link.onUnsubscribed = { channel in
                state.events.withLock { $0.unsubscribed.append(String(buffer: channel)) }
            }
            link.onSubscribeRefused = { channels, error in
                state.events.withLock { $0.refused.append((channels, error)) }
            }
            link.start()
            return LinkProbe(link: NIOLoopBound(link, eventLoop: eventLoop), state: state)
        }.get()
    }

    /// A link that is ready, for the time of `body`.
    static func withReady(
        _ configuration: RedisConfiguration, role: RedisLink.Role = .commands,
        _ body: (LinkProbe) async throws -> Void
    ) async throws {
        let probe = try await start(configuration, role: role)
        do {
            try await probe.untilReady()
            try await body(probe)
            try await probe.close()
        } catch {
            try? await probe.close()
            throw error
        }
    }

    func untilReady(_ times: Int = 1) async throws {
        try await eventually("the link is ready \(times) times; failures: \(self.events.failed)") {
            self.events.ready >= times
        }
    }

    func onLoop<Answer: Sendable>(_ body: @escaping @Sendable (RedisLink) throws -> Answer) async throws -> Answer {
        try await link.eventLoop.submit { try body(self.link.value) }.get()
    }

    @discardableResult
    func send(_ arguments: RedisArgument...) async throws -> RedisValue {
        let promise = link.eventLoop.makePromise(of: RedisValue.self)
        link.eventLoop.execute {
            self.link.value.send(arguments) { promise.completeWith($0.mapError { $0 as any Error }) }
        }
        return try await promise.futureResult.get()
    }

    func ping() async throws -> RedisValue {
        let promise = link.eventLoop.makePromise(of: RedisValue.self)
        link.eventLoop.execute {
            self.link.value.ping { promise.completeWith($0.mapError { $0 as any Error }) }
        }
        return try await promise.futureResult.get()
    }

    func close() async throws {
        try await link.eventLoop.flatSubmit { self.link.value.close() }.get()
    }
}

extension RedisConfiguration {
    /// Plain access to a server of a test, with quick retries.
    init(_ server: RedisServer) {
        self.init(endpoint: .host("127.0.0.1", port: server.port))
        password = server.options.password
        reconnectMin = .milliseconds(10)
        reconnectMax = .milliseconds(100)
    }
}
