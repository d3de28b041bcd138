package import ConduitCore
package import NIOCore

/// Makes the server's control frames: small, final, unmasked.
package enum FrameEncoder {
    /// The longest payload of a control frame (RFC 6455 section 5.5).
    package static let maximumControlPayload = 125

    /// A ping without payload.
    package static let ping = control(.ping, payload: ByteBuffer())

    /// Writes a ping with a number, by which its answer is known.
    package static func writePing(_ number: UInt32, to buffer: inout ByteBuffer) {
        buffer.writeInteger(0x80 | Opcode.ping.rawValue)
        buffer.writeInteger(UInt8(MemoryLayout<UInt32>.size))
        buffer.writeInteger(number)
    }

    /// The answer to a ping, with its payload.
    package static func pong(_ payload: ByteBuffer) -> ByteBuffer {
        control(.pong, payload: payload)
    }

    /// A close frame with the reason's number and text.
    package static func close(_ reason: CloseReason) -> ByteBuffer {
        close(code: reason.code, text: reason.text)
    }

    /// A close frame; a text that is too long is cut between two characters.
    package static func close(code: UInt16, text: String = "") -> ByteBuffer {
        var payload = ByteBuffer()
        payload.writeInteger(code)
        var text = text[...]
        while text.utf8.count > maximumControlPayload - 2 { text.removeLast() }
        payload.writeSubstring(text)
        return control(.close, payload: payload)
    }

    /// The answer to a close frame without a code.
    package static let emptyClose = control(.close, payload: ByteBuffer())

    /// What stands before a text or binary message of so many bytes.
    package static func header(_ opcode: Opcode, length: Int) -> ByteBuffer {
        var header = ByteBufferAllocator().buffer(capacity: 10)
        header.writeFrameHeader(first: 0x80 | opcode.rawValue, length: length)
        return header
    }

    private static func control(_ opcode: Opcode, payload: ByteBuffer) -> ByteBuffer {
        let length = min(payload.readableBytes, maximumControlPayload)
        var frame = ByteBufferAllocator().buffer(capacity: 2 + length)
        frame.writeInteger(0x80 | opcode.rawValue)
        frame.writeInteger(UInt8(length))
        if let slice = payload.getSlice(at: payload.readerIndex, length: length) {
            frame.writeImmutableBuffer(slice)
        }
        return frame
    }
}

extension ByteBuffer {
    /// Writes the header of an unmasked frame: its first byte, and the length in its shortest form.
    mutating func writeFrameHeader(first: UInt8, length: Int) {
        writeInteger(first)
        switch length {
        case ..<126: writeInteger(UInt8(length))
        case ...0xFFFF:
            writeInteger(126 as UInt8)
            writeInteger(UInt16(length))
        default:
            writeInteger(127 as UInt8)
            writeInteger(UInt64(length))
        }
    }
}
