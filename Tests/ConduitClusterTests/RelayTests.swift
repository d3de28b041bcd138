import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct RelayTests {
    @Test func messagesCrossBothWaysAndNeverComeBack() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby {1} 100%")
        try a.join(lobby, "x", shard: 0)
        try b.join(lobby, "y", shard: 1)
        try await eventually { try await redis.subscribers(a, lobby) == 2 }
        a.broadcast(lobby, "{\"n\":1}", "{\"n\":2}")
        try await eventually { b.sink.received(.room(lobby)).count == 2 }
        #expect(b.sink.received(.room(lobby)) == ["{\"n\":1}", "{\"n\":2}"])
        #expect(
            b.sink.received.filter { $0.kind == .room(lobby) }.allSatisfy { $0.shard == 1 }, "shards with members only")
        b.broadcast(lobby, "{\"n\":3}")
        try await eventually { a.sink.received(.room(lobby)).count == 1 }
        b.bridge.relay([.broadcastAll(message: message("{\"all\":1}"))], fromShard: 0)
        try await eventually { a.sink.received(.all).count == 2 }
        #expect(a.sink.received(.room(lobby)) == ["{\"n\":3}"], "own messages are not echoed")
        #expect(b.sink.received(.all).isEmpty)
        try await eventually { await a.bridge.statistics().relayPublished == 2 }
        let statistics = await b.bridge.statistics()
        #expect(statistics.relayReceived == 2)
        #expect(statistics.relayGaps == 0)
        #expect(statistics.relay.count == 2)
    }

    @Test func aSendersMessagesNeverOvertakeEachOtherWhateverTheyAreFor() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby"), attic = try room("attic")
        for place in [lobby, attic] {
            try b.join(place, "y")
            try await eventually { try await redis.subscribers(a, place) == 1 }
        }
        // One turn of one client, who takes turns between two rooms and everybody.
        let events = (1_000..<1_600).map { number -> HubEvent in
            let text = message("{\"n\":\(number)}")
            switch number % 3 {
            case 0: return .broadcast(room: lobby, message: text)
            case 1: return .broadcast(room: attic, message: text)
            default: return .broadcastAll(message: text)
            }
        }
        a.bridge.relay(events, fromShard: 0)
        try await eventually { b.sink.received.count { $0.shard == 0 && $0.json.contains("\"n\"") } == events.count }
        let came = b.sink.received.filter { $0.shard == 0 && $0.json.contains("\"n\"") }.map(\.json)
        #expect(came == came.sorted())
    }

    /// Far above the rate at which messages wait for each other, in turns of their own; then the node leaves.
    @Test(arguments: [0, 500, 10_000] as [Int64])
    func manyMessagesShareFlushesInOrderAndADrainWaitsForNone(hold: Int64) async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.publishHoldMicroseconds = hold
        // Neither node loses a link, however long it starves: whoever has left can't be asked for what was missed.
        configuration.leaseMilliseconds = 300_000
        configuration.probeMilliseconds = 300_000
        configuration.redis?.commandTimeout = .seconds(300)
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        try await a.connected()
        try await b.connected()
        let rooms = [try room("lobby"), try room("attic")]
        for place in rooms {
            try b.join(place, "y")
            try await eventually { try await redis.subscribers(a, place) == 1 }
        }
        let count = 3_000
        for number in 0..<count { a.broadcast(rooms[number / 3 % 2], "{\"n\":\(10_000 + number)}") }
        await a.bridge.drain(within: .seconds(60))
        try? await eventually { b.sink.received.count { $0.json.hasPrefix("{\"n\"") } == count }
        let came = b.sink.received.filter { $0.json.hasPrefix("{\"n\"") }.map(\.json)
        let statistics = await b.bridge.statistics()
        #expect(came.count == count, "\(Set(came).count) of them once; \(statistics)")
        #expect(came == came.sorted())
        #expect(statistics.relayGaps == 0 && statistics.relayDropped.isEmpty && statistics.relayDuplicates == 0)
        // Redis answers the publisher after it has told the listeners.
        try await eventually { await a.bridge.statistics().outboxBytes == 0 }
    }

    /// A link breaks just when the node is to end, as in a rolling restart during a fail-over.
    @Test func aNodeThatEndsWhileItReconnectsSendsWhatItOwesAndLeavesInOrder() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        var configuration = try TestNode.configuration(redis)
        let b = try TestNode("b", configuration)
        configuration.redis = try RedisConfiguration(url: "redis://127.0.0.1:\(proxy.port)")
        configuration.redis?.reconnectMin = .milliseconds(500)
        configuration.redis?.reconnectMax = .milliseconds(500)
        let a = try TestNode("a", configuration)
        try await a.connected()
        try await b.connected()
        let lobby = try room("lobby")
        try b.join(lobby, "y")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        try await eventually { try await redis.redisCLI("ZCARD", "conduit:nodes") == "2" }
        try await proxy.set(.refusesNew)
        try await proxy.reset()
        try await eventually { a.bridge.status != .connected }
        let texts = (100..<200).map { "{\"n\":\($0)}" }
        for text in texts { a.broadcast(lobby, text) }
        async let isOver: Void = a.bridge.drain(within: .seconds(60))
        try await proxy.set(.pass)
        await isOver
        try await eventually { b.sink.received(.room(lobby)).count >= texts.count }
        #expect(b.sink.received(.room(lobby)) == texts)
        let statistics = await a.bridge.statistics()
        #expect(statistics.relayDropped.isEmpty && statistics.outboxBytes == 0)
        #expect(try await redis.redisCLI("ZRANGE", "conduit:nodes", "0", "-1") == "b")
        #expect(try await redis.redisCLI("EXISTS", "conduit:holder:a", "conduit:node:a") == "0")
    }

    @Test func aNodeThatOwesNothingLeavesInOrderTooWhileItsSubscriptionsComeBack() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.redis?.reconnectMin = .seconds(1)
        configuration.redis?.reconnectMax = .seconds(1)
        let a = try TestNode("a", configuration)
        try await a.connected()
        try await eventually { try await redis.redisCLI("ZCARD", "conduit:nodes") == "1" }
        try await redis.killSubscriptions(of: a)
        try await eventually { a.bridge.status != .connected }
        await a.bridge.drain(within: .seconds(60))
        #expect(try await redis.redisCLI("EXISTS", "conduit:holder:a", "conduit:node:a", "conduit:nodes") == "0")
    }

    @Test func whatCannotLeaveBeforeTheEndIsCounted() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        try await redis.kill()
        try await eventually { a.bridge.status != .connected }
        let lobby = try room("lobby")
        for number in 0..<100 { a.broadcast(lobby, "{\"n\":\(number)}") }
        await a.bridge.drain(within: .seconds(1))
        #expect(await a.bridge.statistics().relayDropped == ["left_behind": 100])
        #expect(await a.bridge.statistics().outboxBytes == 0)
        // Too late for everybody.
        a.broadcast(lobby, "{}")
        #expect(await a.bridge.statistics().relayDropped == ["left_behind": 101])
    }

    @Test func aNodeListensOnlyToRoomsWithMembers() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        #expect(try await redis.subscribers(a, lobby) == 0)
        try a.join(lobby, "x")
        try a.join(lobby, "y", shard: 1)
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        try a.leave(lobby, "x")
        try a.leave(lobby, "y", shard: 1)
        let left = ContinuousClock.now
        try await eventually { try await redis.subscribers(a, lobby) == 0 }
        #expect(ContinuousClock.now - left >= .milliseconds(900), "the subscription lingers")
        #expect(await a.bridge.statistics().subscriptions == 0)
    }

    @Test func messagesThatWaitedForRedisArriveOnceAndInOrder() async throws {
        let redis = try await RedisServer.start()
        let configuration = try TestNode.patientConfiguration(redis)
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        for node in [a, b] { try await node.connected() }
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try b.join(lobby, "y")
        try await eventually { try await redis.subscribers(a, lobby) == 2 }
        a.broadcast(lobby, "{\"n\":0}")
        try await eventually { b.sink.received(.room(lobby)).count == 1 }
        // Nodes know each other from the heartbeats; that is whom they wait for.
        try await a.knows(2)
        try await b.knows(2)
        try await redis.kill()
        try await eventually { a.bridge.status != .connected && b.bridge.status != .connected }
        try await eventually { !b.sink.observed(lobby, "room_state").isEmpty }
        #expect(b.sink.observed(lobby, "room_state")[0].contains("degraded"))
        for number in 1...50 { a.broadcast(lobby, "{\"n\":\(number)}") }
        try await redis.restart()
        try await a.connected()
        try await b.connected()
        try await eventually { b.sink.received(.room(lobby)).count >= 51 }
        #expect(b.sink.received(.room(lobby)) == (0...50).map { "{\"n\":\($0)}" })
        try await eventually { b.sink.observed(lobby, "room_state").count == 3 }
        #expect(b.sink.observed(lobby, "room_state")[1].contains("catching_up"))
        #expect(b.sink.observed(lobby, "room_state")[2].contains("live"))
        #expect(try await redis.subscribers(a, lobby) == 2, "both listen again")
        let statistics = await a.bridge.statistics()
        #expect(statistics.reconnects >= 2)
        #expect(statistics.relayDropped.isEmpty)
        // Redis answers the publisher after it has told the listeners.
        try await eventually { await a.bridge.statistics().outboxBytes == 0 }
        #expect(try await redis.redisCLI("XRANGE", "conduit:events", "-", "+").contains("redis_back"))
    }

    /// A PUBLISH that Redis takes before the receiver is back reaches nobody; one that is sent again must not come twice.
    @Test func whatIsInFlightWhenRedisHangsIsNeverDeliveredTwice() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.redis?.commandTimeout = .seconds(2)
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        try await a.connected()
        try await b.connected()
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try b.join(lobby, "y")
        try await eventually { try await redis.subscribers(a, lobby) == 2 }
        try await a.knows(2)
        try await b.knows(2)
        redis.pause()
        for number in 1...20 { a.broadcast(lobby, "{\"n\":\(number)}") }
        try await eventually { a.bridge.status != .connected }
        redis.resume()
        try await a.connected()
        try await b.connected()
        a.broadcast(lobby, "{\"n\":21}")
        try await eventually { b.sink.received(.room(lobby)).last == "{\"n\":21}" }
        let received = b.sink.received(.room(lobby))
        let all = (1...21).map { "{\"n\":\($0)}" }
        #expect(received == all || received == Array(all.suffix(1)), "all of the one PUBLISH or none of it, and once")
    }

    @Test func aNodeThatOnlyJustCameIsWaitedForToo() async throws {
        let redis = try await RedisServer.start()
        // No heartbeat tells of the other node before Redis goes, and that node comes back later.
        var configuration = try TestNode.patientConfiguration(redis)
        configuration.heartbeatMilliseconds = 60_000
        configuration.leaseMilliseconds = 300_000
        let a = try TestNode("a", configuration)
        try await a.connected()
        configuration.redis?.reconnectMin = .milliseconds(800)
        configuration.redis?.reconnectMax = .milliseconds(800)
        let b = try TestNode("b", configuration)
        try await b.connected()
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try b.join(lobby, "y")
        try await eventually { try await redis.subscribers(a, lobby) == 2 }
        try await redis.kill()
        try await eventually { a.bridge.status != .connected && b.bridge.status != .connected }
        for number in 1...20 { a.broadcast(lobby, "{\"n\":\(number)}") }
        try await redis.restart()
        try await eventually { b.sink.received(.room(lobby)).count >= 20 }
        #expect(b.sink.received(.room(lobby)) == (1...20).map { "{\"n\":\($0)}" })
    }

    @Test func theOutboxIsBounded() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.outboxBytes = 5_000
        let a = try TestNode("a", configuration)
        try await a.connected()
        try await redis.kill()
        try await eventually { a.bridge.status != .connected }
        let lobby = try room("lobby")
        for number in 1...100 {
            a.broadcast(lobby, "{\"n\":\(number),\"pad\":\"" + String(repeating: "x", count: 500) + "\"}")
        }
        try await eventually { (await a.bridge.statistics().relayDropped["outbox_bytes"] ?? 0) > 0 }
        try await eventually { await a.bridge.statistics().relayDropped["outbox_bytes"] ?? 0 >= 90 }
        #expect(await a.bridge.statistics().outboxBytes <= 5_000)
    }

    @Test func messagesGetTooOld() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.outboxAgeMilliseconds = 200
        let a = try TestNode("a", configuration)
        try await a.connected()
        try await redis.kill()
        try await eventually { a.bridge.status != .connected }
        a.broadcast(try room("lobby"), "{}", "{}")
        try await eventually { await a.bridge.statistics().relayDropped["outbox_age"] == 2 }
        #expect(await a.bridge.statistics().outboxBytes == 0)
    }

    @Test func strangeBusMessagesAreCountedAndHurtNobody() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        let channel = "conduit:room:{lobby}"
        for junk in ["", "hello", "\u{1}", "\u{2}\u{1}\u{0}", String(repeating: "z", count: 5_000)] {
            try await redis.redisCLI("PUBLISH", channel, junk)
            try await redis.redisCLI("PUBLISH", "conduit:ctl", junk)
        }
        try await redis.publish(channel, .control) { ControlMessage.nodeDown(a.id, .lost).write(to: &$0) }
        try await redis.publish(channel, .presence) { $0.writeString("\u{1}{\"client_id\":5}") }
        let foreign = Member(client: try a.client("forged"), user: nil, node: a.id, joinedAt: 1)
        try await redis.publish(channel, .presence) { PresenceNews.joined(foreign).write(to: &$0) }
        try await redis.publish("conduit:ctl", .control) { $0.writeInteger(77 as UInt8) }
        try await redis.publish("conduit:ctl", .control) {
            ControlMessage.delivered(request: 9, count: .max).write(to: &$0)
        }
        try await redis.publish("conduit:ctl:a", .send) { $0.writeString("short") }
        try await redis.publish(channel, .broadcast) { $0.writeString("{\"fine\":1}") }
        try await eventually { a.sink.received(.room(lobby)) == ["{\"fine\":1}"] }
        let dropped = await a.bridge.statistics().relayDropped
        #expect(dropped["bad_entry", default: 0] >= 4)
        #expect(dropped["bad_channel", default: 0] == 1)
        #expect(dropped["unknown_version", default: 0] >= 2)
        #expect(try await a.roster(lobby).contains("\"count\":1"))
        #expect(a.bridge.status == .connected)
    }

    @Test func gapsAreCountedAndTold() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        for number in [1, 2, 2, 7] as [UInt64] {
            try await redis.publish("conduit:room:{lobby}", .broadcast, sequence: number) { $0.writeString("{}") }
        }
        try await eventually { a.sink.received(.room(lobby)).count == 3 }
        let statistics = await a.bridge.statistics()
        #expect(statistics.relayGaps == 4)
        #expect(statistics.relayDuplicates == 1)
        #expect(a.sink.observed(lobby, "room_state").first?.contains("\"missed\":4") == true)
    }

    @Test func aShardThatFallsBehindIsNotWaitedFor() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let lobby = try room("lobby")
        try b.join(lobby, "y")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        b.sink.stick()
        let some = Array(repeating: HubEvent.broadcast(room: lobby, message: message("{}")), count: 1_000)
        for _ in 0..<70 { a.bridge.relay(some, fromShard: 0) }
        try await eventually { await b.bridge.statistics().relayDropped["shard_busy", default: 0] > 0 }
        #expect(b.sink.received(.room(lobby)).count <= 65_536)
    }

    @Test func aNodeWithoutRedisKeepsItsOwnRosters() async throws {
        let a = try TestNode("a", TestNode.configuration(nil))
        let lobby = try room("lobby")
        try a.join(lobby, "x", user: "u")
        try a.join(lobby, "y", user: "u")
        #expect(a.bridge.status == .alone)
        let answer = try await a.roster(lobby, limit: 1)
        #expect(answer.contains("\"count\":2,\"users\":1"))
        #expect(answer.contains("\"cursor\":\"a.x\""))
        #expect(try await a.roster(lobby, limit: 1, cursor: "a.x").contains("\"client_id\":\"a.y\""))
        try await eventually { !a.sink.observed(lobby, "presence_diff").isEmpty }
        try a.leave(lobby, "x")
        try a.leave(lobby, "y")
        #expect(try await a.roster(lobby).contains("\"count\":0"))
        a.broadcast(lobby, "{}")
        #expect(await a.bridge.statistics().outboxBytes == 0)
        await a.bridge.drain(within: .seconds(1))
    }

    @Test func redisThatIsNotThereAtTheStartIsWaitedFor() async throws {
        let redis = try await RedisServer.start()
        try await redis.stop()
        let a = try TestNode("a", TestNode.configuration(redis))
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try await eventually { a.bridge.status.name == "degraded" }
        try await redis.restart()
        try await a.connected()
        #expect(try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "1")
    }
}

extension RedisServer {
    /// How many nodes listen to a room, by Redis's own count.
    func subscribers(_ node: TestNode, _ room: RoomName) async throws -> Int {
        let channel = ClusterKeys(prefix: "conduit").channel(.room(room))
        let answer = try await redisCLI("PUBSUB", "NUMSUB", channel)
        return answer.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? -1
    }

    /// Publishes as another node would, over `redis-cli`.
    func publish(
        _ channel: String, _ kind: NodeEnvelope.Kind, origin: String = "ghost", sequence: UInt64 = 0,
        _ write: (inout ByteBuffer) -> Void
    ) async throws {
        var writer = NodeEnvelopeWriter()
        writer.append(write)
        let node = try #require(NodeID(origin))
        let payload = writer.finish(
            kind: kind, origin: node, incarnation: 1, sequence: sequence, startsRun: false, sentAt: 1)
        let hex = payload.readableBytesView.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
        // Binary bytes don't survive a command line: let Lua make them.
        let script = """
            local bytes = ARGV[2]:gsub('..', function(c) return string.char(tonumber(c, 16)) end)
            return redis.call('PUBLISH', ARGV[1], bytes)
            """
        try await redisCLI("EVAL", script, "0", channel, hex)
    }
}
