package import Logging
import NIOCore
import NIOPosix

/// A connection for a few commands with `async` ease: operators' requests, command line tools and tests. The message path
/// uses ``RedisTransport``.
///
/// Whoever is cancelled while it waits gets a `CancellationError` at once, however silent Redis is.
package struct RedisClient: Sendable {
    private let link: NIOLoopBound<any RedisTransport>
    /// The command that publishes what nodes hear: `PUBLISH`, or `SPUBLISH` in a Cluster.
    package let publishWord: String

    /// Connects or throws (it does not try again), runs `body`, and closes. After an error the end of the connection isn't
    /// waited for: with a Redis that hangs it may take seconds.
    package static func withConnection<Answer>(
        _ configuration: RedisConfiguration, logger: Logger = Logger(label: "conduit.redis"),
        _ body: (RedisClient) async throws -> Answer
    ) async throws -> Answer {
        let client = try await connect(configuration, logger: logger)
        do {
            let answer = try await body(client)
            await client.close()
            return answer
        } catch {
            client.abandon()
            throw error
        }
    }

    private static func connect(_ configuration: RedisConfiguration, logger: Logger) async throws -> RedisClient {
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let ready = eventLoop.makePromise(of: Void.self)
        let client = try await eventLoop.submit {
            var logger = logger
            // The error is thrown; a log line would say it twice.
            logger.logLevel = .critical
            let link = configuration.makeCommands(eventLoop: eventLoop, logger: logger)
            link.onReady = { ready.succeed() }
            link.onConnectFailed = { ready.fail($0) }
            link.start()
            return RedisClient(link: NIOLoopBound(link, eventLoop: eventLoop), publishWord: link.publishWord)
        }.get()
        do {
            try await ready.futureResult.getUnlessCancelled()
        } catch {
            client.abandon()
            // Whoever closes a link before it is ready hears nothing of it any more.
            ready.fail(error)
            throw error
        }
        return client
    }

    /// Sends one command and waits for the answer; an error of Redis is thrown with code `.server`.
    @discardableResult
    package func send(_ arguments: RedisArgument...) async throws -> RedisValue {
        try await send(arguments)
    }

    /// As ``send(_:)-(RedisArgument...)``.
    @discardableResult
    package func send(_ arguments: [RedisArgument]) async throws -> RedisValue {
        let promise = link.eventLoop.makePromise(of: RedisValue.self)
        link.eventLoop.execute {
            link.value.send(arguments) { promise.completeWith($0.mapError { $0 as any Error }) }
        }
        return try await promise.futureResult.getUnlessCancelled()
    }

    /// Sends many commands at once and waits for all their answers, in the order of the commands: one round trip. The
    /// first error of any of them is thrown.
    package func pipeline(_ commands: [[RedisArgument]]) async throws -> [RedisValue] {
        try await answers(commands).map { try $0.get() }
    }

    /// As ``pipeline(_:)``, each answer or error by itself.
    package func answers(_ commands: [[RedisArgument]]) async throws -> [Result<RedisValue, RedisError>] {
        guard !commands.isEmpty else { return [] }
        let promise = link.eventLoop.makePromise(of: [Result<RedisValue, RedisError>].self)
        link.eventLoop.execute {
            let gathered = GatheredAnswers(count: commands.count, promise: promise)
            for (index, command) in commands.enumerated() {
                link.value.send(command) { gathered.take($0, at: index) }
            }
        }
        return try await promise.futureResult.getUnlessCancelled()
    }

    private func close() async {
        _ = try? await link.eventLoop.flatSubmit { link.value.close(timeout: .seconds(2)) }.getUnlessCancelled()
    }

    private func abandon() {
        link.eventLoop.execute { _ = link.value.close(timeout: .zero) }
    }
}

/// The answers to a pipeline until they are complete. Loop-bound: made and filled on the link's loop.
private final class GatheredAnswers {
    private var answers: [Result<RedisValue, RedisError>]
    private var missing: Int
    private let promise: EventLoopPromise<[Result<RedisValue, RedisError>]>

    init(count: Int, promise: EventLoopPromise<[Result<RedisValue, RedisError>]>) {
        answers = Array(repeating: .success(.null), count: count)
        missing = count
        self.promise = promise
    }

    func take(_ answer: Result<RedisValue, RedisError>, at index: Int) {
        answers[index] = answer
        missing -= 1
        if missing == 0 { promise.succeed(answers) }
    }
}

@available(*, unavailable) extension GatheredAnswers: Sendable {}
