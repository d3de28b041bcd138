import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTesting
import Testing

/// The stream `p:events`: what clients cause in it is wished for, and bounded.
@Suite(.timeLimit(.minutes(5))) struct EventTests {
    private func count(_ event: String, _ redis: RedisServer) async throws -> Int {
        try await redis.redisCLI("XRANGE", "conduit:events", "-", "+").components(of: event)
    }

    @Test func clientsAreToldOfWhenThatIsWished() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.clientEvents = true
        let a = try TestNode("a", configuration), quiet = try await TestNode.start("quiet", redis)
        try await a.connected()
        let user = try #require(UserID("ann {1}"))
        for node in [a, quiet] {
            let client = try node.client("k")
            node.bridge.relay([.connected(client: client, user: user)], fromShard: 0)
            node.bridge.relay([.disconnected(client: client, user: user, reason: .slowConsumer)], fromShard: 0)
        }
        try await eventually { try await count("client_disconnected", redis) == 1 }
        let text = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+")
        for word in ["client_connected", "ann {1}", "3008", try a.client("k").rawValue] { #expect(text.contains(word)) }
        #expect(!text.contains(try quiet.client("k").rawValue))
    }

    @Test func moreThanIsAllowedIsCounted() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.clientEvents = true
        configuration.eventsPerSecond = 5
        let a = try TestNode("a", configuration)
        try await a.connected()
        let client = try a.client("k")
        a.bridge.relay(Array(repeating: .connected(client: client, user: nil), count: 1_000), fromShard: 0)
        try await eventually { await a.bridge.statistics().eventsDropped["client_connected"] ?? 0 > 0 }
        let dropped = Int(await a.bridge.statistics().eventsDropped["client_connected"] ?? 0)
        try await eventually { try await count("client_connected", redis) == 1_000 - dropped }
        #expect(dropped > 900)
        // What nodes do is never left out.
        a.bridge.setState(.draining)
        try await eventually { try await count("node_draining", redis) == 1 }
    }

    @Test func roomsAreToldOfUnlessThatIsUnwanted() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.roomEvents = false
        let mute = try TestNode("mute", configuration), a = try await TestNode.start("a", redis)
        try await mute.connected()
        try mute.join(try room("silence"), "x")
        try await eventually { try await redis.redisCLI("HLEN", "conduit:members:{silence}") == "1" }
        try a.join(try room("lobby"), "x")
        try await eventually { try await count("room_occupied", redis) == 1 }
        #expect(try await redis.redisCLI("XRANGE", "conduit:events", "-", "+").contains("lobby"))
    }
}
