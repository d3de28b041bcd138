import NIOCore

// How the encoders put messages together: ranges of a request are copied behind each other, once, without slices.
extension ByteBuffer {
    /// Appends a part of another buffer's readable bytes; nothing when it is out of bounds.
    mutating func writeRange(_ range: Range<Int>, of other: ByteBuffer) {
        // Unsafe: the pointer lives for the closure only, and the range is checked.
        unsafe other.withUnsafeReadableBytes { raw in
            guard range.lowerBound >= 0, range.upperBound <= raw.count else { return }
            unsafe self.writeBytes(UnsafeRawBufferPointer(rebasing: raw[range]))
        }
    }

    /// Appends a text frame (RFC 6455 section 5.2, unmasked, final) whose payload `body` appends.
    mutating func writeTextFrame(_ body: (inout ByteBuffer) -> Void) {
        // Room for the header of most messages; a shorter or longer one moves the payload by a few bytes.
        let start = writerIndex
        writeInteger(0x817E_0000 as UInt32)
        body(&self)
        let length = writerIndex - start - 4
        switch length {
        case 126...0xFFFF:
            setInteger(UInt16(truncatingIfNeeded: length), at: start + 2)
        case ..<126:
            movePayload(from: start + 4, by: -2, length: length)
            setInteger(0x8100 | UInt16(truncatingIfNeeded: length), at: start)
        default:
            movePayload(from: start + 4, by: 6, length: length)
            setInteger(0x817F as UInt16, at: start)
            setInteger(UInt64(length), at: start + 2)
        }
    }

    private mutating func movePayload(from index: Int, by distance: Int, length: Int) {
        if distance > 0 { writeRepeatingByte(0, count: distance) }
        // Unsafe: both ranges are within what was written, or reserved just now.
        unsafe withVeryUnsafeMutableBytes { raw in
            guard let base = raw.baseAddress else { return }
            unsafe (base + (index + distance)).copyMemory(from: base + index, byteCount: length)
        }
        if distance < 0 { moveWriterIndex(to: index + distance + length) }
    }

    /// Appends a part of another buffer's readable bytes, which are UTF-8, as a JSON string.
    mutating func writeJSONString(_ range: Range<Int>, of other: ByteBuffer) {
        writeInteger(UInt8(ascii: "\""))
        // Unsafe: the pointer lives for the closure only, and the range is checked.
        unsafe other.withUnsafeReadableBytes { raw in
            guard range.lowerBound >= 0, range.upperBound <= raw.count else { return }
            var rest = unsafe UnsafeRawBufferPointer(rebasing: raw[range])
            // In parts, since an escape can make six bytes of one.
            while rest.count > 0 {
                let part = unsafe UnsafeRawBufferPointer(rebasing: rest.prefix(1024))
                unsafe rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
                unsafe self.writeWithUnsafeMutableBytes(minimumWritableBytes: part.count * 6 + 8) { target in
                    unsafe Self.escape(part, into: target)
                }
            }
        }
        writeInteger(UInt8(ascii: "\""))
    }

    /// Unsafe: `target` has six bytes for each of `source`, and eight more.
    private static func escape(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int {
        var (index, out) = (0, 0)
        while index < source.count {
            // Eight bytes at a time: up to the first that needs an escape they are copied as they are.
            if index &+ 8 <= source.count {
                let word = unsafe source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                unsafe target.storeBytes(of: word, toByteOffset: out, as: UInt64.self)
                let plain = JSONScanner.specialBytes(UInt64(littleEndian: word)).trailingZeroBitCount >> 3
                index &+= plain
                out &+= plain
                if plain == 8 { continue }
            }
            let byte = unsafe source[index]
            index &+= 1
            unsafe out &+= escape(byte, into: target, at: out)
        }
        return out
    }

    /// Unsafe: `target` has six bytes from `out` on. Returns how many it took.
    private static func escape(_ byte: UInt8, into target: UnsafeMutableRawBufferPointer, at out: Int) -> Int {
        let short: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): short = byte
        case 0x0A: short = UInt8(ascii: "n")
        case 0x0D: short = UInt8(ascii: "r")
        case 0x09: short = UInt8(ascii: "t")
        case ..<0x20:
            let text: StaticString = "\\u00"
            for place in 0..<4 { unsafe target[out &+ place] = text.utf8Start[place] }
            unsafe target[out &+ 4] = 0x30 | byte >> 4
            let digit = byte & 0x0F
            unsafe target[out &+ 5] = digit < 10 ? 0x30 | digit : 0x61 &+ digit &- 10
            return 6
        default:
            unsafe target[out] = byte
            return 1
        }
        unsafe target[out] = UInt8(ascii: "\\")
        unsafe target[out &+ 1] = short
        return 2
    }
}
