import CHiredis
package import NIOCore

/// Writes commands in RESP, by hiredis's formatter, at the end of an outbound buffer.
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

    /// Appends `PUBLISH channel payload`, copying the payload once less than the general way.
    package static func appendPublish(
        channel: ByteBuffer, payload: ByteBuffer, to buffer: inout ByteBuffer
    ) -> Bool {
        let verb: StaticString = "PUBLISH"
        // Unsafe: the pointers live as long as the closures that they are used in.
        return unsafe channel.withUnsafeReadableBytes { channelBytes in
            unsafe payload.withUnsafeReadableBytes { payloadBytes in
                let verbStart = unsafe UnsafeRawPointer(verb.utf8Start)
                var pointers: [UnsafePointer<CChar>?] = unsafe [
                    verbStart.assumingMemoryBound(to: CChar.self),
                    (channelBytes.baseAddress ?? verbStart).assumingMemoryBound(to: CChar.self),
                    (payloadBytes.baseAddress ?? verbStart).assumingMemoryBound(to: CChar.self),
                ]
                let lengths = [verb.utf8CodeUnitCount, channelBytes.count, payloadBytes.count]
                return unsafe write(&pointers, lengths, into: &buffer)
            }
        }
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
