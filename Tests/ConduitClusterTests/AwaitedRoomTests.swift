import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(5))) struct AwaitedRoomTests {
    private func isLive(_ node: TestNode, _ room: RoomName, shard: Int = 0) -> Bool {
        node.sink.received.contains { $0.shard == shard && $0.kind == .live(room) }
    }

    @Test func whoeverHasJoinedMissesNothingThatIsSentFromThenOn() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis), b = try await TestNode.start("b", redis)
        for number in 0..<200 {
            let place = try room("room \(number)")
            try b.join(place, "y")
            // Closer than a sleep: what is sent in the very moment of the confirmation must arrive too.
            while !isLive(b, place) { await Task.yield() }
            a.broadcast(place, "{\"n\":\(number)}")
        }
        try await eventually { b.sink.received.count { $0.json.hasPrefix("{\"n\":") } == 200 }
        #expect(await b.bridge.statistics().relayDropped.isEmpty)
    }

    @Test func everyShardIsTold() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis, shards: 3)
        #expect(a.bridge.confirmsRooms)
        let lobby = try room("lobby")
        try a.join(lobby, "x", shard: 0)
        try a.join(lobby, "y", shard: 2)
        try a.join(lobby, "z", shard: 2)
        try await eventually { isLive(a, lobby, shard: 0) && isLive(a, lobby, shard: 2) }
        // One that comes when the room is subscribed already, and one that comes back while it lingers.
        try a.join(lobby, "w", shard: 1)
        try await eventually { isLive(a, lobby, shard: 1) }
        for (name, shard) in [("x", 0), ("y", 2), ("z", 2), ("w", 1)] { try a.leave(lobby, name, shard: shard) }
        try a.join(lobby, "x", shard: 0)
        try await eventually { a.sink.received.count { $0.kind == .live(lobby) } == 4 }
        #expect(a.sink.received.filter { $0.kind == .live(lobby) }.map(\.shard).sorted() == [0, 0, 1, 2])
    }

    @Test func nobodyWaitsForARedisThatIsAway() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis)
        configuration.redis?.commandTimeout = .milliseconds(500)
        let a = try TestNode("a", configuration)
        try await a.connected()
        // It takes the SUBSCRIBE and never answers: the join is answered when the link is given up.
        redis.pause()
        let before = try room("before")
        try a.join(before, "x")
        try await eventually { isLive(a, before) }
        try await eventually { a.bridge.status != .connected }
        #expect(!a.bridge.confirmsRooms)
        let after = try room("after")
        try a.join(after, "x")
        try await eventually { isLive(a, after) }
        redis.resume()
        try await a.connected()
        #expect(a.bridge.confirmsRooms)
    }
}
