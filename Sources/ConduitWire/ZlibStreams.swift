import CZlib
import NIOCore

// zlib's two streams, behind types that know one message at a time. Unsafe inside: zlib takes pointers, which live for
// one call each, and keeps its own address in the stream, so that lives in memory that doesn't move.

/// Compresses one message after the other, each by itself.
@safe final class Deflater {
    private let stream: UnsafeMutablePointer<z_stream>

    /// `nil` when zlib has no memory.
    init?(level: Int, windowBits: Int) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe conduit_deflate_init(stream, Int32(level), Int32(windowBits)) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Compresses a message into the front of `output`, without the four bytes that end every one (RFC 7692, 7.2.1).
    /// Returns the count; `nil` when it isn't shorter.
    func deflate(_ message: ByteBuffer, into output: inout [UInt8]) -> Int? {
        guard unsafe deflateReset(stream) == Z_OK else { return nil }
        // What isn't shorter is of no use: there need not be room for it. The marker's bytes come off again.
        let room = message.readableBytes + 8
        if output.count < room { output.append(contentsOf: repeatElement(0, count: room - output.count)) }
        let stream = unsafe self.stream
        let written = unsafe message.withUnsafeReadableBytes { source -> Int? in
            unsafe output.withUnsafeMutableBufferPointer { target -> Int? in
                unsafe stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: source.baseAddress?.assumingMemoryBound(to: UInt8.self))
                unsafe stream.pointee.avail_in = UInt32(clamping: source.count)
                unsafe stream.pointee.next_out = target.baseAddress
                unsafe stream.pointee.avail_out = UInt32(clamping: room)
                let result = unsafe CZlib.deflate(stream, Z_SYNC_FLUSH)
                guard result == Z_OK, unsafe stream.pointee.avail_in == 0, unsafe stream.pointee.avail_out > 0 else {
                    return nil
                }
                return unsafe room - Int(stream.pointee.avail_out)
            }
        }
        guard let written, written >= 4 else { return nil }
        return written - 4
    }
}

/// Expands one message after the other, each by itself, whatever window it was compressed with.
@safe final class Inflater {
    enum Outcome {
        /// So many bytes.
        case message(Int)
        /// It would be longer than allowed.
        case tooLong
        /// This is not what deflate makes.
        case broken
    }

    private let stream: UnsafeMutablePointer<z_stream>
    /// What the sender has cut off.
    private static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]
    private static let firstRoom = 16 << 10

    /// `nil` when zlib has no memory.
    init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe conduit_inflate_init(stream) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Expands a message of `limit` bytes at most into the front of `output`, which grows as it is needed.
    func inflate(_ message: ByteBuffer, atMost limit: Int, into output: inout [UInt8]) -> Outcome {
        guard unsafe inflateReset(stream) == Z_OK else { return .broken }
        var count = 0
        var outcome = unsafe message.withUnsafeReadableBytes { source in
            unsafe feed(source, limit, &output, &count)
        }
        switch outcome {
        case .ended(let rest):
            // A last block may stand in for the tail (RFC 7692, 7.2.3.4): behind it comes the empty one's first byte.
            let ends = rest == 0 || (rest == 1 && message.getInteger(at: message.writerIndex - 1) == 0 as UInt8)
            return ends ? .message(count) : .broken
        case .more:
            outcome = unsafe Self.tail.withUnsafeBytes { source in unsafe feed(source, limit, &output, &count) }
        case .tooLong, .broken: break
        }
        switch outcome {
        case .more:
            // Only between two blocks is it whole.
            return unsafe stream.pointee.data_type & 128 != 0 ? .message(count) : .broken
        case .ended: return .message(count)
        case .tooLong: return .tooLong
        case .broken: return .broken
        }
    }

    private enum Progress {
        /// All was taken.
        case more
        /// The last block has ended, so many bytes before the end.
        case ended(Int)
        case tooLong
        case broken
    }

    private func feed(
        _ source: UnsafeRawBufferPointer, _ limit: Int, _ output: inout [UInt8], _ count: inout Int
    ) -> Progress {
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: source.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = UInt32(clamping: source.count)
        while true {
            // One byte more than allowed tells that there is more.
            if output.count <= count {
                let room = min(limit + 1, max(Self.firstRoom, output.count * 2))
                guard room > output.count else { return .tooLong }
                output.append(contentsOf: repeatElement(0, count: room - output.count))
            }
            let start = count
            let stream = unsafe self.stream
            let result = unsafe output.withUnsafeMutableBufferPointer { target -> Int32 in
                let room = min(target.count, limit + 1) - start
                unsafe stream.pointee.next_out = target.baseAddress?.advanced(by: start)
                unsafe stream.pointee.avail_out = UInt32(clamping: room)
                return unsafe CZlib.inflate(stream, Z_SYNC_FLUSH)
            }
            let room = min(output.count, limit + 1) - start
            unsafe count += room - Int(stream.pointee.avail_out)
            if count > limit { return .tooLong }
            switch result {
            case Z_STREAM_END: return unsafe .ended(Int(stream.pointee.avail_in))
            case Z_OK, Z_BUF_ERROR:
                if unsafe stream.pointee.avail_out == 0 { continue }
                guard unsafe stream.pointee.avail_in == 0 else { return .broken }
                return .more
            default: return .broken
            }
        }
    }
}

@available(*, unavailable)
extension Deflater: Sendable {}

@available(*, unavailable)
extension Inflater: Sendable {}
