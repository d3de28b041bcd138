import ConduitCore
import NIOCore
import Testing

@testable import ConduitWire

/// What waits for a client is told apart by its frames' ends alone.
@Suite struct OutgoingFrameTests {
    private func place(_ message: ServerMessage) -> (room: String, key: String?)? {
        let bytes = message.frame.readableBytesUInt8Span
        guard let frame = OutgoingFrame.next(in: bytes, at: 0), let place = frame.place(in: bytes) else { return nil }
        #expect(frame.range == 0..<bytes.count)
        return (text(bytes, place.room), place.key.map { text(bytes, $0) })
    }

    private func text(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
        String(buffer: ByteBuffer(copying: bytes.extracting(range)))
    }

    @Test(arguments: [0, 1, 100, 125, 126, 70_000]) func eventsHaveARoomAndPerhapsAKey(_ size: Int) throws {
        let payload = ByteBuffer(string: "\"" + String(repeating: "x", count: size) + "\"")
        let room = RoomName(literal: "a:b")
        let plain = try #require(place(EventEncoder.event(type: "t", payload: payload, room: room)))
        #expect(plain.room == "a:b" && plain.key == nil)
        let keyed = try #require(place(EventEncoder.event(type: "t", payload: payload, room: room, key: "k")))
        #expect(keyed.room == "a:b" && keyed.key == "k")
    }

    @Test(arguments: [#"a"b"#, #"\"#, #"\\"#, #"x\""#, #"","room":"y"#, #"","key":"y"#, "é", "\u{1F600}:z"])
    func namesMayHoldAnything(_ name: String) throws {
        let room = try #require(RoomName(name))
        let message = EventEncoder.event(type: "t", payload: ByteBuffer(string: "{}"), room: room, key: name)
        let bytes = message.frame.readableBytesUInt8Span
        let found = OutgoingFrame.next(in: bytes, at: 0)?.place(in: bytes)
        let place = try #require(found)
        #expect(OutgoingFrame.roomName(bytes.extracting(place.room)) == room)
        let key = try #require(place.key)
        #expect(OutgoingFrame.roomName(bytes.extracting(key)) == room)
    }

    @Test func nothingElseHasARoom() {
        let room = RoomName(literal: "r")
        func raw(_ json: String) -> ServerMessage { ServerMessage(json: ByteBuffer(string: json)) }
        let others = [
            EventEncoder.event(type: "t", payload: ByteBuffer(string: #"{"room":"r"}"#)),
            EventEncoder.event(type: "t", payload: ByteBuffer(string: #"",\"room\":\"r""#)),
            EventEncoder.event(type: "t", payload: ByteBuffer(string: "1"), room: room, offset: 3),
            EventEncoder.roomJoined(room, id: nil), EventEncoder.roomLeft(room, id: nil),
            EventEncoder.roomState(.gap, missed: 3, room: room),
            EventEncoder.error(RequestError(.internal, #","room":"r"#)),
            raw(#"{"type":"presence_diff","data":{},"room":"r"}"#), raw(#"{"type":"room_state","data":{},"room":"r"}"#),
            raw(""), raw("}"), raw(#""}"#), raw(#"{"key":"k"}"#), raw(#"{"data":1,"key":"k"}"#),
        ]
        for message in others { #expect(place(message) == nil, "\(String(buffer: message.json))") }
    }

    @Test func framesAreWalkedToWhereTheSocketStopped() {
        var bytes = ByteBuffer()
        var ends = [0]
        for size in [1, 200, 70_000, 0, 5] {
            let payload = ByteBuffer(string: "\"" + String(repeating: "y", count: size) + "\"")
            bytes.writeImmutableBuffer(EventEncoder.event(type: "t", payload: payload).frame)
            ends.append(bytes.writerIndex)
        }
        let span = bytes.readableBytesUInt8Span
        for offset in stride(from: 0, through: span.count, by: 7) {
            let end = OutgoingFrame.end(in: span, behind: offset)
            let index = ends.firstIndex { $0 >= offset } ?? -1
            #expect(end.offset == ends[index] && end.frames == index)
        }
        // Cut off and forged: one piece.
        let cut = ByteBuffer(bytes: [0x81, 0x7E, 0xFF])
        let end = OutgoingFrame.end(in: cut.readableBytesUInt8Span, behind: 1)
        #expect(end.offset == 3 && end.frames == 1)
        #expect(OutgoingFrame.next(in: ByteBuffer(bytes: [0x81, 0xFF]).readableBytesUInt8Span, at: 0) == nil)
    }

    @Test func aBroadcastKeepsItsKeyWhereThatIsWanted() throws {
        let request = ByteBuffer(
            string: #"{"type":"broadcast","data":{"room":"r","type":"t","payload":1,"key":"\u0061\"b"}}"#)
        let bytes = request.readableBytesUInt8Span
        let tokens = try CommandDecoder.decode(bytes).broadcast(in: bytes)
        let with = EventEncoder.event(for: tokens, in: bytes, withKey: true)
        let without = EventEncoder.event(for: tokens, in: bytes)
        #expect(String(buffer: with.json) == #"{"type":"t","data":1,"room":"r","key":"a\"b"}"#)
        #expect(String(buffer: without.json) == #"{"type":"t","data":1,"room":"r"}"#)
    }

    @Test(arguments: [4, 10, 64, 1_000]) func depthIsLimitedByTheNode(_ most: Int) throws {
        func isTaken(_ levels: Int) -> Bool {
            let inner = levels - 1
            let json =
                #"{"type":"echo","data":"# + String(repeating: "[", count: inner) + String(repeating: "]", count: inner)
                + "}"
            do throws(CommandError) {
                _ = try CommandDecoder.decode(ByteBuffer(string: json).readableBytesUInt8Span, maximumDepth: most)
                return true
            } catch {
                #expect(error.error.code == .badRequest && error.error.message.hasPrefix("nested too deeply"))
                return false
            }
        }
        let limit = min(most, 64)
        #expect(isTaken(limit) && !isTaken(limit + 1))
    }
}
