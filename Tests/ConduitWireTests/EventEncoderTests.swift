import ConduitCore
import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import Testing

@Suite struct EventEncoderTests {
    let id = RequestID(json: ByteBuffer(string: "\"q\""))

    static func text(_ message: ServerMessage) -> String { String(buffer: message.json) }

    func member(_ name: String, user: String? = nil, info: String = "") throws -> Member {
        Member(
            client: try #require(ClientID("n1.\(name)")), user: user.flatMap { UserID($0) },
            node: try #require(NodeID("n1")), joinedAt: 1_795_473_000_123, info: Array(info.utf8))
    }

    @Test func envelopes() throws {
        let room = try #require(RoomName("a\"b"))
        let data = ByteBuffer(string: "[1, 2]")
        #expect(Self.text(EventEncoder.envelope(type: "t", data: data)) == #"{"type":"t","data":[1, 2]}"#)
        #expect(
            Self.text(EventEncoder.envelope(type: "t\n", data: data, id: id, room: room, offset: 7))
                == #"{"type":"t\n","data":[1, 2],"id":"q","room":"a\"b","offset":7}"#)
        #expect(
            Self.text(EventEncoder.event(type: "chat", payload: data, room: room))
                == #"{"type":"chat","data":[1, 2],"room":"a\"b"}"#)
    }

    @Test func answers() throws {
        let room = try #require(RoomName("r"))
        #expect(Self.text(EventEncoder.roomJoined(room, id: nil)) == #"{"type":"room_joined","data":{"room":"r"}}"#)
        #expect(Self.text(EventEncoder.roomLeft(room, id: id)) == #"{"type":"room_left","data":{"room":"r"},"id":"q"}"#)
        #expect(
            Self.text(EventEncoder.ack(deliveredTo: 3, id: id)) == #"{"type":"ack","data":{"delivered_to":3},"id":"q"}"#
        )
        #expect(
            Self.text(
                EventEncoder.error(
                    RequestError(.rateLimited, "slow \"down\"", retryAfterMilliseconds: 5), requestType: "echo", id: id)
            )
                == #"{"type":"error","data":{"code":"rate_limited","message":"slow \"down\"","request_type":"echo","retry_after_ms":5},"id":"q"}"#
        )
        #expect(
            Self.text(EventEncoder.reconnect(afterMilliseconds: 10, reason: .drain))
                == #"{"type":"reconnect","data":{"after_ms":10,"reason":"drain"}}"#)
        #expect(
            Self.text(EventEncoder.roomState(.gap, missed: 2, room: room))
                == #"{"type":"room_state","data":{"state":"gap","missed":2},"room":"r"}"#)
    }

    /// Answers a request in place, behind something else, and reads the frame.
    static func answer(
        _ request: String, _ write: (CommandTokens, Span<UInt8>, inout ByteBuffer) -> Void
    ) throws -> String? {
        let message = ByteBuffer(string: request)
        let bytes = message.readableBytesUInt8Span
        let tokens = try CommandDecoder.decode(bytes)
        var buffer = ByteBuffer(string: "before")
        write(tokens, bytes, &buffer)
        #expect(buffer.readString(length: 6) == "before")
        var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 24, role: .client)
        guard case .text(let text) = try parser.next(from: &buffer) else { return nil }
        #expect(buffer.readableBytes == 0)
        return String(buffer: text)
    }

    @Test func answersInPlace() throws {
        let ping = try Self.answer(#"{"type":"ping","data":12,"id":"q"}"#) {
            EventEncoder.writePong(to: $0, in: $1, into: &$2)
        }
        #expect(ping == #"{"type":"pong","data":{"timestamp":12},"id":"q"}"#)
        let bare = try Self.answer(#"{"type":"ping"}"#) { EventEncoder.writePong(to: $0, in: $1, into: &$2) }
        #expect(bare == #"{"type":"pong","data":{"timestamp":null}}"#)
        let echo = try Self.answer(#"{"type":"echo","data":{"a": "\n"}}"#) {
            EventEncoder.writeEcho(of: $0, in: $1, into: &$2)
        }
        #expect(echo == #"{"type":"echo","data":{"original":"{\"a\": \"\\n\"}"}}"#)
        let nothing = try Self.answer(#"{"id":7,"type":"echo"}"#) { EventEncoder.writeEcho(of: $0, in: $1, into: &$2) }
        #expect(nothing == #"{"type":"echo","data":{"original":"null"},"id":7}"#)
        let ack = try Self.answer(#"{"type":"broadcast","id":"q"}"#) {
            EventEncoder.writeAck(of: $0, in: $1, into: &$2)
        }
        #expect(ack == #"{"type":"ack","data":{},"id":"q"}"#)
    }

    /// Frames of every kind of length, with every kind of escape, against Foundation.
    @Test(arguments: [0, 1, 7, 40, 60, 125, 126, 127, 1_000, 1_030, 4_000, 65_000, 65_536, 90_000])
    func echoesOfAnyLength(_ length: Int) throws {
        var generator = SeededGenerator(seed: UInt64(length))
        let alphabet = Array(#"abcdefgh \\ \" \n \t ü😀 {}[]:,"#)
        var text = ""
        while text.utf8.count < length { text.append(alphabet.randomElement(using: &generator) ?? "a") }
        // Two spaces and a line's end stand outside of strings: JSON allows them raw.
        let data = " \n\t" + String(decoding: try JSONEncoder().encode([text]), as: UTF8.self)
        let answer = try #require(
            try Self.answer(#"{"type":"echo","data":\#(data)}"#) { EventEncoder.writeEcho(of: $0, in: $1, into: &$2) })
        let object = try #require(try JSONSerialization.jsonObject(with: Data(answer.utf8)) as? [String: Any])
        let original = (object["data"] as? [String: Any])?["original"] as? String
        #expect(original == String(data.drop { $0.isWhitespace }))
    }

    @Test func broadcastsAreCopied() throws {
        func event(_ text: String) throws -> String {
            let message = ByteBuffer(string: text)
            let bytes = message.readableBytesUInt8Span
            return Self.text(EventEncoder.event(for: try CommandDecoder.decode(bytes).broadcast(in: bytes), in: bytes))
        }
        #expect(
            try event(#"{"type":"broadcast","data":{"room":"r","type":"t","payload":{"n": 1}}}"#)
                == #"{"type":"t","data":{"n": 1},"room":"r"}"#)
        #expect(try event(#"{"type":"broadcast","data":{"type":"t"}}"#) == #"{"type":"t","data":null}"#)
        #expect(
            try event(#"{"type":"broadcast","room":"\u0061\"","data":{"type":"\u0062\n","payload":[]}}"#)
                == #"{"type":"b\n","data":[],"room":"a\""}"#)
    }

    @Test func status() throws {
        let status = ClientStatus(
            client: try #require(ClientID("n1.abc")), user: nil, node: try #require(NodeID("n1")),
            connectedAt: 1_000, lastHeartbeat: 61_005, now: 62_007,
            rooms: try ["a", "b"].map { try #require(RoomName($0)) })
        #expect(
            Self.text(EventEncoder.status(status, id: nil))
                == #"{"type":"status","data":{"client_id":"n1.abc","user_id":"","connected_at":"1970-01-01T00:00:01.000Z","connection_duration":61.007,"last_heartbeat":"1970-01-01T00:01:01.005Z","node_id":"n1","rooms":["a","b"]}}"#
        )
    }

    @Test func presence() throws {
        let room = try #require(RoomName("r"))
        let one = try member("a", user: "u", info: #"{"n":1}"#)
        let two = try member("b")
        let oneJSON =
            #"{"client_id":"n1.a","user_id":"u","info":{"n":1},"node_id":"n1","joined_at":"2026-11-23T22:30:00.123Z"}"#
        let twoJSON =
            #"{"client_id":"n1.b","user_id":"","info":null,"node_id":"n1","joined_at":"2026-11-23T22:30:00.123Z"}"#
        #expect(
            Self.text(
                EventEncoder.presence(room: room, count: 2, users: 1, members: [one, two], cursor: "n1.b", id: id))
                == "{\"type\":\"presence\",\"data\":{\"room\":\"r\",\"count\":2,\"users\":1,\"members\":[\(oneJSON),\(twoJSON)],\"cursor\":\"n1.b\"},\"id\":\"q\"}"
        )
        let diff = PresenceDiff(joined: [two], left: [.init(member: one, reason: .nodeLost)], count: 1, users: 0)
        #expect(
            Self.text(EventEncoder.presenceDiff(diff, room: room))
                == "{\"type\":\"presence_diff\",\"data\":{\"joined\":[\(twoJSON)],\"left\":[\(oneJSON.dropLast()),\"reason\":\"node_lost\"}],\"count\":1,\"users\":0},\"room\":\"r\"}"
        )
        let user = try #require(UserID("u\""))
        let users = PresenceDiff(count: 1, users: 0, usersJoined: [user, user], usersLeft: [user], countsOnly: true)
        #expect(
            Self.text(EventEncoder.presenceDiff(users, room: room))
                == #"{"type":"presence_diff","data":{"joined":[],"left":[],"count":1,"users":0,"users_joined":["u\"","u\""],"users_left":["u\""],"mode":"count"},"room":"r"}"#
        )
        #expect(
            Self.text(
                EventEncoder.presence(
                    room: room, count: 2, users: 1, members: [], cursor: nil, countsOnly: true, id: id))
                == #"{"type":"presence","data":{"room":"r","count":2,"users":1,"members":[],"mode":"count"},"id":"q"}"#)
    }

    @Test func stringsComeBackFromAnyParser() throws {
        let scalars = (0..<0x300).compactMap { Unicode.Scalar($0) } + ["\u{2028}", "\u{2029}", "\u{FFFF}", "😀"]
        let text = String(String.UnicodeScalarView(scalars))
        var buffer = ByteBuffer()
        buffer.writeJSONString(text)
        let theirs =
            try JSONSerialization.jsonObject(
                with: Data(buffer.readableBytesView), options: [.fragmentsAllowed]) as? String
        #expect(theirs.map { Array($0.utf8) } == Array(text.utf8))
        var fromBytes = ByteBuffer()
        fromBytes.writeJSONString(ByteBuffer(string: text))
        #expect(fromBytes == buffer)
        let ours = buffer.text(of: try JSONScanner.document(buffer.readableBytesUInt8Span))
        #expect(Array(ours.utf8) == Array(text.utf8))
    }

    @Test func membersComeBack() throws {
        for member in [
            try member("a", user: "u\"😀", info: #"{"x":[1,2]}"#), try member("b"), try member("c", info: "\"s\""),
        ] {
            #expect(MemberCodec.decode(MemberCodec.encode(member)) == member)
        }
        var buffer = ByteBuffer()
        buffer.writeMember(try member("a"), reason: .disconnected)
        #expect(MemberCodec.decodeLeaving(buffer)?.reason == .disconnected)
    }

    @Test(arguments: [
        "", "null", "[]", "{}", #"{"client_id":"n1.a"}"#,
        #"{"client_id":"?","user_id":"","info":null,"node_id":"n1","joined_at":"2026-11-23T22:30:00.123Z"}"#,
        #"{"client_id":"n1.a","user_id":"","info":null,"node_id":"n 1","joined_at":"2026-11-23T22:30:00.123Z"}"#,
        #"{"client_id":"n1.a","user_id":"","info":null,"node_id":"n1","joined_at":"yesterday"}"#,
        #"{"client_id":"n1.a","user_id":"\u0001","info":null,"node_id":"n1","joined_at":"2026-11-23T22:30:00.123Z"}"#,
    ])
    func whatIsNoMemberIsRefused(_ text: String) {
        #expect(MemberCodec.decode(ByteBuffer(string: text)) == nil)
    }

    @Test func timesAreThoseOfTheCalendar() {
        #expect(Timestamp.text(0) == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp.text(951_782_399_999) == "2000-02-28T23:59:59.999Z")
        #expect(Timestamp.text(951_782_400_000) == "2000-02-29T00:00:00.000Z")
        #expect(Timestamp.text(-5) == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp.text(.max) == "9999-12-31T23:59:59.999Z")
        for bad in ["2026-02-29T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "2026-01-01T24:00:00.000Z", "", "x"] {
            #expect(Timestamp.milliseconds(bad) == nil, "\(bad)")
        }
    }

    @Test func timesAgreeWithFoundation() {
        var generator = SeededGenerator(seed: 1)
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        for _ in 0..<500 {
            let time = Int64.random(in: 0...4_102_444_800_000, using: &generator)
            // Halfway between two milliseconds' worth, so that Foundation's binary fractions don't round down.
            let theirs = Date(timeIntervalSince1970: (Double(time) + 0.25) / 1000).formatted(style)
            #expect(Timestamp.text(time) == theirs)
            #expect(Timestamp.milliseconds(theirs) == time)
        }
    }
}
