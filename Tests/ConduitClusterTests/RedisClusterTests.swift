import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

extension UnderTraffic {
    /// Three masters that share the slots, and what becomes of messages and rosters when slots move and masters die.
    @Suite(.serialized, .timeLimit(.minutes(5))) struct RedisClusterTests {
        private func nodes(_ redis: RedisCluster) async throws -> [TestNode] {
            var configuration = try TestNode.configuration(nil)
            configuration.redis = try RedisConfiguration(url: redis.url)
            configuration.redis?.reconnectMax = .milliseconds(200)
            configuration.redis?.topologyInterval = .milliseconds(500)
            var ordered = RoomPolicy()
            ordered.mode = .ordered
            configuration.rooms = RoomPolicies(namespaces: ["chat": ordered])
            // Many processes share few cores here: what starves for a moment is not dead.
            configuration.heartbeatMilliseconds = 1_000
            configuration.leaseMilliseconds = 6_000
            configuration.probeMilliseconds = 3_000
            let nodes = [try TestNode("a", configuration), try TestNode("b", configuration)]
            for node in nodes { try await node.connected() }
            for node in nodes { try await node.knows(2) }
            return nodes
        }

        @Test func everythingCrossesAndNothingIsLeftBehind() async throws {
            let redis = try await RedisCluster.start()
            let nodes = try await nodes(redis), a = nodes[0], b = nodes[1]
            for number in 0..<12 {
                let place = try room("room-\(number)")
                try a.join(place, "x", user: "u")
                try b.join(place, "y")
                try await a.waitForRoster(place, ["a.x", "b.y"])
                try await b.waitForRoster(place, ["a.x", "b.y"])
                a.broadcast(place, "{\"n\":1}", "{\"n\":2}")
                try await eventually { b.sink.received(.room(place)) == ["{\"n\":1}", "{\"n\":2}"] }
            }
            a.bridge.relay([.broadcastAll(message: message("{\"all\":1}"))], fromShard: 0)
            try await eventually { b.sink.received(.all).count == 2 }
            let user = try #require(UserID("u"))
            b.sink.hold(.user(user), shard: 1, count: 3)
            b.bridge.relay([.connected(client: try b.client("c"), user: user)], fromShard: 1)
            let sender = try a.client("s")
            try await eventually {
                let token = DeliveryToken(origin: 0, number: UInt64(Int.random(in: 1..<1_000_000_000)))
                let address = ReplyAddress(shard: 0, client: sender, request: RequestID(json: ByteBuffer(string: "1")))
                let pending = PendingSend(token: token, delivered: 1, awaitedShards: 0, replyTo: address)
                let before = a.sink.received(.reply(sender)).count
                a.bridge.relay(
                    [.send(target: .user(user), message: message("{\"n\":1}"), pending: pending)], fromShard: 0)
                try await eventually { a.sink.received(.reply(sender)).count > before }
                return a.sink.received(.reply(sender)).last?.contains("\"delivered_to\":4") == true
            }
            let rows = try await RedisClient.withConnection(RedisConfiguration(url: redis.url)) { client in
                try await ClusterReader(client: client, prefix: "conduit").nodes()
            }
            #expect(rows.map(\.node.rawValue) == ["a", "b"] && rows.allSatisfy { $0.state == "starting" })
            // A node that dies is cleaned up after, one that leaves cleans up itself.
            await b.bridge.abandon()
            try await a.waitForRoster(room("room-0"), ["a.x"])
            await a.bridge.drain(within: .seconds(60))
            var left: [String] = []
            for node in redis.masters {
                left += try await node.server.redisCLI("KEYS", "*").split(separator: "\n").map(String.init)
            }
            #expect(left.filter { !$0.contains(":series:") && $0 != "conduit:events" } == [], "\(left)")
        }

        @Test func slotsMovedUnderTrafficReorderAndDoubleNothing() async throws {
            let redis = try await RedisCluster.start()
            let nodes = try await nodes(redis)
            let traffic = try await RoomTraffic(nodes, rooms: (0..<6).map { try room("room-\($0)") })
            traffic.start()
            try await traffic.reaches(100)
            // The slots of a room with its roster, of a node's own channel, and of the list of nodes.
            for (count, key) in ["conduit:members:{room-0}", "conduit:ctl:a", "conduit:nodes"].enumerated() {
                let slot = try await redis.slot(of: key)
                let source = try await redis.owner(ofSlot: slot)
                let target = try #require(redis.masters.first { $0.id != source?.id })
                try await redis.move(slot: slot, to: target) {
                    // Half of the keys are there, the other half is here.
                    for node in nodes { try node.join(traffic.rooms[0], "late\(count)") }
                    try await traffic.reaches(traffic.next + 30)
                }
                try await traffic.reaches(traffic.next + 50)
            }
            try await traffic.reaches(traffic.next + 100)
            let verdict = try await traffic.stop()
            #expect(verdict.isPerfect, "\(verdict)")
            print("slots moved: \(verdict)")
            for node in nodes {
                let statistics = await node.bridge.statistics()
                #expect(statistics.reconnects == 0, "a moved slot takes only its own channels away")
                #expect(statistics.channelsMoved >= 1)
                #expect(statistics.relayDropped.isEmpty && node.bridge.status == .connected)
                let members = ["x", "late0", "late1", "late2"]
                try await node.waitForRoster(
                    traffic.rooms[0], Set(nodes.flatMap { node in members.map { "\(node.id).\($0)" } }))
            }
            // Control goes over a moved channel.
            nodes[1].bridge.disconnect(try nodes[0].client("x"))
            let target = SendTarget.client(try nodes[0].client("x"))
            try await eventually { !nodes[0].sink.received(.disconnect(target, 3503)).isEmpty }
        }

        /// A room's log, meta, keys and channel are one slot, which goes to another server, and then its server hands over
        /// to its replica; the third move is back.
        @Test func orderedRoomsKeepTheirOrderWhileTheirSlotMoves() async throws {
            let redis = try await RedisCluster.start(replicasEach: 1)
            let nodes = try await nodes(redis)
            let place = RoomName(literal: "chat:lobby")
            for node in nodes { try await node.joinOrdered(place, "m") }
            let traffic = OrderedTraffic(nodes, place)
            traffic.start()
            try await traffic.flow()
            let keys = ClusterKeys(prefix: "conduit")
            let slot = try await redis.slot(of: keys.log(of: place))
            let first = try #require(try await redis.owner(ofSlot: slot))
            let index = try #require(redis.masters.firstIndex { $0.id == first.id })
            let other = redis.masters[(index + 1) % redis.masters.count]
            for target in [other, first] {
                try await redis.move(slot: slot, to: target) {}
                try await traffic.flow()
            }
            try await redis.replicas[index].server.redisCLI("CLUSTER", "FAILOVER")
            try await eventually("the replica takes over") {
                try await redis.owner(ofSlot: slot)?.id == redis.replicas[index].id
            }
            try await traffic.flow()
            try await traffic.stop()
            try await traffic.check(nodes, "m")
        }

        /// `kill`: the master dies. Otherwise it gives its slots to its replica and lives on as one.
        @Test(arguments: [true, false])
        func aFailOverUnderTrafficReordersAndDoublesNothing(kill: Bool) async throws {
            let redis = try await RedisCluster.start(replicasEach: 1)
            let nodes = try await nodes(redis)
            let traffic = try await RoomTraffic(nodes, rooms: (0..<6).map { try room("room-\($0)") })
            traffic.start()
            try await traffic.reaches(100)
            let slot = try await redis.slot(of: "conduit:room:{room-0}")
            let old = try #require(try await redis.owner(ofSlot: slot))
            let index = try #require(redis.masters.firstIndex { $0.id == old.id })
            if kill {
                try await old.server.kill()
            } else {
                try await redis.replicas[index].server.redisCLI("CLUSTER", "FAILOVER")
            }
            try await eventually("the replica takes over") {
                try await redis.owner(ofSlot: slot)?.id == redis.replicas[index].id
            }
            let channel = ClusterKeys(prefix: "conduit").channel(.room(traffic.rooms[0]))
            try await eventually("both nodes have moved") {
                try await redis.replicas[index].server.redisCLI("PUBSUB", "SHARDNUMSUB", channel).hasSuffix("2")
            }
            for node in nodes { try await node.connected() }
            try await traffic.reaches(traffic.next + 100)
            let verdict = try await traffic.stop()
            #expect(verdict.isPerfect, "\(verdict)")
            print("fail-over in a cluster, master \(kill ? "killed" : "demoted"): \(verdict)")
        }

        @Test func aServerThatIsNoClusterIsSaid() async throws {
            let server = try await RedisServer.start()
            await #expect {
                let url = "redis+cluster://127.0.0.1:\(server.port)"
                try await RedisClient.withConnection(RedisConfiguration(url: url)) { _ = try await $0.send("PING") }
            } throws: { error in
                "\(error)".contains("cluster support disabled")
            }
        }
    }
}
