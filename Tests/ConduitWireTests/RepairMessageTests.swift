import ConduitCore
import ConduitWire
import NIOCore
import Testing

@Suite struct RepairMessageTests {
    private func samples() throws -> [ControlMessage] {
        let topics: [BusTopic] = [
            .room(try #require(RoomName("a%{b}ü"))), .user(try #require(UserID("u"))), .everyone,
            .node(try #require(NodeID("n.1"))),
        ]
        let wanted = topics.enumerated().map {
            RepairRequest.Wanted(topic: $0.element, last: UInt64($0.offset), ageMilliseconds: 77)
        }
        return [
            .repair(RepairRequest(request: 1, incarnation: 2, allMilliseconds: nil, topics: wanted)),
            .repair(RepairRequest(request: .max, incarnation: 0, allMilliseconds: 5, topics: [])),
            .repaired(
                RepairedMessage(
                    request: 3, ageMilliseconds: -4, topic: topics[0], payload: ByteBuffer(string: "payload"))),
            .repairEnd(RepairEnd(request: 3, lost: topics.map { RepairEnd.Lost(topic: $0, last: 1 << 40) })),
        ]
    }

    @Test func theyComeBackAsTheyWere() throws {
        for sample in try samples() {
            var bytes = ByteBuffer()
            sample.write(to: &bytes)
            #expect(ControlMessage(bytes) == sample)
        }
    }

    @Test func anythingElseIsNothing() throws {
        for sample in try samples() {
            var bytes = ByteBuffer()
            sample.write(to: &bytes)
            for length in 0..<bytes.readableBytes {
                let part = bytes.getSlice(at: 0, length: length)
                // A payload may be of any length, but never the whole message.
                let read = part.flatMap { ControlMessage($0) }
                if case .repaired = sample { #expect(read != sample) } else { #expect(read == nil) }
            }
            if case .repaired = sample { continue }
            bytes.writeInteger(0 as UInt8)
            #expect(ControlMessage(bytes) == nil, "a byte too many")
        }
        var huge = ByteBuffer()
        huge.writeInteger(6 as UInt8)
        huge.writeInteger(1 as UInt64)
        huge.writeInteger(1 as UInt64)
        huge.writeInteger(UInt32.max)
        huge.writeInteger(UInt32.max)
        #expect(ControlMessage(huge) == nil)
    }
}
