import ConduitCore
import ConduitWire
import NIOCore
import Testing

@testable import ConduitBench

/// What is sent, and how it is found again in what comes back.
@Suite struct MessageTests {
    static let marks = [
        DeliveryMark(publisher: 0, number: 0, due: 0), DeliveryMark(publisher: 0xF_FFFF, number: .max, due: .max),
        DeliveryMark(publisher: 0xABCDE, number: 0x1234_5678, due: 0x9ABC_DEF0_1234_5678),
    ]

    @Test(arguments: marks) func markIsReadAsItWasWritten(_ mark: DeliveryMark) {
        var buffer = ByteBuffer(string: String(repeating: ".", count: 40))
        mark.set(in: &buffer, at: 3, key: 0)
        #expect(DeliveryMark.read(buffer, at: 3) == mark)
        #expect(DeliveryMark.find(in: buffer, range: 0..<40) == 3)
        #expect(DeliveryMark.find(in: buffer, range: 0..<34) == nil)
        #expect(DeliveryMark.read(buffer, at: 2) == nil)
        #expect(DeliveryMark.read(buffer, at: 20) == nil)
    }

    @Test func anythingElseIsNoMark() {
        var buffer = ByteBuffer(string: String(repeating: ".", count: 32))
        Self.marks[2].set(in: &buffer, at: 0, key: 0)
        for index in 0..<32 {
            var changed = buffer
            changed.setInteger(UInt8(ascii: "G"), at: index)
            #expect(DeliveryMark.read(changed, at: 0) == nil, "\(index)")
        }
    }

    @Test(arguments: [40, 100, 126, 200, 70_000], marks)
    func templateGivesAFrameThatAServerUnderstands(_ size: Int, _ mark: DeliveryMark) throws {
        let template = MessageTemplate.broadcast(room: "r", payloadBytes: size, mask: 0x1234_ABCD)
        var bytes = ByteBuffer()
        template.write(mark, to: &bytes)
        template.write(mark, to: &bytes)
        #expect(bytes.readableBytes == 2 * template.byteCount)
        var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20)
        for _ in 0..<2 {
            guard case .text(let text) = try parser.next(from: &bytes) else {
                Issue.record("no text")
                return
            }
            let broadcast = try CommandDecoder.decode(text).broadcast()
            #expect(broadcast.room?.rawValue == "r")
            #expect(broadcast.payload.readableBytes == size)
            let index = try #require(DeliveryMark.find(in: text, range: text.readerIndex..<text.writerIndex))
            #expect(DeliveryMark.read(text, at: index) == mark)
        }
    }

    @Test(arguments: [40, 41, 126, 70_000], marks)
    func markIsTheIDToo(_ size: Int, _ mark: DeliveryMark) throws {
        let template = MessageTemplate.broadcast(room: "r", payloadBytes: size, acks: true, mask: 0x1234_ABCD)
        var bytes = ByteBuffer()
        template.write(mark, to: &bytes)
        var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 20)
        guard case .text(let text) = try parser.next(from: &bytes) else {
            Issue.record("no text")
            return
        }
        let command = try CommandDecoder.decode(text)
        #expect(try command.broadcast().payload.readableBytes == size)
        let string = String(buffer: text)
        let id = try #require(ServerText(string).string("id"))
        let copy = ByteBuffer(string: id)
        #expect(DeliveryMark.read(copy, at: 0) == mark)
        #expect(id.utf8.count == DeliveryMark.byteCount)
    }

    @Test func typeAndNumberAreReadInPlace() {
        let text = "xx{\"type\":\"presence_diff\",\"data\":{\"count\":1,\"info\":0,\"count\":4711,\"users\":3}}"
        var buffer = ByteBuffer(string: text)
        let range = 2..<text.utf8.count
        #expect(ServerText.hasType("presence_diff", buffer, range))
        #expect(!ServerText.hasType("presence", buffer, range))
        #expect(!ServerText.hasType("presence_diff", buffer, 2..<20))
        #expect(!ServerText.hasType("presence_diff", buffer, 1..<text.utf8.count))
        #expect(ServerText.lastNumber("count", buffer, range) == 4711)
        #expect(ServerText.lastNumber("users", buffer, range) == 3)
        #expect(ServerText.lastNumber("offset", buffer, range) == nil)
        #expect(ServerText.lastNumber("type", buffer, range) == nil)
        buffer.moveReaderIndex(forwardBy: 2)
        #expect(ServerText.hasType("presence_diff", buffer, range))
        #expect(ServerText.lastNumber("count", buffer, range) == 4711)
    }

    @Test func attendanceCountsTheBusiestSecond() {
        var attendance = Attendance()
        let second: UInt64 = 1_000_000_000
        for time in [0, second / 2, second - 1, second, 3 * second] { attendance.told(2, at: 10 + time) }
        #expect(attendance.mostASecond == 3)
        // It knew from the first on.
        #expect(attendance.toldAt == 10)
        attendance.told(3, at: 5 * second)
        #expect(attendance.toldAt == 5 * second && attendance.count == 3)
    }

    @Test func clientFramesAreMasked() throws {
        var bytes = ByteBuffer()
        ClientFrame.writeText("{\"type\":\"status\"}", mask: 0xDEAD_BEEF, to: &bytes)
        ClientFrame.writeClose(code: 1000, mask: 1, to: &bytes)
        var parser = WebSocketFrameParser(maximumMessageBytes: 100)
        #expect(try parser.next(from: &bytes) == .text(ByteBuffer(string: "{\"type\":\"status\"}")))
        #expect(try parser.next(from: &bytes) == .close(code: 1000, reason: ByteBuffer()))
    }

    @Test func framesAreFoundWhereTheyLie() {
        var buffer = ByteBuffer(bytes: [0xFF])
        buffer.moveReaderIndex(forwardBy: 1)
        buffer.writeBytes([0x81, 3, 1, 2, 3])
        buffer.writeBytes([0x01, 126, 0, 200])
        #expect(
            ServerFrame.scan(buffer, at: 1)
                == .frame(ServerFrame(opcode: 1, isFinal: true, start: 3, length: 3)))
        #expect(ServerFrame.scan(buffer, at: 6) == .incomplete)
        buffer.writeRepeatingByte(0, count: 200)
        #expect(
            ServerFrame.scan(buffer, at: 6)
                == .frame(ServerFrame(opcode: 1, isFinal: false, start: 10, length: 200)))
        #expect(ServerFrame.scan(buffer, at: buffer.writerIndex) == .incomplete)
    }

    @Test(arguments: [[0xC1, 0], [0x81, 0x80], [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]] as [[UInt8]])
    func framesThatNoServerSendsAreRefused(_ bytes: [UInt8]) {
        guard case .invalid = ServerFrame.scan(ByteBuffer(bytes: bytes), at: 0) else {
            Issue.record("accepted")
            return
        }
    }

    @Test func eventsAreAskedForTheirParts() {
        let status = ServerText("{\"type\":\"status\",\"data\":{\"client_id\":\"c\",\"node_id\":\"n-1\",\"rooms\":[]}}")
        #expect(status.type == "status")
        #expect(status.string("node_id") == "n-1")
        #expect(status.string("nothing") == nil)
        let error = ServerText("{\"type\":\"error\",\"data\":{\"code\":\"not_in_room\",\"message\":\"join first\"}}")
        #expect(error.error == "not_in_room: join first")
        #expect(ServerText("{\"type\":\"x").type == nil)
        #expect(ServerText("").type == nil)
    }
}
