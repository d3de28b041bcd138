import ConduitCore
import ConduitWire
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

@Suite struct LifecycleTests {
    @Test func closeFrameIsAnsweredWithItsCode() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        try client.sendFrame(0x88, [0x03, 0xE8])
        #expect(try client.closeCode == 1000)
        harness.turn()
        #expect(!client.channel.isActive)
        #expect(harness.shards[0].snapshot().statistics.clients == 0)
    }

    @Test func nothingFollowsACloseFrame() throws {
        let harness = try ShardHarness()
        let client = try harness.connect(user: "ann")
        try client.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        _ = try client.events()
        harness.shards[0].disconnect(try #require(harness.shards[0].ids.first), .forceDisconnect)
        let room = try #require(RoomName("x"))
        let message = ServerText.message("m")
        harness.shards[0].publish(message, to: room)
        harness.shards[0].publishToEverybody(message)
        harness.shards[0].perform([.send(.user(try #require(UserID("ann"))), message, nil)])
        harness.turn()
        let frames = try client.frames()
        #expect(frames.count == 1)
        let only = try #require(frames.first)
        guard case .close(let code, _) = only else {
            Issue.record("no close frame")
            return
        }
        #expect(code == 3503)
        #expect(harness.roomEvents.contains("left x disconnected"))
    }

    @Test func connectAndDisconnectHooksAreCalled() throws {
        let seen = NIOLockedValueBox<[String]>([])
        var hooks = HubHooks()
        hooks.onConnect = { client in seen.withLockedValue { $0.append("+\(client.user?.rawValue ?? "")") } }
        hooks.onDisconnect = { _, reason in seen.withLockedValue { $0.append("-\(reason.code)") } }
        let harness = try ShardHarness(hooks: hooks)
        let client = try harness.connect(user: "ann")
        try client.sendFrame(0x82, [1])
        _ = try client.channel.finish(acceptAlreadyClosed: true)
        #expect(seen.withLockedValue { $0 } == ["+ann", "-1003"])
    }

    @Test func shutdownTellsThoseWhoUnderstandAndClosesAll() throws {
        let harness = try ShardHarness()
        let (plain, named) = (try harness.connect(), try harness.connect(subprotocol: "conduit.v1.json"))
        harness.shards[0].beginShutdown(.shutdown, spreadMilliseconds: 100)
        harness.turn()
        #expect(try plain.closeCode == 3001)
        let frames = try named.frames()
        #expect(frames.count == 2)
        let first = try #require(frames.first)
        guard case .text(let text) = first else {
            Issue.record("no reconnect event")
            return
        }
        #expect(try Envelope(text).type == "reconnect")
        #expect(throws: (any Error).self) { try harness.connect() }
    }

    @Test func aSlotThatIsUsedAgainGetsNothingOfItsForerunner() throws {
        let harness = try ShardHarness()
        let first = try harness.connect()
        try first.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        _ = try first.channel.finish(acceptAlreadyClosed: true)
        harness.turn()
        let second = try harness.connect()
        harness.shards[0].publish(ServerText.message("m"), to: try #require(RoomName("x")))
        harness.turn()
        #expect(try second.frames().isEmpty)
    }
}
