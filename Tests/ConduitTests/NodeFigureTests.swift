import Conduit
import ConduitTelemetry
import ConduitTesting
import Foundation
import Testing

/// The figures of whole nodes, where people read them: Redis, `/metrics`, the public API.
@Suite(.timeLimit(.minutes(8))) struct NodeFigureTests {
    private func field(_ name: String, of node: String, _ redis: RedisServer) async throws -> Int {
        Int(try await redis.redisCLI("HGET", "conduit:node:\(node)", name)) ?? -1
    }

    @Test func figuresAppearInRedisAndInMetrics() async throws {
        let begun = Date().timeIntervalSince1970
        let redis = try await RedisServer.start()
        let settings = [
            "CONDUIT_HEARTBEAT_PING_INTERVAL": "50ms", "CONDUIT_EVENTS_CLIENTS": "true",
            "CONDUIT_CLUSTER_HEARTBEAT": "100ms", "CONDUIT_CLUSTER_LEASE": "5s", "CONDUIT_NODE_EVENT_LOOPS": "2",
            "CONDUIT_ROOMS_CHAT_PRESENCE": "count",
        ]
        let a = try await NodeProcess.start("fig-a", redis: redis.url, settings)
        let b = try await NodeProcess.start("fig-b", redis: redis.url, settings)
        let ann = try await TestWebSocket.connect(port: a.port), bob = try await TestWebSocket.connect(port: b.port)
        for socket in [ann, bob] {
            #expect(try await socket.request("join_room", #"{"room":"chat:1"}"#).type == "room_joined")
        }
        for number in 0..<200 {
            try await ann.send(
                #"{"type":"broadcast","data":{"room":"chat:1","type":"n","payload":{"n":\#(number)}}}"#)
        }
        for number in 0..<200 { #expect(try await bob.next(type: "n").int("n") == number) }
        // They are of the last minute, and the list of the last seconds: on a busy machine those pass while this asks.
        func again() async throws {
            try await TestWebSocket.connect(port: a.port).close()
            try await ann.send(#"{"type":"broadcast","data":{"room":"chat:1","type":"more","payload":1}}"#)
        }
        for name in ["handshake_p99_us", "ping_p99_us", "local_p99_us", "local_p50_us", "redis_rtt_us"] {
            try await eventually(name) {
                try await again()
                return try await field(name, of: "fig-a", redis) > 0
            }
        }
        try await eventually("relay") {
            try await again()
            return try await field("relay_p99_us", of: "fig-b", redis) > 0
        }
        // The sender's node names the room, and for no longer than it is busy.
        try await eventually("busy") {
            try await again()
            guard try await redis.redisCLI("ZREVRANGE", "conduit:busy:fig-a", "0", "-1") == "chat:1" else {
                return false
            }
            return (1...5_000).contains(Int(try await redis.redisCLI("PTTL", "conduit:busy:fig-a")) ?? 0)
        }
        #expect(try await redis.redisCLI("EXISTS", "conduit:busy:fig-b") == "0")
        let events = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+")
        for name in ["client_connected", "room_occupied", "node_up"] { #expect(events.contains(name), "\(name)") }
        let page = try await a.administration("/metrics").body
        let lines = Set(page.split(separator: "\n").map(String.init))
        func value(_ series: String) -> Int {
            lines.first { $0.hasPrefix(series + " ") }.flatMap { $0.split(separator: " ").last }.flatMap { Int($0) }
                ?? -1
        }
        let published = value(#"conduit_namespace_messages_total{namespace="chat"}"#)
        #expect(published > 200)
        #expect(value(#"conduit_namespace_deliveries_total{namespace="chat"}"#) == published)
        #expect(lines.contains(#"conduit_namespace_members{namespace="chat"} 1"#))
        #expect(lines.contains(#"conduit_namespace_rooms{namespace="chat"} 1"#))
        #expect(value("conduit_handshake_seconds_count") > 1)
        for name in ["conduit_ping_round_trip_seconds", "conduit_redis_round_trip_seconds", "conduit_loop_lag_seconds"]
        {
            #expect(value("\(name)_count") > 0, "\(name)")
        }
        let start = lines.first { $0.hasPrefix("process_start_time_seconds ") }
            .flatMap { Double($0.split(separator: " ")[1]) }
        #expect((begun - 2...Date().timeIntervalSince1970 + 2).contains(start ?? 0))
        // Every family is one of the list, and says what the list says.
        for line in lines where line.hasPrefix("# TYPE ") {
            let words = line.split(separator: " ")
            #expect(MetricName.all.contains { $0.name == words[2] && $0.kind.rawValue == words[3] }, "\(line)")
        }
        try await ann.close()
        try await eventually("gone") {
            try await redis.redisCLI("XRANGE", "conduit:events", "-", "+").contains("client_disconnected")
        }
        try await eventually("calm") { try await redis.redisCLI("EXISTS", "conduit:busy:fig-a") == "0" }
    }

    @Test func roomsAndUsersOnSeveralLoopsCountOnce() async throws {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 3
        try await TestNode.with(configuration) { handshake in
            handshake.token.flatMap { UserID($0.value) }.map { Identity(user: $0) }
        } _: { node in
            var sockets: [TestWebSocket] = []
            for number in 0..<12 {
                let socket = try await node.connect(token: "user-\(number % 4)")
                _ = try await socket.request("join_room", #"{"room":"lobby"}"#)
                _ = try await socket.request("join_room", #"{"room":"x:\#(number % 2)"}"#)
                sockets.append(socket)
            }
            let full = await node.hub.statistics()
            #expect(full.rooms == 3 && full.users == 4 && full.clients == 12)
            #expect(full.namespaces["none"]?.rooms == 1 && full.namespaces["_other"]?.rooms == 2)
            #expect(full.namespaces["_other"]?.members == 12)
            let again = await node.hub.statistics()
            #expect(again.rooms == 3 && again.users == 4)
            for socket in sockets.dropFirst() { try await socket.close() }
            try await eventually { await node.hub.statistics().clients == 1 }
            let rest = await node.hub.statistics()
            #expect(rest.rooms == 2 && rest.users == 1, "\(rest.rooms) \(rest.users)")
            #expect(rest.namespaces["_other"]?.rooms == 1)
        }
    }
}
