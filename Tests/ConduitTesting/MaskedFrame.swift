package import ConduitWire
package import NIOCore

/// Frames as a client sends them: masked.
package enum MaskedFrame {
    /// One frame; the mask is fixed unless given, so that tests are the same each time.
    package static func encode(
        _ opcode: Opcode, _ payload: ByteBuffer, isFinal: Bool = true, isDeflated: Bool = false,
        mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
    ) -> ByteBuffer {
        var frame = ByteBuffer()
        frame.writeInteger(opcode.rawValue | (isFinal ? 0x80 : 0) | (isDeflated ? 0x40 : 0))
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

    /// A message as `permessage-deflate` puts it into frames: compressed, without the four bytes at its end.
    package static func deflated(_ message: ByteBuffer, level: Int = 6) -> ByteBuffer {
        let compressor = MessageCompressor(level: level, threshold: 0)
        guard let frame = compressor.deflated(message, opcode: .binary, windowBits: 15) else {
            preconditionFailure("a test compresses what can't be compressed")
        }
        let length = frame.getInteger(at: frame.readerIndex + 1, as: UInt8.self) ?? 0
        let header = length == 127 ? 10 : length == 126 ? 4 : 2
        return frame.getSlice(at: frame.readerIndex + header, length: frame.readableBytes - header) ?? ByteBuffer()
    }

    package static func text(_ text: String) -> ByteBuffer { encode(.text, ByteBuffer(string: text)) }
}
