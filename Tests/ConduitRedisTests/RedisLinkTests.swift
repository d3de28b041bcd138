import ConduitRedis
import ConduitTesting
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Testing

/// Commands against a real server.
@Suite(.timeLimit(.minutes(5))) struct RedisLinkTests {
    @Test func everyTypeOfAnswerArrives() async throws {
        let server = try await RedisServer.start()
        try await LinkProbe.withReady(RedisConfiguration(server)) { probe async throws in
            let binary = ByteBuffer(bytes: (0..<1000).map { UInt8(truncatingIfNeeded: $0) })
            #expect(try await probe.send("SET", "k", .buffer(binary)) == .simple("OK"))
            #expect(try await probe.send("GET", "k") == .bulk(binary))
            #expect(try await probe.send("GET", "none") == .null)
            #expect(try await probe.send("INCRBY", "n", -7) == .integer(-7))
            #expect(try await probe.send("RPUSH", "l", "a", "", "c") == .integer(3))
            #expect(try await probe.send("LRANGE", "l", 0, -1).array?.map(\.string) == ["a", "", "c"])
            #expect(try await probe.send("LRANGE", "none", 0, -1) == .array([]))
            let nested = try await probe.send("EVAL", "return {1,{'x',{2}},false,{err='E no'}}", 0)
            let inner = RedisValue.array([.bulk(ByteBuffer(string: "x")), .array([.integer(2)])])
            #expect(nested == .array([.integer(1), inner, .null, .error("E no")]))
            #expect(try await probe.ping() == .simple("PONG"))
        }
    }

    @Test func anErrorOfRedisFailsItsCommandOnly() async throws {
        let server = try await RedisServer.start()
        try await LinkProbe.withReady(RedisConfiguration(server)) { probe async throws in
            let error = await #expect(throws: RedisError.self) { try await probe.send("NOSUCH") }
            #expect(error?.code == .server)
            #expect(error?.serverPrefix == "ERR")
            #expect(try await probe.ping() == .simple("PONG"))
            #expect(probe.events.lost.isEmpty)
        }
    }

    @Test func tenThousandPipelinedAnswersComeInOrder() async throws {
        let server = try await RedisServer.start()
        try await LinkProbe.withReady(RedisConfiguration(server)) { probe async throws in
            let answers = NIOLockedValueBox<[Int64]>([])
            let count = 10_000
            try await probe.onLoop { link in
                for _ in 0..<count {
                    link.send(["INCR", "n"]) { result in
                        answers.withLockedValue { $0.append((try? result.get().integer) ?? -1) }
                    }
                }
                #expect(link.pendingReplies == count)
                #expect(link.pendingBytes > count)
            }
            try await eventually("all answers") { answers.withLockedValue { $0.count } == count }
            #expect(answers.withLockedValue { $0 } == Array(1...Int64(count)))
            try await eventually("nothing is owed") {
                try await probe.onLoop { $0.pendingReplies == 0 && $0.pendingBytes == 0 }
            }
        }
    }

    @Test func theServerSeesOurName() async throws {
        let server = try await RedisServer.start()
        var configuration = RedisConfiguration(server)
        configuration.clientName = "node 1\n"
        try await LinkProbe.withReady(configuration) { _ async throws in
            #expect(try await server.redisCLI("CLIENT", "LIST").contains("name=node-1-"))
        }
    }

    @Test func overTheLimitsNothingIsSent() async throws {
        let server = try await RedisServer.start()
        var configuration = RedisConfiguration(server)
        configuration.maxPendingReplies = 3
        configuration.maxPendingBytes = 1000
        try await LinkProbe.withReady(configuration) { probe async throws in
            let refusals = try await probe.onLoop { link in
                var refusals: [RedisError.Code] = []
                func count(_ result: Result<RedisValue, RedisError>) {
                    if case .failure(let error) = result { refusals.append(error.code) }
                }
                for _ in 0..<5 { link.send(["INCR", "n"], count) }
                return refusals
            }
            #expect(refusals == [.overloaded, .overloaded])
            try await eventually("the answers are there") { try await probe.onLoop { $0.pendingReplies == 0 } }
            #expect(try await probe.send("GET", "n").integer == 3)
            let byBytes = try await probe.onLoop { link in
                var refused: RedisError?
                link.send(["SET", "a", .string(String(repeating: "x", count: 2000))])
                link.send(["SET", "b", "y"]) { if case .failure(let error) = $0 { refused = error } }
                return refused
            }
            #expect(byBytes?.code == .overloaded)
            try await eventually("it was sent") { try await probe.onLoop { $0.pendingBytes == 0 } }
            #expect(try await probe.send("EXISTS", "a", "b") == .integer(1))
        }
    }

    @Test func eachRoleKeepsToItsCommands() async throws {
        let server = try await RedisServer.start()
        try await LinkProbe.withReady(RedisConfiguration(server)) { probe async throws in
            #expect(try await probe.onLoop { $0.subscribe(["a"])?.code } == .invalidCommand)
        }
        try await LinkProbe.withReady(RedisConfiguration(server), role: .subscriptions) { probe async throws in
            let error = await #expect(throws: RedisError.self) { try await probe.send("GET", "k") }
            #expect(error?.code == .invalidCommand)
        }
    }

    @Test func aCommandWithoutConnectionFailsAtOnce() async throws {
        let port = try await RedisServer.freePort()
        let probe = try await LinkProbe.start(RedisConfiguration(endpoint: .host("127.0.0.1", port: port)))
        let early = await #expect(throws: RedisError.self) { try await probe.send("PING") }
        #expect(early?.code == .notConnected)
        try await eventually("attempts go on") { probe.events.failed.count >= 3 }
        #expect(probe.events.failed.allSatisfy { $0.code == .connectFailed })
        let late = await #expect(throws: RedisError.self) { try await probe.send("PING") }
        #expect(late?.code == .notConnected)
        #expect(late?.underlying != nil)
        try await probe.close()
    }

    @Test func closingWaitsForTheAnswers() async throws {
        let server = try await RedisServer.start()
        let probe = try await LinkProbe.start(RedisConfiguration(server))
        try await probe.untilReady()
        let answers = NIOLockedValueBox(0)
        try await probe.onLoop { link in
            for _ in 0..<1000 {
                link.send(["INCR", "n"]) { if case .success = $0 { answers.withLockedValue { $0 += 1 } } }
            }
        }
        try await probe.close()
        #expect(answers.withLockedValue { $0 } == 1000)
        #expect(probe.events.lost.isEmpty)
        try await eventually("the server sees us go") {
            // The tool that asks is the one client left.
            try await server.redisCLI("INFO", "clients").contains("connected_clients:1\r\n")
        }
        let error = await #expect(throws: RedisError.self) { try await probe.send("PING") }
        #expect(error?.code == .notConnected)
        try await probe.close()
    }

    @Test func closingDoesNotWaitForEverForAPausedServer() async throws {
        let server = try await RedisServer.start()
        let probe = try await LinkProbe.start(RedisConfiguration(server))
        try await probe.untilReady()
        server.pause()
        async let answer = probe.send("PING")
        try await eventually("it was sent") { try await probe.onLoop { $0.pendingReplies == 1 } }
        try await probe.onLoop { link in link.close(timeout: .milliseconds(50)) }.get()
        do {
            Issue.record("a paused server answered \(try await answer)")
        } catch let error as RedisError {
            #expect(error.code == .connectionLost)
        }
        server.resume()
    }

    @Test func theClientForToolsConnectsOrThrows() async throws {
        let server = try await RedisServer.start(.init(password: "pw"))
        let configuration = try RedisConfiguration(url: server.url)
        let answer = try await RedisClient.withConnection(configuration) { client in
            try await client.send("SET", "k", "v")
            return try await client.send("GET", "k").string
        }
        #expect(answer == "v")
        var wrong = configuration
        wrong.password = "no"
        let error = await #expect(throws: RedisError.self) {
            try await RedisClient.withConnection(wrong) { _ = try await $0.send("PING") }
        }
        #expect(error?.code == .authentication)
        try await server.stop()
        let gone = await #expect(throws: RedisError.self) {
            try await RedisClient.withConnection(configuration) { _ = try await $0.send("PING") }
        }
        #expect(gone?.code == .connectFailed)
    }
}
