import ConduitCluster
import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

/// What has been delivered once is known for good, whatever happens to the one who sent it.
@Suite(.timeLimit(.minutes(5))) struct SequenceMemoryTests {
    private static let channel = "conduit:room:{lobby}"

    private func publish(_ redis: RedisServer, _ number: UInt64) async throws {
        try await redis.publish(Self.channel, .broadcast, sequence: number) { $0.writeString("{\"n\":\(number)}") }
    }

    @Test func whatALostNodeSendsAgainIsNotDeliveredTwice() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        for number in 1...3 as ClosedRange<UInt64> { try await publish(redis, number) }
        // It only starved: its lease ran out, its connection broke, and it sends again what wasn't answered.
        let ghost = try #require(NodeID("ghost"))
        try await redis.publish("conduit:ctl", .control) { ControlMessage.nodeDown(ghost, .lost).write(to: &$0) }
        for number in 2...4 as ClosedRange<UInt64> { try await publish(redis, number) }
        try await eventually { a.sink.received(.room(lobby)).last == "{\"n\":4}" }
        #expect(a.sink.received(.room(lobby)) == (1...4).map { "{\"n\":\($0)}" })
        #expect(await a.bridge.statistics().relayDuplicates == 2)
    }

    @Test func whatCameBeforeAnUnsubscribeIsNotDeliveredAgainAfterIt() async throws {
        let redis = try await RedisServer.start()
        let a = try await TestNode.start("a", redis)
        let lobby = try room("lobby")
        try a.join(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        for number in 1...3 as ClosedRange<UInt64> { try await publish(redis, number) }
        try await eventually { a.sink.received(.room(lobby)).count == 3 }
        try a.leave(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 0 }
        try a.join(lobby, "x")
        try await eventually { try await redis.subscribers(a, lobby) == 1 }
        try await publish(redis, 3)
        // What was sent while nobody listened is no gap.
        try await publish(redis, 9)
        try await eventually { a.sink.received(.room(lobby)).last == "{\"n\":9}" }
        #expect(a.sink.received(.room(lobby)).suffix(2) == ["{\"n\":3}", "{\"n\":9}"])
        let statistics = await a.bridge.statistics()
        #expect(statistics.relayDuplicates == 1)
        #expect(statistics.relayGaps == 0)
    }
}
