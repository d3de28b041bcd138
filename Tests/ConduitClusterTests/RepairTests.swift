import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Testing

extension UnderTraffic {
    /// Faults of Redis and of nodes while every node publishes: fast rooms lose nothing, get nothing twice and keep each
    /// sender's order, as long as what was missed is remembered where it came from.
    @Suite(.timeLimit(.minutes(5)), .serialized) struct RepairTests {
        enum Fault: String, CaseIterable, CustomTestStringConvertible {
            case allSubscriptionsKilled, oneSubscriptionKilled, commandsKilled, everythingKilled, redisPaused,
                redisRestarted
            case receiverStopped
            var testDescription: String { rawValue }
        }

        private static func configuration(_ redis: RedisServer) throws -> ClusterConfiguration {
            // A machine that has other things to do isn't what is tested here.
            var configuration = try TestNode.patientConfiguration(redis)
            configuration.redis?.commandTimeout = .seconds(2)
            // A deaf subscription and a stopped node are to be noticed.
            configuration.probeMilliseconds = 1_000
            configuration.leaseMilliseconds = TestNode.shortLease
            return configuration
        }

        private static func cluster(_ redis: RedisServer, _ names: [String] = ["a", "b", "c"]) async throws -> Traffic {
            let nodes = try names.map { try TestNode($0, configuration(redis), shards: 1, ownLoop: true) }
            for node in nodes { try await node.connected() }
            let traffic = try Traffic(nodes)
            try await traffic.join(redis)
            return traffic
        }

        @Test(arguments: Fault.allCases) func nothingIsLostOrDoubledOrReordered(_ fault: Fault) async throws {
            let redis = try await RedisServer.start()
            let traffic = try await Self.cluster(redis)
            traffic.start()
            try await traffic.flow()
            for _ in 0..<2 {
                try await Self.cause(fault, redis, traffic)
                try await traffic.flow()
            }
            for node in traffic.nodes { try await node.connected() }
            try await traffic.flow()
            await traffic.stop()
            let faults = await traffic.faults()
            for node in traffic.nodes {
                let statistics = await node.bridge.statistics()
                #expect(statistics.unrecoverable == 0, "\(node.id)")
                #expect(statistics.relayDropped.isEmpty, "\(node.id)")
            }
            #expect(faults.isEmpty, "\(fault)")
        }

        private static func cause(_ fault: Fault, _ redis: RedisServer, _ traffic: Traffic) async throws {
            let before = await statistics(traffic).map(\.reconnects)
            func reconnected(_ which: [Int]) async throws {
                try await eventually("\(fault) is noticed") {
                    let now = await statistics(traffic).map(\.reconnects)
                    return which.allSatisfy { now[$0] > before[$0] }
                }
            }
            let all = Array(traffic.nodes.indices)
            switch fault {
            case .allSubscriptionsKilled:
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "pubsub")
                try await reconnected(all)
            case .oneSubscriptionKilled:
                try await redis.killSubscriptions(of: traffic.nodes[1])
                try await reconnected([1])
            case .commandsKilled:
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "normal")
                try await reconnected(all)
            case .everythingKilled:
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "pubsub")
                try await redis.redisCLI("CLIENT", "KILL", "TYPE", "normal")
                try await reconnected(all)
            case .redisPaused:
                redis.pause()
                try await eventually { traffic.nodes.allSatisfy { $0.bridge.status != .connected } }
                redis.resume()
                try await reconnected(all)
            case .redisRestarted:
                try await redis.kill()
                try await eventually { traffic.nodes.allSatisfy { $0.bridge.status != .connected } }
                try await redis.restart()
                try await reconnected(all)
            case .receiverStopped:
                // Longer than its lease: the others take it for dead and clean up after it.
                let (a, b) = (traffic.nodes[0], traffic.nodes[1])
                let isOver = Mutex(false)
                b.bridge.eventLoop.execute {
                    while !isOver.withLock({ $0 }) { Thread.sleep(forTimeInterval: 0.01) }
                }
                defer { isOver.withLock { $0 = true } }
                try await eventually { await a.bridge.statistics().nodes == 2 }
                isOver.withLock { $0 = true }
                try await eventually { await a.bridge.statistics().nodes == 3 }
            }
        }

        private static func statistics(_ traffic: Traffic) async -> [ClusterStatistics] {
            var result: [ClusterStatistics] = []
            for node in traffic.nodes { result.append(await node.bridge.statistics()) }
            return result
        }

        /// The socket of its subscriptions stays open and says nothing: its pings to itself tell.
        @Test func aSubscriptionThatWasDeafForAWhileLosesNothing() async throws {
            let redis = try await RedisServer.start()
            let proxy = try await DeafProxy.start(to: redis.port)
            var configuration = try Self.configuration(redis)
            let a = try TestNode("a", configuration, shards: 1, ownLoop: true)
            configuration.redis = try RedisConfiguration(url: "redis://127.0.0.1:\(proxy.port)")
            let b = try TestNode("b", configuration, shards: 1, ownLoop: true)
            for node in [a, b] { try await node.connected() }
            let traffic = try Traffic([a, b])
            try await traffic.join(redis)
            traffic.start()
            for _ in 0..<2 {
                try await traffic.flow()
                let before = await b.bridge.statistics().reconnects
                proxy.deafen()
                try await eventually { await b.bridge.statistics().reconnects > before }
                try await b.connected()
            }
            try await traffic.flow()
            await traffic.stop()
            #expect(await traffic.faults().isEmpty)
            let statistics = await b.bridge.statistics()
            #expect(statistics.healed > 0 && statistics.unrecoverable == 0)
            await proxy.stop()
        }

        /// The ring is too small for what was missed: what is lost is counted, to the message.
        @Test func whatTheRingHasNoMoreIsCounted() async throws {
            let redis = try await RedisServer.start()
            var configuration = try Self.configuration(redis)
            configuration.ringBytes = 30_000
            let proxy = try await TCPProxy.start(to: redis.port)
            let a = try TestNode("a", configuration, shards: 1)
            configuration.redis = try RedisConfiguration(url: "redis://127.0.0.1:\(proxy.port)")
            let b = try TestNode("b", configuration, shards: 1)
            for node in [a, b] { try await node.connected() }
            let traffic = try Traffic([a, b])
            try await traffic.join(redis)
            let attic = try room("only before"), count = 2_000
            try b.join(attic, "y")
            try await eventually { try await redis.subscribers(a, attic) == 1 }
            a.broadcast(attic, "{}")
            traffic.publish(a, 40)
            try await eventually { traffic.verdict(b, of: a).lost == 0 && b.sink.received(.room(attic)).count == 1 }
            // Away until everything is published: nobody knows how long that takes here.
            try await proxy.set(.refusesNew)
            try await redis.killSubscriptions(of: b)
            // Nothing follows in this room: only the sender can tell that it is gone.
            a.broadcast(attic, "{}", "{}")
            for _ in 0..<count / 40 {
                traffic.publish(a, 40)
                let sent = traffic.count(of: a)
                try await eventually { await a.bridge.statistics().relayPublished >= UInt64(sent) }
            }
            try await proxy.set(.pass)
            try await b.connected()
            try await eventually { await b.bridge.statistics().healed > 0 }
            traffic.publish(a, 40)
            try await eventually {
                let lost = await b.bridge.statistics().unrecoverable
                return UInt64(traffic.verdict(b, of: a).lost) + 2 == lost
            }
            let verdict = traffic.verdict(b, of: a)
            let statistics = await b.bridge.statistics()
            #expect(verdict.lost > 100)
            #expect(verdict.duplicated == 0 && verdict.reordered == 0)
            #expect(statistics.relayGaps == statistics.healed + statistics.unrecoverable)
            #expect(b.sink.observed(attic, "room_state").contains { $0.contains("\"missed\":2") })
            let lobby = try room("lobby")
            let states = b.sink.observed(lobby, "room_state").map {
                $0.contains("catching_up") ? 1 : $0.contains("live") ? 2 : 0
            }
            #expect(states.filter { $0 > 0 } == [1, 2], "catching up, then live")
        }

        /// What was sent before a room was followed is nobody's here, although its sender still has it.
        @Test func aRoomThatWasJustJoinedGetsNothingFromBefore() async throws {
            let redis = try await RedisServer.start()
            let traffic = try await Self.cluster(redis, ["a", "b"])
            let (a, b) = (traffic.nodes[0], traffic.nodes[1])
            let fresh = try room("fresh")
            a.broadcast(fresh, "{\"n\":1}", "{\"n\":2}")
            try await eventually { await a.bridge.statistics().relayPublished >= 2 }
            try b.join(fresh, "y")
            try await eventually { b.sink.received(.live(fresh)).count == 1 }
            try await redis.killSubscriptions(of: b)
            a.broadcast(fresh, "{\"n\":3}")
            try await b.connected()
            a.broadcast(fresh, "{\"n\":4}")
            try await eventually { b.sink.received(.room(fresh)).contains("{\"n\":4}") }
            #expect(b.sink.received(.room(fresh)) == ["{\"n\":3}", "{\"n\":4}"])
        }

        /// A hole in the middle of live traffic, as when the sender's outbox overflowed.
        @Test func aHoleIsFilledBeforeWhatComesBehindIt() async throws {
            let redis = try await RedisServer.start()
            var configuration = try Self.configuration(redis)
            configuration.outboxBytes = 4_000
            let a = try TestNode("a", configuration, shards: 1), b = try TestNode("b", configuration, shards: 1)
            for node in [a, b] { try await node.connected() }
            let traffic = try Traffic([a, b])
            try await traffic.join(redis)
            traffic.publish(a, 20)
            try await eventually { traffic.verdict(b, of: a).lost == 0 }
            try await redis.redisCLI("CLIENT", "KILL", "TYPE", "normal")
            try await eventually { a.bridge.status != .connected }
            for _ in 0..<40 { traffic.publish(a, 10) }
            try await a.connected()
            traffic.publish(a, 20)
            #expect(await traffic.faults().isEmpty)
            let (sender, receiver) = (await a.bridge.statistics(), await b.bridge.statistics())
            #expect(sender.relayDropped["outbox_bytes", default: 0] > 0)
            #expect(receiver.healed >= sender.relayDropped["outbox_bytes", default: 0])
            #expect(receiver.unrecoverable == 0)
        }
    }
}

extension RedisServer {
    /// Kills one node's connection for subscriptions.
    func killSubscriptions(of node: TestNode) async throws {
        let list = try await redisCLI("CLIENT", "LIST", "TYPE", "pubsub")
        for line in list.split(separator: "\n") where line.contains("name=conduit-\(node.id) ") {
            guard let id = line.split(separator: " ").first?.dropFirst(3) else { continue }
            try await redisCLI("CLIENT", "KILL", "ID", String(id))
        }
    }
}
