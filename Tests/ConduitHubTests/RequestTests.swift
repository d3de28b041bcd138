import ConduitCore
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// Every default handler of the original package, and the answers to mistakes.
@Suite struct RequestTests {
    private func one(_ client: TestClient, _ text: String) throws -> Envelope {
        try client.send(text)
        let events = try client.events()
        #expect(events.count == 1)
        return try #require(events.first)
    }

    @Test func pingIsAnsweredWithItsDataAndID() throws {
        let client = try ShardHarness().connect()
        #expect(try one(client, #"{"type":"ping","data":17,"id":"a"}"#).text.contains(#""timestamp":17"#))
        #expect(try one(client, #"{"type":"ping","id":4}"#).object["id"] as? Int == 4)
    }

    @Test func pongIsSilentAndASignOfLife() throws {
        let client = try ShardHarness().connect()
        try client.send(#"{"type":"pong","data":1}"#)
        #expect(try client.frames().isEmpty)
    }

    @Test func echoGivesTheRawTextBack() throws {
        let client = try ShardHarness().connect()
        let answer = try one(client, #"{"type":"echo","data":{"a" : [1, "ü\n"]}}"#)
        #expect(answer.data["original"] as? String == #"{"a" : [1, "ü\n"]}"#)
    }

    @Test func statusTellsWhoWhereAndSinceWhen() throws {
        let client = try ShardHarness().connect(user: "ann")
        try client.send(#"{"type":"join_room","data":{"room":"b"}}"#)
        try client.send(#"{"type":"join_room","data":{"room":"a"}}"#)
        _ = try client.events()
        let status = try one(client, #"{"type":"status"}"#).data
        #expect(status["user_id"] as? String == "ann")
        #expect(status["node_id"] as? String == "test")
        #expect((status["client_id"] as? String)?.hasPrefix("test.") == true)
        #expect(status["rooms"] as? [String] == ["a", "b"])
        #expect(status["connection_duration"] as? Double != nil)
        #expect((status["connected_at"] as? String)?.hasSuffix("Z") == true)
        #expect((status["last_heartbeat"] as? String)?.hasSuffix("Z") == true)
    }

    @Test func joinAndLeaveAreAnsweredAndReported() throws {
        let harness = try ShardHarness()
        let client = try harness.connect(user: "ann")
        #expect(try one(client, #"{"type":"join_room","data":{"room":"x"},"id":1}"#).type == "room_joined")
        #expect(try one(client, #"{"type":"join_room","data":{"room":"x"}}"#).type == "room_joined")
        #expect(try one(client, #"{"type":"leave_room","data":{"room":"x"}}"#).type == "room_left")
        #expect(try one(client, #"{"type":"leave_room","data":{"room":"x"}}"#).code == "not_in_room")
        #expect(harness.roomEvents == ["joined x ann", "left x left"])
    }

    @Test func leavingTheNodeLeavesEveryRoom() throws {
        let harness = try ShardHarness()
        let client = try harness.connect(user: "ann")
        try client.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        try client.send(#"{"type":"join_room","data":{"room":"y"}}"#)
        _ = try client.channel.finish(acceptAlreadyClosed: true)
        harness.turn()
        #expect(harness.roomEvents.suffix(2).sorted() == ["left x disconnected", "left y disconnected"])
    }

    @Test(arguments: [
        ("nonsense", "bad_request"), ("[]", "bad_request"), ("{}", "bad_request"), (#"{"type":7}"#, "bad_request"),
        (#"{"type":"nobody"}"#, "unknown_type"), (#"{"type":"room_joined"}"#, "unknown_type"),
        (#"{"type":"join_room"}"#, "bad_request"), (#"{"type":"join_room","data":{"room":""}}"#, "bad_request"),
        (#"{"type":"join_room","data":{"room":"a\u0007"}}"#, "bad_request"),
        (#"{"type":"broadcast","data":{"room":"x","type":"pong","payload":1}}"#, "reserved_type"),
        (#"{"type":"broadcast","data":{"room":"x","type":"p\u006fng","payload":1}}"#, "reserved_type"),
        (#"{"type":"broadcast","data":{"room":"x"}}"#, "bad_request"),
        (#"{"type":"send","data":{"type":"m","payload":1}}"#, "bad_request"),
        (#"{"type":"history","data":{"room":"x"}}"#, "bad_request"),
        (#"{"type":"refresh","data":{"token":"x"}}"#, "bad_request"),
    ])
    func mistakesAreAnsweredAndTheConnectionLives(message: String, code: String) throws {
        let client = try ShardHarness().connect()
        let answer = try one(client, message)
        #expect(answer.type == "error")
        #expect(answer.code == code, "\(message)")
        #expect(try one(client, #"{"type":"ping"}"#).type == "pong")
    }

    @Test func tooLongARoomNameIsALimit() throws {
        let client = try ShardHarness().connect()
        let name = String(repeating: "x", count: 256)
        #expect(try one(client, #"{"type":"join_room","data":{"room":"\#(name)"}}"#).code == "limit_exceeded")
    }

    @Test func roomsPerClientAreLimited() throws {
        var configuration = HubConfiguration()
        configuration.roomsPerClient = 2
        let client = try ShardHarness(configuration: configuration).connect()
        #expect(try one(client, #"{"type":"join_room","data":{"room":"1"}}"#).type == "room_joined")
        #expect(try one(client, #"{"type":"join_room","data":{"room":"2"}}"#).type == "room_joined")
        #expect(try one(client, #"{"type":"join_room","data":{"room":"3"}}"#).code == "limit_exceeded")
    }

    @Test func anAuthenticatedClientPublishesToItsOwnRoomsOnly() throws {
        let harness = try ShardHarness()
        let client = try harness.connect(identity: Identity(user: UserID("ann")))
        let publish = #"{"type":"broadcast","data":{"room":"x","type":"m","payload":1},"id":1}"#
        #expect(try one(client, publish).code == "not_in_room")
        let everybody = #"{"type":"broadcast","data":{"type":"m","payload":1}}"#
        #expect(try one(client, everybody).code == "permission_denied")
        try client.send(#"{"type":"join_room","data":{"room":"x"}}"#)
        _ = try client.events()
        try client.send(publish)
        #expect(try client.events().map(\.type) == ["m", "ack"])
    }

    @Test func binaryMessagesAreNotTaken() throws {
        let client = try ShardHarness().connect()
        try client.sendFrame(0x82, [1])
        #expect(try client.closeCode == 1003)
    }

    @Test func invalidUTF8ClosesWith1007() throws {
        let client = try ShardHarness().connect()
        try client.sendFrame(0x81, [0xFF])
        #expect(try client.closeCode == 1007)
    }

    @Test func overTheMessageLimitClosesWith1009AndHurtsNobodyElse() throws {
        let harness = try ShardHarness()
        let (big, other) = (try harness.connect(), try harness.connect())
        try big.send(#"{"type":"echo","data":"\#(String(repeating: "x", count: 512 * 1024))"}"#)
        #expect(try big.closeCode == 1009)
        #expect(try one(other, #"{"type":"ping"}"#).type == "pong")
    }

    @Test func pingFramesArePongedWithTheirPayload() throws {
        let client = try ShardHarness().connect()
        try client.sendFrame(0x89, [1, 2, 3])
        #expect(try client.frames() == [.pong(ByteBuffer(bytes: [1, 2, 3]))])
    }
}
