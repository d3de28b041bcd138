package import Logging
package import NIOCore
import NIOPosix
import Synchronization

/// Subscriptions for a while with `async` ease: command line tools and tests. The message path uses ``RedisTransport``.
///
/// It connects again and subscribes again by itself, and says so. Who reads slowly loses messages, which are counted.
package final class RedisListener: Sendable {
    package enum Event: Sendable {
        /// Redis confirmed a channel; again after each loss.
        case subscribed(String)
        /// Redis refuses these channels.
        case refused([String], RedisError)
        case message(channel: String, payload: ByteBuffer)
        /// What is said until the next ``subscribed(_:)`` isn't heard.
        case lost(RedisError)
    }

    /// Most bytes of messages that wait to be read.
    private static let mostBytes = 64 << 20
    /// Most events that wait to be read.
    private static let mostEvents = 65_536
    /// Of these, so many are not for messages: that Redis was away must be heard even by who reads slowly.
    private static let mostMessages = mostEvents - 64

    /// What happens, in order. To be read by one task, which hands each event to ``took(_:)``.
    package let events: AsyncStream<Event>
    private let queue: AsyncStream<Event>.Continuation
    private let waiting = Atomic(0)
    private let waitingMessages = Atomic(0)
    private let lostMessages = Atomic(0)

    private init() {
        (events, queue) = AsyncStream.makeStream(of: Event.self, bufferingPolicy: .bufferingOldest(Self.mostEvents))
    }

    /// Messages that nobody has read in time, since the last time that this was asked.
    package func takeDropped() -> Int { lostMessages.exchange(0, ordering: .relaxed) }

    /// An event was read: there is room for another one.
    package func took(_ event: Event) {
        guard case .message(_, let payload) = event else { return }
        waiting.subtract(payload.readableBytes, ordering: .relaxed)
        waitingMessages.subtract(1, ordering: .relaxed)
    }

    /// Nothing more will come.
    package func stop() { queue.finish() }

    private func put(_ event: Event) {
        guard case .message(_, let payload) = event else {
            queue.yield(event)
            return
        }
        let bytes = payload.readableBytes
        guard waiting.load(ordering: .relaxed) + bytes <= Self.mostBytes,
            waitingMessages.load(ordering: .relaxed) < Self.mostMessages
        else {
            lostMessages.add(1, ordering: .relaxed)
            return
        }
        waiting.add(bytes, ordering: .relaxed)
        waitingMessages.add(1, ordering: .relaxed)
        if case .dropped = queue.yield(event) {
            waiting.subtract(bytes, ordering: .relaxed)
            waitingMessages.subtract(1, ordering: .relaxed)
            lostMessages.add(1, ordering: .relaxed)
        }
    }

    /// Connects or throws, subscribes, runs `body`, and closes.
    package static func withSubscriptions<Answer>(
        _ configuration: RedisConfiguration, to channels: [String], logger: Logger = Logger(label: "conduit.redis"),
        _ body: (RedisListener) async throws -> Answer
    ) async throws -> Answer {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let ready = eventLoop.makePromise(of: Void.self)
        let listener = RedisListener()
        let transport = try await eventLoop.submit {
            var logger = logger
            // What happens is told as events.
            logger.logLevel = .critical
            let transport = configuration.makeSubscriptions(eventLoop: eventLoop, logger: logger)
            let bound = NIOLoopBound(transport, eventLoop: eventLoop)
            // The transport holds these, so they must not hold the transport.
            transport.onReady = { [weak transport] in
                transport?.subscribe(channels)
                ready.succeed()
            }
            transport.onConnectFailed = { ready.fail($0) }
            transport.onLost = { listener.put(.lost($0)) }
            transport.onSubscribed = { listener.put(.subscribed(String(buffer: $0))) }
            transport.onSubscribeRefused = { listener.put(.refused($0, $1)) }
            transport.onChannelsLost = { [weak transport] channels in
                listener.put(.lost(RedisError(.connectionLost, "the slot has moved")))
                transport?.subscribe(channels)
            }
            transport.onMessage = { listener.put(.message(channel: String(buffer: $0), payload: $1)) }
            transport.start()
            return bound
        }.get()
        func close() async {
            _ = try? await eventLoop.flatSubmit { transport.value.close(timeout: .seconds(1)) }.get()
            listener.queue.finish()
        }
        do {
            try await ready.futureResult.get()
            let answer = try await body(listener)
            await close()
            return answer
        } catch {
            await close()
            throw error
        }
    }
}
