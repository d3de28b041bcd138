package import NIOCore

/// A masked frame with a hole for the mark: sending a message is one copy and 32 bytes.
package struct MessageTemplate: Sendable {
    /// The least payload that has room for a mark.
    package static let minimumPayload = DeliveryMark.byteCount + 8

    private let frame: ByteBuffer
    private let markIndex: Int
    /// The mask, turned to where the mark stands.
    private let key: UInt64
    /// The same for the `id`, where there is one: the mark again, so that an answer says what it answers.
    private let id: (index: Int, key: UInt64)?

    /// Bytes of one frame.
    package var byteCount: Int { frame.readableBytes }

    /// A text frame with `head`, a payload of `payloadBytes` that is a JSON object, and `tail`; `withID` puts an `id`
    /// before the tail's last brace.
    package init(head: String, payloadBytes: Int, tail: String, withID: Bool = false, mask: UInt32) {
        let before = head + "{\"m\":\""
        let padding = max(0, payloadBytes - Self.minimumPayload)
        var text = ByteBuffer(string: before)
        text.writeRepeatingByte(UInt8(ascii: "0"), count: DeliveryMark.byteCount)
        text.writeRepeatingByte(UInt8(ascii: "x"), count: padding)
        text.writeString("\"}")
        var idOffset: Int?
        if withID {
            text.writeString(tail.dropLast() + ",\"id\":\"")
            idOffset = text.readableBytes
            text.writeRepeatingByte(UInt8(ascii: "0"), count: DeliveryMark.byteCount)
            text.writeString("\"}")
        } else {
            text.writeString(tail)
        }
        var frame = ByteBuffer()
        ClientFrame.write(0x1, text, mask: mask, to: &frame)
        self.frame = frame
        let start = frame.readableBytes - text.readableBytes
        self.markIndex = start + before.utf8.count
        self.key = Self.key(mask, at: before.utf8.count)
        self.id = idOffset.map { (start + $0, Self.key(mask, at: $0)) }
    }

    /// The mask as it falls on eight bytes from an offset on.
    private static func key(_ mask: UInt32, at offset: Int) -> UInt64 {
        let turn = UInt32(offset % 4 * 8)
        let turned = turn == 0 ? mask : mask << turn | mask >> (32 - turn)
        return UInt64(turned) << 32 | UInt64(turned)
    }

    /// Publishes to a room; with `acks` it asks for an answer.
    package static func broadcast(
        room: String, payloadBytes: Int, acks: Bool = false, mask: UInt32
    ) -> MessageTemplate {
        MessageTemplate(
            head: "{\"type\":\"broadcast\",\"data\":{\"room\":\"\(room)\",\"type\":\"bench\",\"payload\":",
            payloadBytes: payloadBytes, tail: "}}", withID: acks, mask: mask)
    }

    /// Asks for an echo.
    package static func echo(payloadBytes: Int, mask: UInt32) -> MessageTemplate {
        MessageTemplate(head: "{\"type\":\"echo\",\"data\":", payloadBytes: payloadBytes, tail: "}", mask: mask)
    }

    /// Appends the frame with this mark.
    package func write(_ mark: DeliveryMark, to buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        buffer.writeImmutableBuffer(frame)
        mark.set(in: &buffer, at: start + markIndex, key: key)
        if let id { mark.set(in: &buffer, at: start + id.index, key: id.key) }
    }
}
