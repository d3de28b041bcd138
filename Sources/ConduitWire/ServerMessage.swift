package import NIOCore

/// One message from the server, encoded once: the WebSocket frame that every recipient gets the same bytes of.
///
/// A frame is an unmasked text frame (RFC 6455 section 5.2): header, then the JSON envelope.
package struct ServerMessage: Sendable {
    /// Header and envelope, ready to be written to a socket. Shared, never changed.
    package let frame: ByteBuffer
    /// Length of the envelope behind the header.
    private let jsonLength: Int
    /// The same message compressed, for those who take it so; `nil` where it isn't to be compressed.
    package private(set) var deflated: DeflatedForms?

    /// The envelope alone, a slice of the same storage: what the bus carries.
    package var json: ByteBuffer {
        frame.getSlice(at: frame.writerIndex - jsonLength, length: jsonLength) ?? ByteBuffer()
    }

    /// Bytes on the wire.
    package var byteCount: Int { frame.readableBytes }

    /// The message, to be compressed for whoever takes it so: once for all who hold this copy of it.
    package var compressible: ServerMessage {
        guard deflated == nil else { return self }
        var message = self
        message.deflated = DeflatedForms()
        return message
    }

    /// Wraps an envelope that is already encoded; copies its bytes once.
    package init(json: ByteBuffer) {
        var writer = ServerMessageWriter(capacity: json.readableBytes)
        writer.buffer.writeImmutableBuffer(json)
        self = writer.finish()
    }

    /// Wraps an encoded envelope and puts the offset of an ordered room on its end; copies its bytes once.
    package init(json: ByteBuffer, offset: UInt64) {
        var writer = ServerMessageWriter(capacity: json.readableBytes + 32)
        writer.buffer.writeImmutableBuffer(json)
        writer.buffer.moveWriterIndex(to: max(writer.buffer.readerIndex, writer.buffer.writerIndex - 1))
        writer.buffer.writeStaticString(",\"offset\":")
        writer.buffer.writeDecimal(offset)
        writer.buffer.writeStaticString("}")
        self = writer.finish()
    }

    /// Makes a message whose envelope `body` writes: at most `capacity` bytes. One allocation.
    @inline(__always)
    init(capacity: Int, _ body: (inout RawWriter) -> Void) {
        var buffer = ByteBufferAllocator().buffer(capacity: capacity + RawWriter.headerSpace)
        var (start, end) = (0, 0)
        // Unsafe: the writer is used inside of the closure only.
        unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: capacity + RawWriter.headerSpace) { memory in
            var writer = unsafe RawWriter(memory, from: RawWriter.headerSpace)
            body(&writer)
            start = writer.finishFrame() ?? 0
            end = writer.count
            return end
        }
        buffer.moveReaderIndex(to: start)
        self.frame = buffer
        self.jsonLength = end - RawWriter.headerSpace
    }

    fileprivate init(frame: ByteBuffer, jsonLength: Int) {
        self.frame = frame
        self.jsonLength = jsonLength
    }
}

/// Writes an envelope and then sets the frame header before it, without moving a byte.
package struct ServerMessageWriter {
    /// The longest header of an unmasked frame.
    private static let headerSpace = 10
    private static let finText: UInt8 = 0x81

    /// Append the envelope's JSON here, and nothing else.
    package var buffer: ByteBuffer

    /// Starts a message of about `capacity` bytes.
    package init(capacity: Int) {
        self.buffer = ByteBuffer()
        self.buffer.reserveCapacity(Self.headerSpace + capacity)
        self.buffer.writeRepeatingByte(0, count: Self.headerSpace)
        self.buffer.moveReaderIndex(to: Self.headerSpace)
    }

    /// Sets the header. The writer must not be used afterwards.
    package mutating func finish() -> ServerMessage {
        let length = buffer.readableBytes
        let start: Int
        switch length {
        case ..<126:
            start = Self.headerSpace - 2
            buffer.setInteger(UInt8(length), at: start + 1)
        case ...0xFFFF:
            start = Self.headerSpace - 4
            buffer.setInteger(126 as UInt8, at: start + 1)
            buffer.setInteger(UInt16(length), at: start + 2)
        default:
            start = Self.headerSpace - 10
            buffer.setInteger(127 as UInt8, at: start + 1)
            buffer.setInteger(UInt64(length), at: start + 2)
        }
        buffer.setInteger(Self.finText, at: start)
        buffer.moveReaderIndex(to: start)
        return ServerMessage(frame: buffer, jsonLength: length)
    }
}
