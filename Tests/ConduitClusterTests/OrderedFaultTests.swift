import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import Synchronization
import Testing

extension UnderTraffic {
    @Suite(.timeLimit(.minutes(5)), .serialized) struct OrderedFaultTests {
        enum Fault: String, CaseIterable, CustomTestStringConvertible {
            case subscriptionsKilled, oneSubscriptionKilled, commandsKilled, everythingKilled, scriptsFlushed,
                redisPaused
            case nodePaused
            var testDescription: String { rawValue }
        }

        private let lobby = RoomName(literal: "chat:lobby")

        private func start(_ redis: RedisServer, _ names: [String]) async throws -> [TestNode] {
            let nodes = try names.map { name in
                var configuration = try TestNode.orderedConfiguration(redis)
                configuration.redis?.commandTimeout = .seconds(2)
                configuration.rooms.namespaces["chat"]?.historySize = 100_000
                configuration.rooms.namespaces["chat"]?.recoverLimit = 100_000
                configuration.replayBytes = 64 << 20
                return try TestNode(name, configuration, ownLoop: true)
            }
            for node in nodes {
                try await node.connected()
                try await node.joinOrdered(lobby, "m")
            }
            return nodes
        }

        /// Nothing acknowledged is lost, nothing comes twice, everybody reads the same order; who comes back gets the same.
        @Test(arguments: Fault.allCases) func nothingIsLostOrDoubledOrReordered(_ fault: Fault) async throws {
            // A subscriber that doesn't read is thrown out soon.
            let options = RedisServer.Options(arguments: ["--client-output-buffer-limit", "pubsub 200kb 0 0"])
            let redis = try await RedisServer.start(options)
            // The third one never publishes.
            let nodes = try await start(redis, ["a", "b", "c"])
            let traffic = OrderedTraffic(Array(nodes.prefix(2)), lobby)
            traffic.start()
            for _ in 0..<2 {
                try await traffic.flow()
                try await cause(fault, redis, nodes, traffic)
            }
            try await traffic.flow()
            try await traffic.stop()
            try await traffic.check(nodes, "m")
            let order = try nodes[0].read(lobby, "m")
            let start = try #require(try nodes[0].admission(lobby, "m"))
            let back = try await nodes[2].joinOrdered(lobby, "back", recover: start.position, shard: 1)
            #expect(back.recovered && back.epoch == start.epoch)
            #expect(try nodes[2].read(lobby, "back") == order)
        }

        private func cause(
            _ fault: Fault, _ redis: RedisServer, _ nodes: [TestNode], _ traffic: OrderedTraffic
        ) async throws {
            var before: [UInt64] = []
            for node in nodes { before.append(await node.bridge.statistics().reconnects) }
            func reconnected(_ which: [Int]) async throws {
                for index in which {
                    try await eventually("\(nodes[index].id) notices \(fault)") {
                        await nodes[index].bridge.statistics().reconnects > before[index]
                    }
                }
            }
            switch fault {
            case .subscriptionsKilled:
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "pubsub")
                try await reconnected([0, 1, 2])
            case .oneSubscriptionKilled:
                try await redis.killSubscriptions(of: nodes[2])
                try await reconnected([2])
            case .commandsKilled:
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "normal")
                try await reconnected([0, 1, 2])
            case .everythingKilled:
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "pubsub")
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "normal")
                try await reconnected([0, 1, 2])
            case .scriptsFlushed:
                for _ in 0..<5 {
                    try await redis.redisCLI("SCRIPT", "FLUSH")
                    try await traffic.flow(20)
                }
            case .redisPaused:
                redis.pause()
                try await eventually { nodes.allSatisfy { $0.bridge.status != .connected } }
                redis.resume()
                try await reconnected([0, 1, 2])
            case .nodePaused:
                // Stopped until Redis has thrown its subscriptions out.
                try await nodes[2].joinOrdered(RoomName(literal: "chat:other"), "m")
                let isOver = Mutex(false)
                nodes[2].bridge.eventLoop.execute {
                    while !isOver.withLock({ $0 }) { Thread.sleep(forTimeInterval: 0.01) }
                }
                let other = RoomName(literal: "chat:other")
                let pad = String(repeating: "x", count: 50_000)
                for index in 0..<200 {
                    try nodes[0].publish(other, ["\(index)\(pad)"], by: "filler", isWaiting: false)
                }
                try await traffic.flow()
                isOver.withLock { $0 = true }
                try await traffic.flow()
            }
        }

        // MARK: New epochs

        @Test func aFlushedRedisBeginsANewEpochAndEverybodyIsTold() async throws {
            let redis = try await RedisServer.start()
            let nodes = try await start(redis, ["a", "b"])
            let before = try #require(try nodes[0].admission(lobby, "m"))
            try nodes[0].publish(lobby, ["1", "2", "3"])
            for node in nodes { try await node.hasRead(lobby, "m", 3) }
            try await redis.redisCLI("FLUSHALL")
            try nodes[0].publish(lobby, ["4", "5"])
            for node in nodes {
                try await node.hasRead(lobby, "m", 5)
                #expect(
                    try node.read(lobby, "m") == [
                        numbered("1", 1), numbered("2", 2), numbered("3", 3), numbered("4", 1), numbered("5", 2),
                    ])
                try await eventually { !node.sink.observed(lobby, "room_state").isEmpty }
                #expect(node.sink.observed(lobby, "room_state")[0].contains("\"state\":\"gap\""))
            }
            let back = try await nodes[1].joinOrdered(
                lobby, "back", recover: RecoveryPoint(epoch: before.epoch, offset: 3))
            #expect(!back.recovered && back.reason == "epoch_changed" && back.offset == 2 && back.epoch != before.epoch)
            let new = try await nodes[0].joinOrdered(lobby, "new", recover: RecoveryPoint(epoch: back.epoch, offset: 0))
            #expect(new.recovered)
            #expect(try nodes[0].read(lobby, "new") == [numbered("4", 1), numbered("5", 2)])
        }

        @Test func aRedisThatForgetsEverythingIsUsedAgain() async throws {
            let redis = try await RedisServer.start()
            let nodes = try await start(redis, ["a", "b"])
            let before = try #require(try nodes[0].admission(lobby, "m"))
            try nodes[0].publish(lobby, ["1"])
            for node in nodes { try await node.hasRead(lobby, "m", 1) }
            try await redis.kill()
            try await eventually { nodes.allSatisfy { $0.bridge.status != .connected } }
            try nodes[0].publish(lobby, ["lost"])
            try nodes[0].startJoining(lobby, "early")
            try await nodes[0].answered(2)
            #expect(try nodes[0].answers()[1].contains("\"code\":\"unavailable\""))
            try await eventually {
                nodes[0].sink.received(.refused(try nodes[0].client("early"), lobby)) == ["unavailable"]
            }
            try await redis.restart()
            for node in nodes { try await node.connected() }
            // Nobody publishes, and still nobody stays in the old epoch.
            let back = try await nodes[1].joinOrdered(
                lobby, "back", recover: RecoveryPoint(epoch: before.epoch, offset: 1))
            #expect(!back.recovered && back.reason == "epoch_changed" && back.offset == 0)
            try nodes[0].publish(lobby, ["2"])
            for node in nodes {
                try await node.hasRead(lobby, "m", 2)
                #expect(try node.read(lobby, "m") == [numbered("1", 1), numbered("2", 1)])
                try await eventually { node.sink.observed(lobby, "room_state").last?.contains("live") == true }
            }
        }

        @Test func aFailOverThatLostMessagesBeginsANewEpoch() async throws {
            let redis = try await RedisServer.start()
            let nodes = try await start(redis, ["a", "b"])
            try nodes[0].publish(lobby, ["1", "2", "3"])
            for node in nodes { try await node.hasRead(lobby, "m", 3) }
            // As a replica that had not heard of the last two would say. Nobody publishes; the positions tell.
            try await redis.redisCLI("HSET", "conduit:meta:{chat:lobby}", "o", "1")
            let before = try #require(try nodes[0].admission(lobby, "m"))
            try await eventually {
                try await redis.redisCLI("HGET", "conduit:meta:{chat:lobby}", "e") != before.epoch
            }
            try nodes[1].publish(lobby, ["4"])
            for node in nodes {
                try await node.hasRead(lobby, "m", 4)
                #expect(try node.read(lobby, "m").last == numbered("4", 1))
            }
        }

        // MARK: Without a fault of Redis

        @Test func aMessageThatTheBusSwallowsIsReadFromTheLog() async throws {
            let redis = try await RedisServer.start()
            let nodes = try await start(redis, ["a"])
            let a = nodes[0]
            try a.publish(lobby, ["1"])
            try await a.hasRead(lobby, "m", 1)
            // Stored and not published: the position tells after a while.
            let keys = ClusterKeys(prefix: "conduit")
            try await redis.redisCLI("XADD", keys.log(of: lobby), "2-0", "t", "1", "d", "{\"d\":\"2\"}")
            try await redis.redisCLI("HSET", keys.meta(of: lobby), "o", "2")
            try await a.hasRead(lobby, "m", 2)
            // The next message tells at once; what the log has no more is counted and told.
            try await redis.redisCLI("HSET", keys.meta(of: lobby), "o", "5")
            try a.publish(lobby, ["6"])
            try await a.hasRead(lobby, "m", 3)
            #expect(try a.read(lobby, "m") == [numbered("1", 1), numbered("2", 2), numbered("6", 6)])
            try await eventually { await a.bridge.statistics().unrecoverable == 3 }
            #expect(await a.bridge.statistics().healed >= 1)
            try await eventually { a.sink.observed(lobby, "room_state").last?.contains("\"missed\":3") == true }
        }

        @Test func aBusyShardCatchesUpFromTheLog() async throws {
            let redis = try await RedisServer.start()
            let nodes = try await start(redis, ["a"])
            let a = nodes[0]
            try await a.joinOrdered(lobby, "other", shard: 1)
            let flood = try room("flood")
            try a.join(flood, "f")
            try await eventually { try await redis.subscribers(a, flood) == 1 }
            // Shard 0 carries nothing out any more and owes all that it may owe.
            a.sink.stick(only: 0)
            var writer = NodeEnvelopeWriter()
            for _ in 0..<NodeEnvelope.maximumEntries { writer.append(ByteBuffer(string: "{}")) }
            let payload = writer.finish(
                kind: .broadcast, origin: try #require(NodeID("ghost")), incarnation: 1, sequence: 0, startsRun: false,
                sentAt: 1)
            try await RedisClient.withConnection(try RedisConfiguration(url: redis.url)) {
                _ = try await $0.send("PUBLISH", .string("conduit:room:{flood}"), .buffer(payload))
            }
            // Looked at seldom: there is much to look at.
            let poll = Duration.milliseconds(200)
            try await eventually(poll: poll) { a.sink.received(.room(flood)).count > 60_000 }
            try a.publish(lobby, (1...700).map { "\($0)" }, shard: 1)
            try await a.hasRead(lobby, "other", 700, poll: poll)
            #expect(try a.read(lobby, "m").isEmpty)
            // Who joins on the busy shard waits until it stands where the others stand.
            try a.startJoining(lobby, "late")
            a.sink.unstick()
            try await a.hasRead(lobby, "m", 700, poll: poll)
            #expect(try a.read(lobby, "m") == a.read(lobby, "other"))
            try await eventually(poll: poll) { try a.admission(lobby, "late")?.offset == 700 }
            try a.publish(lobby, ["701"], shard: 1)
            try await a.hasRead(lobby, "m", 701, poll: poll)
            #expect(try a.read(lobby, "m").last == numbered("701", 701))
            #expect(await a.bridge.statistics().unrecoverable == 0)
        }
    }
}
