import NIOCore

/// Puts a message together in memory that was reserved for it: ranges of a request and fixed pieces behind each other.
///
/// One reservation a message instead of one check a piece. Unsafe within: whoever makes a writer says how many bytes it
/// may write at most, and the encoders beside it keep to that; a piece that would not fit is left out, never written
/// beyond the end.
@safe struct RawWriter {
    /// The longest header of an unmasked frame (RFC 6455 section 5.2).
    static let headerSpace = 10

    private let memory: UnsafeMutableRawBufferPointer
    private(set) var count: Int

    /// Unsafe: `memory` must be good as long as the writer is used.
    init(_ memory: UnsafeMutableRawBufferPointer, from start: Int = 0) {
        unsafe self.memory = memory
        self.count = start
    }

    /// Appends a fixed piece.
    @inline(__always)
    mutating func write(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        guard unsafe count &+ length <= memory.count else { return }
        unsafe memory.baseAddress?.advanced(by: count).copyMemory(from: text.utf8Start, byteCount: length)
        count &+= length
    }

    /// Appends bytes as they are.
    mutating func write(_ bytes: Span<UInt8>) {
        guard unsafe count &+ bytes.count <= memory.count else { return }
        unsafe bytes.withUnsafeBytes { raw in
            guard let source = raw.baseAddress else { return }
            unsafe memory.baseAddress?.advanced(by: count).copyMemory(from: source, byteCount: raw.count)
        }
        count &+= bytes.count
    }

    /// Appends bytes of UTF-8 as a JSON string. At most ``escapedCount(_:)`` of them.
    mutating func writeJSONString(_ bytes: Span<UInt8>) {
        write("\"")
        // Eight bytes are copied at a time, so up to eight beyond the end are touched.
        guard unsafe count &+ Self.escapedCount(bytes) &+ 6 <= memory.count else { return }
        unsafe bytes.withUnsafeBytes { source in unsafe escape(source) }
        write("\"")
    }

    /// The most bytes that a JSON string of these takes, quotes and slack included: exact for long ones.
    static func escapedCount(_ bytes: Span<UInt8>) -> Int {
        guard bytes.count > 1024 else { return bytes.count &* 6 &+ 10 }
        var count = bytes.count &+ 10
        for index in bytes.indices {
            switch bytes[index] {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), 0x0A, 0x0D, 0x09: count &+= 1
            case ..<0x20: count &+= 5
            default: break
            }
        }
        return count
    }

    private mutating func escape(_ source: UnsafeRawBufferPointer) {
        guard let base = unsafe memory.baseAddress else { return }
        var target = unsafe base + count
        var index = 0
        while index < source.count {
            // Up to the first byte that needs an escape they are copied as they are.
            if index &+ 8 <= source.count {
                let word = unsafe source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                unsafe target.storeBytes(of: word, as: UInt64.self)
                let plain = JSONScanner.specialBytes(UInt64(littleEndian: word)).trailingZeroBitCount >> 3
                index &+= plain
                unsafe target += plain
                if plain == 8 { continue }
            }
            let byte = unsafe source[index]
            index &+= 1
            unsafe target += Self.escape(byte, into: target)
        }
        count = unsafe target - base
    }

    /// Unsafe: six bytes may be written at `target`. Returns how many were.
    @inline(__always)
    private static func escape(_ byte: UInt8, into target: UnsafeMutableRawPointer) -> Int {
        let short: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): short = byte
        case 0x0A: short = UInt8(ascii: "n")
        case 0x0D: short = UInt8(ascii: "r")
        case 0x09: short = UInt8(ascii: "t")
        case ..<0x20:
            let text: StaticString = "\\u00"
            unsafe target.copyMemory(from: text.utf8Start, byteCount: 4)
            let digit = byte & 0x0F
            unsafe target.storeBytes(of: 0x30 | byte >> 4, toByteOffset: 4, as: UInt8.self)
            unsafe target.storeBytes(of: digit < 10 ? 0x30 | digit : 0x57 &+ digit, toByteOffset: 5, as: UInt8.self)
            return 6
        default:
            unsafe target.storeBytes(of: byte, as: UInt8.self)
            return 1
        }
        unsafe target.storeBytes(of: UInt8(ascii: "\\"), as: UInt8.self)
        unsafe target.storeBytes(of: short, toByteOffset: 1, as: UInt8.self)
        return 2
    }

    // MARK: Frames

    /// Sets the header of a text frame before the payload, which was written from `space` on: with ``headerSpace`` in any
    /// case, with 4 when the header has just that length. Returns where the frame begins; `nil` when it doesn't fit.
    func finishFrame(space: Int = RawWriter.headerSpace) -> Int? {
        let length = count - space
        let size = length < 126 ? 2 : length <= 0xFFFF ? 4 : 10
        let start = space - size
        guard start >= 0 else { return nil }
        switch size {
        case 2:
            unsafe memory.storeBytes(of: UInt8(truncatingIfNeeded: length), toByteOffset: start + 1, as: UInt8.self)
        case 4:
            unsafe memory.storeBytes(of: 126, toByteOffset: start + 1, as: UInt8.self)
            let number = UInt16(truncatingIfNeeded: length).bigEndian
            unsafe memory.storeBytes(of: number, toByteOffset: start + 2, as: UInt16.self)
        default:
            unsafe memory.storeBytes(of: 127, toByteOffset: start + 1, as: UInt8.self)
            unsafe memory.storeBytes(of: UInt64(length).bigEndian, toByteOffset: start + 2, as: UInt64.self)
        }
        unsafe memory.storeBytes(of: 0x81, toByteOffset: start, as: UInt8.self)
        return start
    }
}

extension ByteBuffer {
    /// Appends a text frame whose payload `body` writes: at most `capacity` bytes.
    @inline(__always)
    mutating func writeTextFrame(capacity: Int, _ body: (inout RawWriter) -> Void) {
        // Unsafe: the writer is used inside of the closure only.
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: capacity + RawWriter.headerSpace) { memory in
            // Most messages have a header of four bytes; what is shorter or longer is moved.
            var writer = unsafe RawWriter(memory, from: 4)
            body(&writer)
            let length = writer.count - 4
            if let start = writer.finishFrame(space: 4) {
                if start > 0, let base = memory.baseAddress {
                    unsafe base.copyMemory(from: base + start, byteCount: writer.count - start)
                }
                return writer.count - start
            }
            guard let base = memory.baseAddress else { return 0 }
            unsafe (base + RawWriter.headerSpace).copyMemory(from: base + 4, byteCount: length)
            let moved = unsafe RawWriter(memory, from: RawWriter.headerSpace + length)
            return moved.finishFrame() == nil ? 0 : moved.count
        }
    }
}
