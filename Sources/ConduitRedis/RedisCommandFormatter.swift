import CHiredis
package import NIOCore

/// Writes commands in RESP at the end of an outbound buffer, by hiredis's formatter but for PUBLISH.
package enum RedisCommandFormatter {
    /// Appends one command; `false` when hiredis had no memory for it (nothing is appended then).
    package static func append(_ arguments: [RedisArgument], to buffer: inout ByteBuffer) -> Bool {
        // All words side by side, so that every pointer stays valid while hiredis reads them.
        var words: [UInt8] = []
        words.reserveCapacity(arguments.reduce(0) { $0 + $1.sizeHint })
        var ends: [Int] = []
        ends.reserveCapacity(arguments.count)
        for argument in arguments {
            switch argument {
            case .string(let text): words.append(contentsOf: text.utf8)
            case .bytes(let bytes): words.append(contentsOf: bytes)
            case .buffer(let bytes): words.append(contentsOf: bytes.readableBytesView)
            case .integer(let value): words.append(contentsOf: String(value).utf8)
            }
            ends.append(words.count)
        }
        // Unsafe: hiredis takes C arrays. An empty array of words has no address; one byte gives it one.
        if words.isEmpty { words.append(0) }
        return unsafe words.withUnsafeBytes { raw in
            var pointers: [UnsafePointer<CChar>?] = unsafe []
            var lengths: [Int] = []
            unsafe pointers.reserveCapacity(ends.count)
            lengths.reserveCapacity(ends.count)
            var start = 0
            for end in ends {
                unsafe pointers.append(raw.baseAddress?.advanced(by: start).assumingMemoryBound(to: CChar.self))
                lengths.append(end - start)
                start = end
            }
            return unsafe write(&pointers, lengths, into: &buffer)
        }
    }

    /// Appends `PUBLISH channel payload`, or `SPUBLISH`. Of its own making: hiredis would build the command aside, and this is the one
    /// that goes out for every message.
    package static func appendPublish(
        channel: ByteBuffer, payload: ByteBuffer, isSharded: Bool = false, to buffer: inout ByteBuffer
    ) {
        buffer.reserveCapacity(minimumWritableBytes: 64 + channel.readableBytes + payload.readableBytes)
        buffer.writeStaticString(isSharded ? "*3\r\n$8\r\nSPUBLISH\r\n" : "*3\r\n$7\r\nPUBLISH\r\n")
        appendBulk(channel, to: &buffer)
        appendBulk(payload, to: &buffer)
    }

    private static func appendBulk(_ bytes: ByteBuffer, to buffer: inout ByteBuffer) {
        buffer.writeStaticString("$")
        buffer.writeString(String(bytes.readableBytes))
        buffer.writeStaticString("\r\n")
        buffer.writeImmutableBuffer(bytes)
        buffer.writeStaticString("\r\n")
    }

    /// Unsafe: the pointers must be good for their lengths. The command that hiredis allocates is copied
    /// and freed here.
    private static func write(
        _ pointers: inout [UnsafePointer<CChar>?], _ lengths: [Int], into buffer: inout ByteBuffer
    ) -> Bool {
        guard let count = unsafe Int32(exactly: pointers.count) else { return false }
        var command: UnsafeMutablePointer<CChar>?
        let length = unsafe redisFormatCommandArgv(&command, count, &pointers, lengths)
        guard length > 0, let command = unsafe command else { return false }
        unsafe buffer.writeBytes(UnsafeRawBufferPointer(start: command, count: Int(length)))
        unsafe redisFreeCommand(command)
        return true
    }
}
