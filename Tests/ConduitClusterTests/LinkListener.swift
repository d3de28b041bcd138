import ConduitRedis
import ConduitTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Writes down what a channel of Redis carries.
final class LinkListener: Sendable {
    private let state = Mutex<[ByteBuffer]>([])
    private let link: NIOLoopBound<RedisLink>

    var payloads: [ByteBuffer] { state.withLock { $0 } }

    private init(_ link: NIOLoopBound<RedisLink>) { self.link = link }

    static func listen(_ configuration: RedisConfiguration, to channel: String) async throws -> LinkListener {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let confirmed = eventLoop.makePromise(of: Void.self)
        let listener = try await eventLoop.submit {
            let link = RedisLink(
                eventLoop: eventLoop, configuration: configuration, role: .subscriptions,
                logger: Logger(label: "listener"))
            let listener = LinkListener(NIOLoopBound(link, eventLoop: eventLoop))
            link.onReady = { [weak link] in link?.subscribe([channel]) }
            link.onSubscribed = { _ in confirmed.succeed() }
            link.onMessage = { _, payload in listener.state.withLock { $0.append(payload) } }
            link.start()
            return listener
        }.get()
        try await confirmed.futureResult.get()
        return listener
    }

    func close() {
        link.eventLoop.execute { [link] in _ = link.value.close() }
    }
}
