import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct RegistryTests {
    static let fields = [
        "version", "host", "address", "started_at", "state", "clients", "users", "rooms", "subscriptions",
        "presence_members", "messages_in", "deliveries", "bytes_out", "dropped", "slow_closed", "local_p50_us",
        "local_p99_us", "relay_p50_us", "relay_p99_us", "loop_lag_p99_us", "handshake_p99_us", "ping_p99_us", "accepts",
        "redis_rtt_us", "relay_published",
        "relay_received", "relay_dropped", "relay_gaps", "healed", "unrecoverable",
        "relay_expected", "relay_arrived", "relay_echoed", "relay_duplicates", "cpu_percent", "rss_bytes", "fds",
    ]

    @Test func everybodyCanReadTheClusterFromRedis() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        var statistics = HubStatistics()
        statistics.clients = 17
        a.sink.setStatistics(statistics)
        a.bridge.setState(.ready)
        let lobby = try room("lobby")
        try a.join(lobby, "x", user: "u")
        let configuration = try RedisConfiguration(url: redis.url)
        try await RedisClient.withConnection(configuration) { client in
            let reader = ClusterReader(client: client, prefix: "conduit")
            try await eventually { try await reader.nodes().first?.number("clients") == 17 }
            let rows = try await reader.nodes()
            #expect(rows.map(\.node) == [a.id, b.id])
            #expect(rows.map(\.state) == ["ready", "starting"])
            #expect(rows.allSatisfy { Set($0.fields.keys) == Set(Self.fields) })
            #expect(rows.allSatisfy { $0.heartbeatAgeMilliseconds < 20_000 })
            #expect((rows[0].number("redis_rtt_us") ?? 0) > 0)
            #expect((rows[0].number("rss_bytes") ?? 0) > 1_000_000)
            try await eventually { try await reader.members(of: lobby) == [try a.member("x", user: "u")] }
        }
        try await eventually { (Int(try await redis.redisCLI("XLEN", "conduit:series:a")) ?? 0) >= 3 }
        #expect(try await redis.redisCLI("XREVRANGE", "conduit:series:a", "+", "-", "COUNT", "1").contains("clients"))
        let lease = Int(try await redis.redisCLI("PTTL", "conduit:node:a")) ?? 0
        #expect((1...20_000).contains(lease))
        #expect(try await redis.redisCLI("XRANGE", "conduit:events", "-", "+").components(of: "node_up") == 2)
    }

    /// Above its `maxmemory` Redis refuses leases, heartbeats and rosters, and takes what is published.
    @Test func aFullRedisRefusesHeartbeatsAndEverythingElseGoesOn() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.leaseMilliseconds = 4_000
        let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
        for node in [a, b] { try await node.connected() }
        for node in [a, b] { try await node.knows(2) }
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try b.join(lobby, "y")
        for node in [a, b] { try await node.waitForRoster(lobby, ["a.x", "b.y"]) }
        try await redis.redisCLI("SETRANGE", "ballast", "4000000", "x")
        try await redis.redisCLI("CONFIG", "SET", "maxmemory", "1mb")
        for node in [a, b] {
            try await eventually { await node.bridge.statistics().heartbeatsRefused["oom"] ?? 0 >= 5 }
        }
        // Until the lease of both has run out by Redis's clock.
        let address = try RedisConfiguration(url: redis.url)
        func ages() async throws -> [Int64] {
            try await RedisClient.withConnection(address) { client in
                try await ClusterReader(client: client, prefix: "conduit").nodes().map(\.heartbeatAgeMilliseconds)
            }
        }
        try await eventually { try await ages().allSatisfy { $0 > 5_000 } }
        #expect(try await ages().count == 2)
        for node in [a, b] {
            #expect(node.bridge.status == .connected)
            #expect(await node.bridge.statistics().nodes == 2)
        }
        a.broadcast(lobby, "{\"n\":1}")
        for node in [b] { try await eventually { node.sink.received(.room(lobby)) == ["{\"n\":1}"] } }
        try a.join(lobby, "z")
        // There is room again.
        try await redis.redisCLI("CONFIG", "SET", "maxmemory", "0")
        try await eventually { try await ages().allSatisfy { $0 < 2_000 } }
        for node in [a, b] {
            try await node.knows(2)
            try await node.waitForRoster(lobby, ["a.x", "a.z", "b.y"])
            #expect(!node.sink.received.contains { $0.json.contains("\"users_left\":[\"") })
        }
        let refused = await a.bridge.statistics().heartbeatsRefused
        #expect(Set(refused.keys) == ["oom"])
        #expect(try await !redis.redisCLI("XRANGE", "conduit:events", "-", "+").contains("node_down"))
    }

    @Test func theSeriesIsCapped() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.seriesLength = 0
        let a = try TestNode("a", configuration)
        try await a.connected()
        try await eventually { try await redis.redisCLI("EXISTS", "conduit:node:a") == "1" }
        #expect(try await redis.redisCLI("EXISTS", "conduit:series:a") == "0")
    }

    @Test func aDeadSubscriptionIsNoticedAndRenewed() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        // The socket stays open, but nothing arrives any more: somebody has taken the subscription away.
        try await redis.redisCLI("CLIENT", "KILL", "TYPE", "pubsub")
        try await eventually { await a.bridge.statistics().reconnects >= 1 }
        try await a.connected()
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
    }

    @Test func countsComeFromAllNodes() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let c = try await TestNode.start("c", redis)
        let user = try #require(UserID("ann {1}"))
        for (node, shard, count) in [(a, 0, 0), (b, 0, 2), (b, 1, 1), (c, 1, 4)] {
            let client = try node.client("k\(shard)")
            node.bridge.relay([.connected(client: client, user: user)], fromShard: shard)
            node.sink.hold(.user(user), shard: shard, count: count)
        }
        let channel = ClusterKeys(prefix: "conduit").channel(.user(user))
        try await eventually { try await redis.redisCLI("PUBSUB", "NUMSUB", channel).hasSuffix("3") }
        func count(_ target: SendTarget, _ number: UInt64, delivered: Int, reports: [Int]) async throws -> String {
            let asker = try a.client("asker\(number)")
            let token = DeliveryToken(origin: 0, number: number)
            let address = ReplyAddress(
                shard: 0, client: asker, request: RequestID(json: ByteBuffer(string: "\(number)")))
            let pending = PendingSend(
                token: token, delivered: delivered, awaitedShards: reports.count, replyTo: address)
            // The other shard may report before the send itself arrives here.
            for report in reports { a.bridge.relay([.delivered(token: token, count: report)], fromShard: 1) }
            a.bridge.relay([.send(target: target, message: message("{\"m\":1}"), pending: pending)], fromShard: 0)
            try await eventually("ack \(number)") { !a.sink.received(.reply(asker)).isEmpty }
            return a.sink.received(.reply(asker))[0]
        }
        var number: UInt64 = 0
        // Who doesn't answer in a second isn't counted: a busy machine is asked again.
        func isCounted(_ target: SendTarget, delivered: Int, reports: [Int], as total: Int) async throws {
            try await eventually("\(target) has \(total)") {
                number += 1
                let answer = try await count(target, number, delivered: delivered, reports: reports)
                #expect(answer.contains("\"id\":\(number)"))
                return answer.contains("\"delivered_to\":\(total)")
            }
        }
        // 1 + 2 here, 3 on b, 4 on c.
        try await isCounted(.user(user), delivered: 1, reports: [2], as: 10)
        #expect(b.sink.received(.send(.user(user))).count == 2 * Int(number))
        let far = try b.client("k1")
        b.sink.hold(.client(far), shard: 1, count: 1)
        try await isCounted(.client(far), delivered: 0, reports: [0], as: 1)
        let here = try a.client("nobody")
        try await isCounted(.client(here), delivered: 0, reports: [0], as: 0)
        let nowhere = try #require(ClientID("unknown-node.abc"))
        try await isCounted(.client(nowhere), delivered: 0, reports: [0], as: 0)
        // A node that never answers: what is known after a second is the answer.
        try await redis.kill()
        try await eventually { a.bridge.status != .connected }
        #expect(try await count(.user(user), number + 1, delivered: 1, reports: [1]).contains("\"delivered_to\":2"))
    }

    @Test func disconnectReachesEveryNode() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        let user = try #require(UserID("ann"))
        b.bridge.relay([.connected(client: try b.client("k"), user: user)], fromShard: 1)
        try await eventually { await b.bridge.statistics().subscriptions == 1 }
        a.bridge.disconnect(user)
        try await eventually { b.sink.received.contains { $0.kind == .disconnect(.user(user), 3503) } }
        let client = try b.client("k")
        a.bridge.disconnect(client, .closed)
        try await eventually { b.sink.received.contains { $0.kind == .disconnect(.client(client), 3000) } }
        #expect(!a.sink.received.contains { $0.kind == .disconnect(.client(client), 3000) })
    }

    @Test func keysAreThoseOfTheContract() throws {
        let keys = ClusterKeys(prefix: "p")
        let odd = try room("a%b{c}:*d")
        #expect(keys.channel(.room(odd)) == "p:room:{a%25b%7Bc%7D:*d}")
        #expect(keys.members(of: odd) == "p:members:{a%25b%7Bc%7D:*d}")
        #expect(keys.topic(ofChannel: keys.channel(.room(odd))) == .room(odd))
        for topic in [
            BusTopic.everyone, .control, .node(try #require(NodeID("n.1"))), .user(try #require(UserID("ü"))),
        ] {
            #expect(keys.topic(ofChannel: keys.channel(topic)) == topic)
        }
        let strange = [
            "", "p", "p:", "p:room:{}", "p:room:{a", "p:room:{a{b}", "p:room:{a%2}", "p:room:{a%41}", "p:ctl:", "q:all",
            "p:ctl:a b", "p:allx", "p:room:x", "p:user:{}", "p:room:{\u{7}}",
        ]
        for channel in strange {
            #expect(keys.topic(ofChannel: channel) == nil, "\(channel)")
        }
    }
}
