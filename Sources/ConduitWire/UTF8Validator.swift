/// Checks that bytes are UTF-8 while they arrive, and refuses the first one that can't be.
///
/// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. A sequence may be split anywhere.
package struct UTF8Validator: Sendable, Hashable {
    /// Continuation bytes that the sequence at hand still needs.
    private var needed: UInt8 = 0
    /// Where the next continuation byte must lie; narrower than 80…BF right behind E0, ED, F0 and F4.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    package init() {}

    /// Whether no sequence is open.
    package var isComplete: Bool { needed == 0 }

    /// Whether the whole of `bytes` is UTF-8.
    package static func isValid(_ bytes: Span<UInt8>) -> Bool {
        var validator = UTF8Validator()
        return validator.consume(bytes) && validator.isComplete
    }

    /// Takes more bytes; `false` as soon as no continuation could make them UTF-8.
    package mutating func consume(_ bytes: Span<UInt8>) -> Bool {
        // Bytes of a Span<UInt8> are always initialised, so the raw view of them is as good.
        let raw = unsafe bytes.bytes
        let count = bytes.count
        var index = 0
        while index < count {
            if needed == 0 {
                // Nearly all text is ASCII: eight bytes at a time. The load is bounds-checked; any bits make a UInt64.
                while index &+ 8 <= count,
                    unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
                {
                    index &+= 8
                }
                guard index < count else { break }
            }
            guard take(bytes[index]) else { return false }
            index &+= 1
        }
        return true
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard needed == 0 else {
            guard byte >= lowest, byte <= highest else { return false }
            needed -= 1
            lowest = 0x80
            highest = 0xBF
            return true
        }
        switch byte {
        case 0x00...0x7F: return true
        case 0xC2...0xDF: needed = 1
        case 0xE0:
            needed = 2
            lowest = 0xA0
        case 0xED:
            needed = 2
            highest = 0x9F
        case 0xE1...0xEF: needed = 2
        case 0xF0:
            needed = 3
            lowest = 0x90
        case 0xF4:
            needed = 3
            highest = 0x8F
        case 0xF1...0xF3: needed = 3
        default: return false
        }
        return true
    }
}
