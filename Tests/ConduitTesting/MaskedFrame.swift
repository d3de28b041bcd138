package import ConduitWire
package import NIOCore

/// Frames as a client sends them: masked.
package enum MaskedFrame {
    /// One frame; the mask is fixed unless given, so that tests are the same each time.
    package static func encode(
        _ opcode: Opcode, _ payload: ByteBuffer, isFinal: Bool = true, mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
    ) -> ByteBuffer {
        var frame = ByteBuffer()
        frame.writeInteger(opcode.rawValue | (isFinal ? 0x80 : 0))
        switch payload.readableBytes {
        case ..<126:
            frame.writeInteger(UInt8(payload.readableBytes) | 0x80)
        case ...0xFFFF:
            frame.writeInteger(126 | 0x80 as UInt8)
            frame.writeInteger(UInt16(payload.readableBytes))
        default:
            frame.writeInteger(127 | 0x80 as UInt8)
            frame.writeInteger(UInt64(payload.readableBytes))
        }
        frame.writeBytes(mask)
        frame.writeBytes(payload.readableBytesView.enumerated().map { $1 ^ mask[$0 & 3] })
        return frame
    }

    package static func text(_ text: String) -> ByteBuffer { encode(.text, ByteBuffer(string: text)) }
}
