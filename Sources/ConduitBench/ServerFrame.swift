package import NIOCore

/// Where one frame of a server lies in a receive buffer. Nothing is copied; a load generator looks only for a mark.
package struct ServerFrame: Sendable, Hashable {
    package var opcode: UInt8
    package var isFinal: Bool
    /// Index of the first byte of the payload.
    package var start: Int
    package var length: Int
    /// Index of the byte after the payload.
    package var end: Int { start + length }
    package var range: Range<Int> { start..<end }

    package enum Scan: Sendable, Hashable {
        case frame(ServerFrame)
        /// More bytes are needed.
        case incomplete
        case invalid(String)
    }

    /// Frames above this are refused: nothing that a run sends comes back so long.
    package static let maximumLength = 16 << 20

    /// Looks at what stands from `index` to the end of the readable bytes.
    package static func scan(_ buffer: ByteBuffer, at index: Int) -> Scan {
        let available = buffer.writerIndex - index
        guard available >= 2, let head = buffer.getInteger(at: index, as: UInt16.self) else { return .incomplete }
        guard head & 0x7000 == 0 else { return .invalid("a frame with a reserved bit") }
        guard head & 0x80 == 0 else { return .invalid("a masked frame") }
        var length = Int(head & 0x7F)
        var start = index + 2
        if length == 126 {
            guard let long = buffer.getInteger(at: start, as: UInt16.self) else { return .incomplete }
            length = Int(long)
            start += 2
        } else if length == 127 {
            guard let long = buffer.getInteger(at: start, as: UInt64.self) else { return .incomplete }
            guard long <= UInt64(maximumLength) else { return .invalid("a frame of \(long) bytes") }
            length = Int(long)
            start += 8
        }
        guard buffer.writerIndex - start >= length else { return .incomplete }
        return .frame(
            ServerFrame(
                opcode: UInt8(head >> 8 & 0xF), isFinal: head & 0x8000 != 0, start: start, length: length))
    }
}
