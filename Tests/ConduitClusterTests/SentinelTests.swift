import ConduitCluster
import ConduitCore
import ConduitRedis
import ConduitTesting
import Foundation
import NIOCore
import Testing

extension UnderTraffic {
    /// A master that Sentinels watch, and what becomes of messages when another one takes its place.
    @Suite(.serialized, .timeLimit(.minutes(5))) struct SentinelTests {
        private func nodes(_ url: String) async throws -> [TestNode] {
            var configuration = try TestNode.configuration(nil)
            configuration.redis = try RedisConfiguration(url: url)
            configuration.redis?.reconnectMax = .milliseconds(200)
            configuration.redis?.topologyInterval = .milliseconds(500)
            // Many processes share few cores here: what starves for a moment is not dead.
            configuration.heartbeatMilliseconds = 1_000
            configuration.leaseMilliseconds = 6_000
            configuration.probeMilliseconds = 3_000
            let nodes = [try TestNode("a", configuration), try TestNode("b", configuration)]
            for node in nodes { try await node.connected() }
            for node in nodes { try await node.knows(2) }
            return nodes
        }

        private func subscribers(_ server: RedisServer) async throws -> String {
            try await server.redisCLI("PUBSUB", "NUMSUB", "conduit:all")
        }

        /// `kill`: the master dies. Otherwise it stays alive as a replica, and must be left all the same.
        @Test(arguments: [true, false])
        func aFailOverUnderTrafficReordersAndDoublesNothing(kill: Bool) async throws {
            let redis = try await RedisSentinel.start()
            let nodes = try await nodes(redis.url)
            let traffic = try await RoomTraffic(nodes, rooms: (0..<4).map { try room("room-\($0)") })
            traffic.start()
            try await traffic.reaches(100)
            if kill {
                try await redis.servers[0].kill()
            } else {
                try await redis.sentinels[0].redisCLI("SENTINEL", "FAILOVER", RedisSentinel.name)
            }
            try await eventually("another master") {
                try await redis.master()?.port == redis.servers[1].port
            }
            try await eventually("both nodes have moved") {
                try await self.subscribers(redis.servers[1]).hasSuffix("2")
            }
            for node in nodes { try await node.connected() }
            try await traffic.reaches(traffic.next + 100)
            let verdict = try await traffic.stop()
            #expect(verdict.isPerfect, "\(verdict)")
            print("fail-over, master \(kill ? "killed" : "demoted"): \(verdict)")
            if !kill { #expect(try await subscribers(redis.servers[0]).hasSuffix("0")) }
        }

        @Test func oneSentinelThatAnswersIsEnough() async throws {
            let redis = try await RedisSentinel.start()
            for sentinel in redis.sentinels.dropFirst() { try await sentinel.kill() }
            let nodes = try await nodes(redis.url)
            #expect(nodes.allSatisfy { $0.bridge.status == .connected })
            let rows = try await RedisClient.withConnection(RedisConfiguration(url: redis.url)) { client in
                try await ClusterReader(client: client, prefix: "conduit").nodes()
            }
            #expect(rows.map(\.node.rawValue) == ["a", "b"])
        }

        @Test func aNameThatNoSentinelKnowsIsSaid() async throws {
            let redis = try await RedisSentinel.start(replicas: 0)
            let url = redis.url.replacingOccurrences(of: "/\(RedisSentinel.name)", with: "/other")
            await #expect {
                try await RedisClient.withConnection(RedisConfiguration(url: url)) { _ = try await $0.send("PING") }
            } throws: { error in
                "\(error)".contains("no Sentinel names the master other")
            }
        }

        /// A Sentinel that was cut off may still name it.
        @Test func aReplicaIsNeverTakenForTheMaster() async throws {
            let master = try await RedisServer.start()
            let arguments = ["--replicaof", "127.0.0.1", String(master.port)]
            let replica = try await RedisServer.start(RedisServer.Options(arguments: arguments))
            var options = RedisServer.Options()
            options.isSentinel = true
            options.configuration = ["sentinel monitor mymaster 127.0.0.1 \(replica.port) 2"]
            let sentinel = try await RedisServer.start(options)
            let url = "redis+sentinel://127.0.0.1:\(sentinel.port)/mymaster"
            await #expect {
                try await RedisClient.withConnection(RedisConfiguration(url: url)) { _ = try await $0.send("PING") }
            } throws: { error in
                "\(error)".contains("replica")
            }
            var configuration = try TestNode.configuration(nil)
            configuration.redis = try RedisConfiguration(url: url)
            configuration.redis?.reconnectMax = .milliseconds(100)
            let node = try TestNode("a", configuration)
            try await eventually { node.bridge.status.name == "degraded" }
            // It becomes one after all.
            try await replica.redisCLI("REPLICAOF", "NO", "ONE")
            try await node.connected()
        }
    }
}
