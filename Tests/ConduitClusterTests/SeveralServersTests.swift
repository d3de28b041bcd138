import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

extension UnderTraffic {
    /// Two Redis servers that know nothing of each other.
    @Suite(.timeLimit(.minutes(5))) struct SeveralServersTests {
        private func configuration(_ servers: RedisServer...) throws -> ClusterConfiguration {
            var configuration = try TestNode.configuration(servers.first)
            configuration.furtherRedis = try servers.dropFirst().map {
                var redis = try RedisConfiguration(url: $0.url)
                redis.reconnectMax = .milliseconds(200)
                return redis
            }
            return configuration
        }

        /// A room that lives on each server.
        private func rooms(_ configuration: ClusterConfiguration) throws -> [RoomName] {
            try (0..<configuration.servers.count).map { index in
                try #require(
                    try (0..<100).map { try room("room-\($0)") }.first { configuration.choice.index(of: $0) == index })
            }
        }

        @Test func eachRoomAndUserLivesOnOneServerAndEverythingCrosses() async throws {
            let first = try await RedisServer.start(), second = try await RedisServer.start()
            let configuration = try configuration(first, second)
            let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
            for node in [a, b] { try await node.connected() }
            for node in [a, b] { try await node.knows(2) }
            for (place, server) in zip(try rooms(configuration), [first, second]) {
                try a.join(place, "x", user: "u")
                try b.join(place, "y")
                try await eventually { try await server.subscribers(a, place) == 2 }
                a.broadcast(place, "{\"n\":1}", "{\"n\":2}")
                try await eventually { b.sink.received(.room(place)) == ["{\"n\":1}", "{\"n\":2}"] }
                try await b.waitForRoster(place, ["a.x", "b.y"])
                #expect(try await server.redisCLI("HLEN", "conduit:members:{\(place)}") == "2")
                let members = try await ClusterReader.withServer(of: place, in: configuration) {
                    try await $0.members(of: place)
                }
                #expect(members.map(\.client.rawValue) == ["a.x", "b.y"])
            }
            for server in [first, second] {
                #expect(try await server.redisCLI("ZCARD", "conduit:nodes") == "2")
                // What a node shows of itself is the whole node, on every server.
                try await eventually {
                    try await server.redisCLI("HGET", "conduit:node:a", "relay_published") == "4"
                }
            }
            a.bridge.relay([.broadcastAll(message: message("{\"all\":1}"))], fromShard: 0)
            try await eventually { b.sink.received(.all).count == 2 }
            await a.bridge.drain(within: .seconds(60))
            for server in [first, second] {
                #expect(try await server.redisCLI("EXISTS", "conduit:node:a", "conduit:node:a:rooms") == "0")
            }
            for place in try rooms(configuration) { try await b.waitForRoster(place, ["b.y"]) }
        }

        @Test func countedSendsAndDisconnectionsFindTheUsersServer() async throws {
            let first = try await RedisServer.start(), second = try await RedisServer.start()
            let configuration = try configuration(first, second)
            let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
            for node in [a, b] { try await node.connected() }
            for node in [a, b] { try await node.knows(2) }
            for number in 0..<8 {
                let user = try #require(UserID("user-\(number)"))
                let server = [first, second][configuration.choice.index(of: user)]
                b.sink.hold(.user(user), shard: 1, count: 3)
                b.bridge.relay([.connected(client: try b.client("c"), user: user)], fromShard: 1)
                try await eventually {
                    try await server.redisCLI("PUBSUB", "NUMSUB", "conduit:user:{\(user)}").hasSuffix("1")
                }
                let sender = try a.client("s\(number)")
                let token = DeliveryToken(origin: 0, number: UInt64(number) + 1)
                let address = ReplyAddress(shard: 0, client: sender, request: RequestID(json: ByteBuffer(string: "1")))
                // Another shard of a reports before or behind the send itself.
                let report = HubEvent.delivered(token: token, count: 2)
                if number % 2 == 0 { a.bridge.relay([report], fromShard: 1) }
                let pending = PendingSend(token: token, delivered: 1, awaitedShards: 1, replyTo: address)
                a.bridge.relay(
                    [.send(target: .user(user), message: message("{\"n\":1}"), pending: pending)], fromShard: 0)
                if number % 2 == 1 { a.bridge.relay([report], fromShard: 1) }
                try await eventually { !a.sink.received(.reply(sender)).isEmpty }
                #expect(a.sink.received(.reply(sender))[0].contains("\"delivered_to\":6"))
                a.bridge.disconnect(user)
                try await eventually { !b.sink.received(.disconnect(.user(user), 3503)).isEmpty }
            }
        }

        @Test func oneServerAwayDegradesItsRoomsOnlyAndLosesNothingOfTheOther() async throws {
            let first = try await RedisServer.start(), second = try await RedisServer.start()
            let configuration = try configuration(first, second)
            let a = try TestNode("a", configuration), b = try TestNode("b", configuration)
            for node in [a, b] { try await node.connected() }
            for node in [a, b] { try await node.knows(2) }
            let places = try rooms(configuration)
            for (place, server) in zip(places, [first, second]) {
                try b.join(place, "y")
                try await eventually { try await server.subscribers(a, place) == 1 }
            }
            try await second.kill()
            try await eventually { a.bridge.status.name == "degraded" && b.bridge.status.name == "degraded" }
            for number in 0..<50 {
                for place in places { a.broadcast(place, "{\"n\":\(number)}") }
            }
            let all = (0..<50).map { "{\"n\":\($0)}" }
            try await eventually { b.sink.received(.room(places[0])) == all }
            #expect(b.sink.received(.room(places[1])).isEmpty)
            #expect(b.sink.observed(places[0], "room_state").isEmpty)
            try await second.restart()
            for node in [a, b] { try await node.connected() }
            try await eventually { b.sink.received(.room(places[1])) == all }
        }
    }
}
