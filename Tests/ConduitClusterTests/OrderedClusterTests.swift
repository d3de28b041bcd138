import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

extension UnderTraffic {
    /// Ordered rooms over several nodes and a real Redis.
    @Suite(.serialized) struct OrderedClusterTests {
        private let lobby = RoomName(literal: "chat:lobby")

        @Test func everyMemberOnEveryNodeReadsTheSameOrder() async throws {
            let redis = try await RedisServer.start()
            let nodes = try await [
                TestNode.startOrdered("n1", redis), TestNode.startOrdered("n2", redis),
                TestNode.startOrdered("n3", redis),
            ]
            for node in nodes {
                for shard in 0..<2 { try await node.joinOrdered(lobby, "m\(shard)", shard: shard) }
            }
            // The third one never publishes.
            for index in 0..<50 {
                try nodes[0].publish(lobby, ["a\(index)"], by: "p0")
                try nodes[1].publish(lobby, ["b\(index)", "c\(index)"], by: "p1", shard: 1)
            }
            for node in nodes {
                for shard in 0..<2 { try await node.hasRead(lobby, "m\(shard)", 150) }
            }
            let order = try nodes[0].read(lobby, "m0")
            #expect(order.count == 150)
            for node in nodes {
                for shard in 0..<2 { #expect(try node.read(lobby, "m\(shard)") == order) }
            }
            // Offsets without a gap, and each publisher's own order.
            #expect(order.enumerated().allSatisfy { $1.hasSuffix(",\"offset\":\($0 + 1)}") })
            for letter in ["a", "b", "c"] {
                let mine = order.filter { $0.hasPrefix("{\"d\":\"\(letter)") }
                #expect(mine.map { $0.prefix { $0 != "," } } == (0..<50).map { "{\"d\":\"\(letter)\($0)\"" })
            }
            try await nodes[1].answered(100, to: "p1")
            let acks = try nodes[1].answers(to: "p1")
            #expect(acks.allSatisfy { $0.hasPrefix("{\"type\":\"ack\",\"data\":{\"offset\":") })
            let names = (0..<50).flatMap { ["b\($0)", "c\($0)"] }
            #expect(zip(acks, names).allSatisfy { $0.hasSuffix("\"id\":\"\($1)\"}") })
            let statistics = await nodes[1].bridge.statistics()
            #expect(statistics.orderedPublished == 100 && statistics.orderedDuplicates == 0)
        }

        @Test func excludedClientsKeysAndSilencePublish() async throws {
            let redis = try await RedisServer.start()
            let (n1, n2) = try await (TestNode.startOrdered("n1", redis), TestNode.startOrdered("n2", redis))
            let first = try await n1.joinOrdered(lobby, "m")
            #expect(first.offset == 0 && !first.recovered && first.reason == nil)
            try await n2.joinOrdered(lobby, "m")
            try n1.publish(lobby, ["own"], excluded: "m")
            try n1.publish(lobby, ["x", "x"], keys: ["k", "k"])
            try n1.publish(lobby, ["silent"], by: "nobody", isWaiting: false)
            try await n2.hasRead(lobby, "m", 3)
            #expect(try n2.read(lobby, "m") == [numbered("own", 1), numbered("x", 2), numbered("silent", 3)])
            try await n1.hasRead(lobby, "m", 2)
            #expect(try n1.read(lobby, "m") == [numbered("x", 2), numbered("silent", 3)])
            try await n1.answered(3)
            let acks = try n1.answers()
            #expect(acks[1].contains("{\"offset\":2,\"epoch\":\"\(first.epoch)\"}"))
            #expect(acks[2].contains("{\"offset\":2,\"epoch\":\"\(first.epoch)\",\"duplicate\":true}"))
            #expect(try n1.answers(to: "nobody").isEmpty)
            // A key that is repeated on another node is still one message.
            try n2.publish(lobby, ["x"], keys: ["k"])
            try await n2.answered(1)
            #expect(try n2.answers()[0].contains("\"duplicate\":true"))
        }

        @Test func aClientResumesOnAnotherNodeWhileMessagesGoOn() async throws {
            let redis = try await RedisServer.start()
            let (n1, n2) = try await (TestNode.startOrdered("n1", redis), TestNode.startOrdered("n2", redis))
            let start = try await n1.joinOrdered(lobby, "m")
            for index in 0..<300 {
                try n1.publish(lobby, ["\(index)"])
                if index % 30 == 0 {
                    // Somebody comes back here and there, to where it stood at the start.
                    try n2.startJoining(lobby, "r\(index)", recover: start.position, shard: index / 30 % 2)
                    try n1.startJoining(lobby, "r\(index)", recover: start.position)
                }
            }
            try await n1.hasRead(lobby, "m", 300)
            let all = try n1.read(lobby, "m")
            for index in stride(from: 0, to: 300, by: 30) {
                for node in [n1, n2] {
                    try await node.hasRead(lobby, "r\(index)", 300)
                    #expect(try node.read(lobby, "r\(index)") == all)
                    let admission = try #require(try node.admission(lobby, "r\(index)"))
                    #expect(admission.recovered && admission.reason == nil && admission.epoch == start.epoch)
                }
            }
        }

        @Test func aHerdIsServedByFewReads() async throws {
            let redis = try await RedisServer.start()
            let node = try await TestNode.startOrdered("n1", redis)
            let start = try await node.joinOrdered(lobby, "m")
            try node.publish(lobby, (0..<100).map { "\($0)" })
            try await node.hasRead(lobby, "m", 100)
            let before = try await evaluations(redis)
            for index in 0..<1_000 {
                let point = RecoveryPoint(epoch: start.epoch, offset: UInt64(index % 100))
                try node.startJoining(lobby, "r\(index)", recover: point, shard: index % 2)
            }
            try await eventually("a thousand are in") {
                node.sink.received.count { if case .admitted = $0.kind { true } else { false } } == 1_001
            }
            var replays: [ClientID: [String]] = [:]
            for entry in node.sink.received {
                if case .replay(let client, lobby) = entry.kind { replays[client, default: []].append(entry.json) }
            }
            let all = try node.read(lobby, "m")
            for index in 0..<1_000 { #expect(replays[try node.client("r\(index)")] == Array(all[(index % 100)...])) }
            // Heartbeats and presence are among them.
            #expect(try await evaluations(redis) - before < 400)
        }

        private func evaluations(_ redis: RedisServer) async throws -> Int {
            let text = try await redis.redisCLI("INFO", "commandstats")
            return text.split(separator: "\n").filter { $0.hasPrefix("cmdstat_evalsha:") }.reduce(0) {
                $0 + (Int($1.dropFirst("cmdstat_evalsha:calls=".count).prefix { $0 != "," }) ?? 0)
            }
        }

        @Test func everyVerdictHasItsReason() async throws {
            let redis = try await RedisServer.start()
            let node = try await TestNode.startOrdered("n1", redis) {
                $0.rooms.namespaces["chat"]?.historySize = 20
                $0.rooms.namespaces["chat"]?.recoverLimit = 30
                $0.replayBytes = 400
                $0.rooms.namespaces["few"] = $0.rooms.namespaces["chat"]
                $0.rooms.namespaces["few"]?.historySize = 5
            }
            let start = try await node.joinOrdered(lobby, "m")
            try node.publish(lobby, (0..<40).map { "\($0)" })
            try await node.hasRead(lobby, "m", 40)
            func join(_ name: String, _ epoch: String, _ offset: UInt64) async throws -> Admission {
                try await node.joinOrdered(lobby, name, recover: RecoveryPoint(epoch: epoch, offset: offset))
            }
            #expect(try await join("a", "other", 3).reason == "epoch_changed")
            #expect(try await join("b", start.epoch, 9).reason == "limit")
            #expect(try await join("d", start.epoch, 41).reason == "offset_ahead")
            let whole = try await join("e", start.epoch, 40)
            #expect(whole.recovered && whole.reason == nil && whole.offset == 40)
            let some = try await join("f", start.epoch, 35)
            #expect(some.recovered)
            #expect(try node.read(lobby, "f").first == numbered("35", 36))
            // Over the bytes that one replay may have.
            #expect(try await join("g", start.epoch, 21).reason == "limit")
            // What came next is not in the log any more.
            let few = RoomName(literal: "few:lobby")
            let from = try await node.joinOrdered(few, "m")
            try node.publish(few, (0..<10).map { "\($0)" })
            try await node.hasRead(few, "m", 10)
            func back(_ name: String, _ offset: UInt64) async throws -> Admission {
                try await node.joinOrdered(few, name, recover: RecoveryPoint(epoch: from.epoch, offset: offset))
            }
            #expect(try await back("h", 4).reason == "trimmed")
            #expect(try await back("i", 5).recovered)
            #expect(try node.read(few, "i") == (5..<10).map { numbered("\($0)", UInt64($0 + 1)) })
            for name in ["a", "b", "d", "g"] {
                let admission = try #require(try node.admission(lobby, name))
                #expect(!admission.recovered && admission.offset == 40 && admission.epoch == start.epoch)
                #expect(try node.read(lobby, name).isEmpty)
            }
        }

        @Test func historyComesFromTheLog() async throws {
            let redis = try await RedisServer.start()
            let node = try await TestNode.startOrdered("n1", redis)
            try node.publish(lobby, (1...10).map { "\($0)" })
            try await node.answered(10)
            let newest = try await history(node, "h1", nil, 3)
            #expect(newest.contains("\"offset\":10,\"messages\":[\(numbered("8", 8)),\(numbered("9", 9)),"))
            let epoch = try #require(newest.split(separator: "\"epoch\":\"").last?.prefix { $0 != "\"" })
            let since = RecoveryPoint(epoch: String(epoch), offset: 2)
            #expect(try await history(node, "h2", since, 2).contains("[\(numbered("3", 3)),\(numbered("4", 4))]"))
            // A room that nobody ever used is not made by the question.
            let other = try await history(node, "h3", nil, 2, room: RoomName(literal: "chat:nobody"))
            #expect(other.contains("\"epoch\":\"\",\"offset\":0,\"messages\":[]"))
            #expect(try await redis.redisCLI("EXISTS", "conduit:meta:{chat:nobody}") == "0")
        }

        private func history(
            _ node: TestNode, _ name: String, _ since: RecoveryPoint?, _ limit: Int, room: RoomName? = nil
        ) async throws -> String {
            let address = ReplyAddress(
                shard: 0, client: try node.client(name), request: RequestID(json: ByteBuffer(string: "1")))
            let query = HistoryQuery(room: room ?? lobby, since: since, limit: limit, replyTo: address)
            node.bridge.relay([.historyQuery(query)], fromShard: 0)
            try await node.answered(1, to: name)
            return try node.answers(to: name)[0]
        }

        @Test func withoutRedisEverythingIsUnavailable() async throws {
            var configuration = ClusterConfiguration()
            configuration.rooms.namespaces["chat"] = RoomPolicy()
            let alone = try TestNode("n1", configuration)
            try alone.publish(lobby, ["a"], isWaiting: false)
            try alone.startJoining(lobby, "m")
            try await alone.answered(1)
            #expect(try alone.answers()[0].contains("\"code\":\"unavailable\""))
            try await eventually("a refusal") {
                alone.sink.received(.refused(try alone.client("m"), lobby)) == ["unavailable"]
            }
            #expect(await alone.bridge.statistics().relayDropped["ordered_unavailable"] == 1)
        }

        @Test func aRoomIsGivenBackWithItsLastMember() async throws {
            let redis = try await RedisServer.start()
            let node = try await TestNode.startOrdered("n1", redis)
            try await node.joinOrdered(lobby, "m")
            try await node.waitForRoster(lobby, ["n1.m"])
            try node.leave(lobby, "m")
            try await eventually("nothing is subscribed") { await node.bridge.statistics().subscriptions == 0 }
            try node.publish(lobby, ["a"])
            try await node.answered(1)
            #expect(try await node.joinOrdered(lobby, "n").offset == 1)
        }
    }
}
