import ConduitWire
package import NIOCore

/// Masked frames. The mask is one for a whole run: it has to be there, not to be a secret.
package enum ClientFrame {
    /// Appends one final frame.
    package static func write(
        _ opcode: UInt8, _ payload: ByteBuffer, mask: UInt32, to buffer: inout ByteBuffer
    ) {
        writeHeader(opcode, length: payload.readableBytes, mask: mask, to: &buffer)
        var payload = payload
        let count = payload.readableBytes
        // XOR is its own inverse: what takes a mask off puts it on. Lowest byte first, as the parser has it.
        buffer.writeUnmasked(from: &payload, count: count, mask: mask.byteSwapped, position: 0)
    }

    /// Appends a text frame.
    package static func writeText(_ text: String, mask: UInt32, to buffer: inout ByteBuffer) {
        write(0x1, ByteBuffer(string: text), mask: mask, to: &buffer)
    }

    /// Appends a close frame.
    package static func writeClose(code: UInt16, mask: UInt32, to buffer: inout ByteBuffer) {
        write(0x8, ByteBuffer(integer: code), mask: mask, to: &buffer)
    }

    private static func writeHeader(_ opcode: UInt8, length: Int, mask: UInt32, to buffer: inout ByteBuffer) {
        buffer.writeInteger(0x80 | opcode)
        switch length {
        case ..<126:
            buffer.writeInteger(UInt8(length) | 0x80)
        case ...0xFFFF:
            buffer.writeInteger(126 | 0x80 as UInt8)
            buffer.writeInteger(UInt16(length))
        default:
            buffer.writeInteger(127 | 0x80 as UInt8)
            buffer.writeInteger(UInt64(length))
        }
        buffer.writeInteger(mask)
    }
}
