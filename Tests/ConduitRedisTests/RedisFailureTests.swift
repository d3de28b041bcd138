import ConduitRedis
import ConduitTesting
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// What a link does when Redis dies, hangs, lies or talks too much.
@Suite(.timeLimit(.minutes(5))) struct RedisFailureTests {
    @Test func aKilledServerIsNoticedAndTheLinkComesBack() async throws {
        let server = try await RedisServer.start()
        let log = CapturingLog()
        let probe = try await LinkProbe.start(RedisConfiguration(server), role: .subscriptions, logger: log.logger)
        try await probe.untilReady()
        try await probe.onLoop { _ = $0.subscribe(["a"]) }
        try await eventually("confirmed") { probe.events.subscribed == ["a"] }
        try await server.kill()
        try await eventually("lost") { probe.events.lost.count == 1 }
        #expect(try await probe.onLoop { !$0.isReady && $0.lastError != nil })
        try await eventually("several attempts") { probe.events.failed.count >= 5 }
        // One line for the loss, one for the refusals.
        #expect(log.lines.filter { $0.level >= .warning }.count == 2)
        try await server.restart()
        try await probe.untilReady(2)
        #expect(try await probe.onLoop { $0.lastError == nil && $0.connections == 2 })
        try await probe.onLoop { _ = $0.subscribe(["a"]) }
        try await eventually("confirmed again") { probe.events.subscribed == ["a", "a"] }
        try await server.redisCLI("PUBLISH", "a", "hello")
        try await eventually("the message") { probe.events.messages.map(\.channel) == ["a"] }
        try await probe.close()
    }

    @Test func aServerThatStopsAnsweringIsDeadAfterTheTimeout() async throws {
        let server = try await RedisServer.start()
        var configuration = RedisConfiguration(server)
        configuration.commandTimeout = .milliseconds(300)
        configuration.connectTimeout = .seconds(2)
        let probe = try await LinkProbe.start(configuration)
        try await probe.untilReady()
        server.pause()
        let order = Mutex<[Int]>([])
        let errors = Mutex<[RedisError.Code]>([])
        try await probe.onLoop { link in
            for index in 0..<100 {
                link.send(["INCR", "n"]) { result in
                    order.withLock { $0.append(index) }
                    if case .failure(let error) = result { errors.withLock { $0.append(error.code) } }
                }
            }
        }
        try await eventually("lost") { probe.events.lost.count == 1 }
        #expect(probe.events.lost.first?.code == .timedOut)
        #expect(order.withLock { $0 } == Array(0..<100))
        #expect(errors.withLock { $0 } == Array(repeating: .connectionLost, count: 100))
        // The kernel accepts for the paused server, but nobody welcomes us.
        try await eventually("an attempt timed out") { probe.events.failed.contains { $0.code == .timedOut } }
        server.resume()
        try await probe.untilReady(2)
        #expect(try await probe.ping() == .simple("PONG"))
        try await probe.close()
    }

    @Test(arguments: [RedisLink.Role.commands, .subscriptions])
    func aSilentConnectionIsPingedAndFoundDead(role: RedisLink.Role) async throws {
        let server = try await RedisServer.start()
        var configuration = RedisConfiguration(server)
        configuration.keepalive = .milliseconds(100)
        configuration.commandTimeout = .seconds(2)
        configuration.connectTimeout = .seconds(2)
        let probe = try await LinkProbe.start(configuration, role: role)
        try await probe.untilReady()
        try await eventually("it is pinged") {
            try await server.redisCLI("INFO", "commandstats").split(whereSeparator: \.isNewline).contains {
                $0.hasPrefix("cmdstat_ping:calls=") && !$0.hasPrefix("cmdstat_ping:calls=1,")
            }
        }
        #expect(probe.events.lost.isEmpty)
        server.pause()
        try await eventually("lost without a command of ours") { probe.events.lost.first?.code == .timedOut }
        server.resume()
        try await probe.untilReady(2)
        try await probe.close()
    }

    @Test func aConnectionThatRedisKillsIsReplaced() async throws {
        let server = try await RedisServer.start()
        let probe = try await LinkProbe.start(RedisConfiguration(server))
        for round in 1...3 {
            try await probe.untilReady(round)
            _ = try? await server.redisCLI("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            try await eventually("lost \(round) times") { probe.events.lost.count == round }
            #expect(probe.events.lost.last?.code == .connectionLost)
        }
        try await probe.untilReady(4)
        #expect(try await probe.ping() == .simple("PONG"))
        try await probe.close()
    }

    @Test func aReplyOverTheLimitEndsTheConnectionAndTheNextWorks() async throws {
        let server = try await RedisServer.start()
        var configuration = RedisConfiguration(server)
        configuration.maxReplyBytes = 1 << 20
        let probe = try await LinkProbe.start(configuration)
        try await probe.untilReady()
        try await probe.send("SETRANGE", "big", 1_048_576, "x")
        let error = await #expect(throws: RedisError.self) { try await probe.send("GET", "big") }
        #expect(error?.code == .connectionLost)
        try await probe.untilReady(2)
        #expect(probe.events.lost.map(\.code) == [.protocolViolation])
        try await probe.send("SETRANGE", "fits", 1_048_575, "x")
        #expect(try await probe.send("GET", "fits").bytes?.readableBytes == 1 << 20)
        try await probe.close()
    }

    @Test func forcingANewConnectionGivesOne() async throws {
        let server = try await RedisServer.start()
        let probe = try await LinkProbe.start(RedisConfiguration(server))
        try await probe.untilReady()
        try await probe.onLoop { $0.forceReconnect(reason: "the service ping did not come back") }
        try await probe.untilReady(2)
        #expect(probe.events.lost.map(\.message) == ["the service ping did not come back"])
        try await probe.close()
        try await probe.onLoop { $0.forceReconnect(reason: "too late") }
        #expect(probe.events.ready == 2)
    }

    @Test(arguments: ["redis://127.0.0.1:PORT", "redis+cluster://127.0.0.1:PORT", "redis+sentinel://127.0.0.1:PORT/m"])
    func aLinkThatIsClosedBeforeRedisWelcomesItIsLetGo(url: String) async throws {
        let peer = try await ScriptedPeer.start(greeting: "", answer: "")
        let configuration = try RedisConfiguration(url: url.replacing("PORT", with: "\(peer.port)"))
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let link = try await eventLoop.submit {
            let link = configuration.makeCommands(
                eventLoop: eventLoop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            link.start()
            return NIOLoopBoundBox<(any RedisTransport)?>(link, eventLoop: eventLoop)
        }.get()
        try await eventually("a connection") { peer.counts.accepted >= 1 }
        let rest = try await eventLoop.submit {
            let rest = NIOLoopBoundBox(WeakLink(link.value), eventLoop: eventLoop)
            _ = link.value?.close(timeout: .zero)
            link.value = nil
            return rest
        }.get()
        try await eventually("nobody holds it", within: .seconds(20)) {
            try await eventLoop.submit { rest.value.link == nil }.get()
        }
        try await peer.stop()
    }

    @Test(arguments: ["redis://127.0.0.1:PORT", "redis+cluster://127.0.0.1:PORT", "redis+sentinel://127.0.0.1:PORT/m"])
    func whoeverIsCancelledBeforeRedisWelcomesItLeavesNothingBehind(url: String) async throws {
        let peer = try await ScriptedPeer.start(greeting: "", answer: "")
        let configuration = try RedisConfiguration(url: url.replacing("PORT", with: "\(peer.port)"))
        for number in 1...5 {
            let asking = Task { try await RedisClient.withConnection(configuration) { _ in } }
            try await eventually("a connection") { peer.counts.accepted >= number }
            asking.cancel()
            await #expect(throws: CancellationError.self) { try await asking.value }
            try await eventually("its end") { peer.counts.open == 0 }
        }
        try await peer.stop()
    }

    @Test func aClusterThatIsLetGoAnswersWhatItOwes() async throws {
        let redis = try await RedisCluster.start()
        let configuration = try RedisConfiguration(url: redis.url)
        let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let ready = eventLoop.makePromise(of: Void.self)
        let answered = eventLoop.makePromise(of: Result<RedisValue, RedisError>.self)
        let link = try await eventLoop.submit {
            let link = configuration.makeCommands(
                eventLoop: eventLoop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            link.onReady = { ready.succeed() }
            link.start()
            return NIOLoopBoundBox<(any RedisTransport)?>(link, eventLoop: eventLoop)
        }.get()
        try await ready.futureResult.get()
        for master in redis.masters { master.server.pause() }
        eventLoop.execute {
            link.value?.send(["GET", "k"]) { answered.succeed($0) }
            _ = link.value?.close(timeout: .zero)
            link.value = nil
        }
        let answer = try await answered.futureResult.get()
        for master in redis.masters { master.server.resume() }
        #expect(throws: RedisError.self) { try answer.get() }
    }

    @Test func afterClosingNothingIsReportedAndNothingConnects() async throws {
        let server = try await RedisServer.start()
        let probe = try await LinkProbe.start(RedisConfiguration(server))
        try await probe.untilReady()
        try await probe.close()
        try await server.stop()
        try await server.restart()
        // The tool that asks is the one client.
        #expect(try await server.redisCLI("INFO", "clients").contains("connected_clients:1\r\n"))
        #expect(probe.events.ready == 1)
        #expect(probe.events.lost.isEmpty)
        #expect(probe.events.failed.isEmpty)
        #expect(try await probe.onLoop { $0.phase } == .closed)
    }

    /// Peers that are no Redis, or a mad one: greeting, and answer to whatever comes first.
    @Test(arguments: [
        ("", "HTTP/1.1 400 Bad Request\r\n\r\n", RedisError.Code.protocolViolation),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "", .protocolViolation),
        ("-ERR max number of clients reached\r\n", "", .server),
        ("", "-LOADING Redis is loading the dataset in memory\r\n", .server),
        ("", "*1\r\n$4\r\nPONG\r\n", .protocolViolation),
        ("", ":1\r\n", .protocolViolation),
        ("", "", .timedOut),
    ])
    func aStrangePeerIsAFailedAttempt(greeting: String, answer: String, code: RedisError.Code) async throws {
        let peer = try await ScriptedPeer.start(greeting: greeting, answer: answer)
        var configuration = RedisConfiguration(endpoint: .host("127.0.0.1", port: peer.port))
        configuration.connectTimeout = .seconds(2)
        let probe = try await LinkProbe.start(configuration)
        try await eventually("two attempts") { probe.events.failed.count >= 2 }
        #expect(probe.events.failed.first?.code == code)
        #expect(probe.events.ready == 0)
        try await probe.close()
        try await peer.stop()
    }

    /// A peer that welcomes us and then misbehaves.
    @Test(arguments: [
        (RedisLink.Role.commands, ":1\r\n"), (.commands, "$99999999999999\r\n"), (.commands, "\0\0\0\0"),
        (.commands, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (.subscriptions, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
        (.subscriptions, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n"),
        (.subscriptions, "+OK\r\n"), (.subscriptions, "*3\r\n$8\r\npmessage\r\n"),
    ])
    func anUnaskedAnswerEndsTheConnection(role: RedisLink.Role, evil: String) async throws {
        let peer = try await ScriptedPeer.start(greeting: "", answer: "+PONG\r\n" + evil)
        let probe = try await LinkProbe.start(
            RedisConfiguration(endpoint: .host("127.0.0.1", port: peer.port)), role: role)
        try await eventually("lost twice") { probe.events.lost.count >= 2 }
        #expect(probe.events.lost.allSatisfy { $0.code == .protocolViolation })
        #expect(probe.events.messages.isEmpty)
        #expect(probe.events.subscribed.isEmpty)
        try await probe.close()
        try await peer.stop()
    }
}

private struct WeakLink {
    weak var link: (any RedisTransport)?
    init(_ link: (any RedisTransport)?) { self.link = link }
}

/// A listener that says `greeting` to everyone and `answer` to the first bytes of everyone.
private struct ScriptedPeer: Sendable {
    struct Counts {
        var accepted = 0
        var open = 0
    }

    private final class Registry: Sendable {
        let counts = Mutex(Counts())
    }

    private let channel: any Channel
    private let registry: Registry
    var counts: Counts { registry.counts.withLock { $0 } }
    var port: Int { channel.localAddress?.port ?? 0 }

    static func start(greeting: String, answer: String) async throws -> ScriptedPeer {
        let registry = Registry()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                registry.counts.withLock {
                    $0.accepted += 1
                    $0.open += 1
                }
                channel.closeFuture.whenComplete { _ in registry.counts.withLock { $0.open -= 1 } }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Speaker(greeting: greeting, answer: answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return ScriptedPeer(channel: channel, registry: registry)
    }

    func stop() async throws { try await channel.close().get() }

    private final class Speaker: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let greeting: String
        private var answer: String?

        init(greeting: String, answer: String) {
            self.greeting = greeting
            self.answer = answer
        }

        func channelActive(context: ChannelHandlerContext) { say(greeting, context) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            say(answer ?? "", context)
            answer = nil
        }

        private func say(_ text: String, _ context: ChannelHandlerContext) {
            guard !text.isEmpty else { return }
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
        }
    }
}
