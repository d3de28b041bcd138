import ConduitRedis
import ConduitTesting
import NIOCore
import Synchronization
import Testing

/// Publish and subscribe against a real server.
@Suite(.timeLimit(.minutes(5))) struct RedisSubscriptionTests {
    @Test func aThousandChannelsWithBinaryPayloads() async throws {
        let server = try await RedisServer.start()
        let channels = (0..<1000).map { "conduit:room:{r\($0)}" }
        try await LinkProbe.withReady(RedisConfiguration(server), role: .subscriptions) { subscriber async throws in
            try await LinkProbe.withReady(RedisConfiguration(server)) { publisher async throws in
                #expect(try await subscriber.onLoop { $0.subscribe(channels) } == nil)
                try await eventually("all are confirmed") { subscriber.events.subscribed.count == channels.count }
                #expect(subscriber.events.subscribed == channels)

                var random = SeededGenerator(seed: 7)
                let sent = channels.map { channel in
                    let size = Int.random(in: 0...3000, using: &random)
                    let bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
                    return LinkProbe.Message(channel: channel, payload: ByteBuffer(bytes: bytes))
                }
                let receivers = Mutex<[Int64]>([])
                try await publisher.onLoop { link in
                    for message in sent {
                        link.publish(channel: ByteBuffer(string: message.channel), payload: message.payload) { result in
                            receivers.withLock { $0.append((try? result.get().integer) ?? -1) }
                        }
                    }
                }
                try await eventually("all messages") { subscriber.events.messages.count >= sent.count }
                #expect(subscriber.events.messages == sent)
                try await eventually("all answers") { receivers.withLock { $0.count } == sent.count }
                #expect(receivers.withLock { $0 } == Array(repeating: 1, count: sent.count))

                try await subscriber.onLoop { _ = $0.unsubscribe(channels) }
                try await eventually("all are gone") { subscriber.events.unsubscribed.count == channels.count }
                #expect(try await publisher.send("PUBLISH", .string(channels[0]), "x") == .integer(0))
                #expect(try await subscriber.onLoop { $0.pendingReplies } == 0)
            }
        }
    }

    @Test func answersOfPublishesComeInOrderAmongOthers() async throws {
        let server = try await RedisServer.start(.init(users: ["pub on >pw resetchannels &ok +@all"]))
        var configuration = RedisConfiguration(server)
        configuration.username = "pub"
        configuration.password = "pw"
        let answers = Mutex<[String]>([])
        try await LinkProbe.withReady(configuration) { probe async throws in
            try await probe.onLoop { link in
                link.onPublished = { result in
                    answers.withLock {
                        switch result {
                        case .success(let value): $0.append("published \(value.integer ?? -1)")
                        case .failure(let error): $0.append("refused \(error.code)")
                        }
                    }
                }
                let payload = ByteBuffer(string: "x")
                for channel in ["ok", "forbidden", "ok"] {
                    #expect(link.publishInOrder(channel: ByteBuffer(string: channel), payload: payload) == nil)
                    link.send(["ECHO", "\(channel)"]) { result in
                        answers.withLock { $0.append("echo \((try? result.get().string) ?? "?")") }
                    }
                }
            }
            try await eventually("all answers") { answers.withLock { $0.count } == 6 }
            let expected = ["published 0", "echo ok", "refused server", "echo forbidden", "published 0", "echo ok"]
            #expect(answers.withLock { $0 } == expected)
            #expect(try await probe.onLoop { $0.pendingReplies } == 0)
        }
        // A link of the other role, and one that is closed, take none.
        let probe = try await LinkProbe.start(RedisConfiguration(server), role: .subscriptions)
        let refusal = try await probe.onLoop { $0.publishInOrder(channel: ByteBuffer(), payload: ByteBuffer()) }
        #expect(refusal?.code == .invalidCommand)
        try await probe.close()
        #expect(answers.withLock { $0.count } == 6)
    }

    @Test func pingWorksBeforeAmidAndAfterSubscriptions() async throws {
        let server = try await RedisServer.start()
        try await LinkProbe.withReady(RedisConfiguration(server), role: .subscriptions) { probe async throws in
            #expect(try await probe.ping() == .simple("PONG"))
            try await probe.onLoop { _ = $0.subscribe(["a", "b"]) }
            #expect(try await probe.ping().array?.first?.string == "pong")
            #expect(probe.events.subscribed == ["a", "b"])
            try await probe.onLoop { _ = $0.unsubscribe(["a", "b", "never"]) }
            _ = try await probe.ping()
            #expect(probe.events.unsubscribed == ["a", "b", "never"])
            #expect(probe.events.lost.isEmpty)
        }
    }

    @Test func aSubscriptionThatTheACLForbidsIsReportedAndNothingElseSuffers() async throws {
        let server = try await RedisServer.start(.init(users: ["sub on >pw resetchannels &ok:* +@all"]))
        var configuration = RedisConfiguration(server)
        configuration.username = "sub"
        configuration.password = "pw"
        try await LinkProbe.withReady(configuration, role: .subscriptions) { probe async throws in
            try await probe.onLoop { link in
                _ = link.subscribe(["ok:1"])
                _ = link.subscribe(["ok:2", "no:1"])
                _ = link.subscribe(["ok:3"])
            }
            try await eventually("two are confirmed") { probe.events.subscribed == ["ok:1", "ok:3"] }
            #expect(probe.events.refused.map(\.0) == [["ok:2", "no:1"]])
            #expect(probe.events.refused.first?.1.serverPrefix == "NOPERM")
            #expect(probe.events.lost.isEmpty)
            #expect(try await probe.onLoop { $0.pendingReplies } == 0)
        }
    }

    @Test func aMessageBiggerThanABufferArrivesWhole() async throws {
        let server = try await RedisServer.start()
        try await LinkProbe.withReady(RedisConfiguration(server), role: .subscriptions) { subscriber async throws in
            try await LinkProbe.withReady(RedisConfiguration(server)) { publisher async throws in
                try await subscriber.onLoop { _ = $0.subscribe(["big"]) }
                try await eventually("confirmed") { subscriber.events.subscribed == ["big"] }
                let payload = ByteBuffer(bytes: (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
                try await publisher.onLoop { link in
                    for _ in 0..<5 { link.publish(channel: ByteBuffer(string: "big"), payload: payload) }
                }
                try await eventually("five messages") { subscriber.events.messages.count == 5 }
                #expect(subscriber.events.messages.allSatisfy { $0.payload == payload })
            }
        }
    }
}
