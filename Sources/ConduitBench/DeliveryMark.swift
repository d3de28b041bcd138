package import NIOCore

/// What a message carries so that its recipient can check it: who sent it, as which number, and when it was due.
///
/// 32 bytes of plain ASCII, the same in JSON, in a JSON string and in an echo:
/// `@@` publisher (5 hex digits) `!` number (8) time in nanoseconds (16).
package struct DeliveryMark: Sendable, Hashable {
    package static let byteCount = 32
    /// Publishers have five digits.
    package static let maximumPublishers = 1 << 20

    package var publisher: UInt32
    /// Counts from 1; 0 is a probe.
    package var number: UInt32
    /// On the clock of this machine that never jumps.
    package var due: UInt64

    package init(publisher: UInt32, number: UInt32, due: UInt64) {
        self.publisher = publisher
        self.number = number
        self.due = due
    }

    /// Writes the mark over what stands at `index`, each eight bytes changed by `key` (a mask, turned to that place).
    package func set(in buffer: inout ByteBuffer, at index: Int, key: UInt64) {
        let head: UInt64 = 0x4040_0000_0000_0021 | (Self.hex(publisher & 0xF_FFFF) & 0xFF_FFFF_FFFF) << 8
        buffer.setInteger(head ^ key, at: index)
        buffer.setInteger(Self.hex(number) ^ key, at: index + 8)
        buffer.setInteger(Self.hex(UInt32(truncatingIfNeeded: due >> 32)) ^ key, at: index + 16)
        buffer.setInteger(Self.hex(UInt32(truncatingIfNeeded: due)) ^ key, at: index + 24)
    }

    /// The mark at `index`; `nil` when there stands anything else.
    package static func read(_ buffer: ByteBuffer, at index: Int) -> DeliveryMark? {
        guard let head = buffer.getInteger(at: index, as: UInt64.self), head >> 48 == 0x4040, head & 0xFF == 0x21,
            let second = buffer.getInteger(at: index + 8, as: UInt64.self),
            let third = buffer.getInteger(at: index + 16, as: UInt64.self),
            let fourth = buffer.getInteger(at: index + 24, as: UInt64.self)
        else { return nil }
        // Three zeros before the five digits make eight of them.
        guard let publisher = number(0x3030_3000_0000_0000 | head >> 8 & 0xFF_FFFF_FFFF), let number = number(second),
            let high = self.number(third), let low = self.number(fourth)
        else { return nil }
        return DeliveryMark(publisher: publisher, number: number, due: UInt64(high) << 32 | UInt64(low))
    }

    /// Where a mark begins within `range` of the buffer.
    package static func find(in buffer: ByteBuffer, range: Range<Int>) -> Int? {
        let first = range.lowerBound - buffer.readerIndex
        let last = range.upperBound - buffer.readerIndex - byteCount
        let bytes = buffer.readableBytesUInt8Span
        guard first >= 0, last >= first, last + byteCount <= bytes.count else { return nil }
        for index in first...last where bytes[index] == 0x40 && bytes[index + 1] == 0x40 && bytes[index + 7] == 0x21 {
            return index + buffer.readerIndex
        }
        return nil
    }

    /// Eight lower-case hex digits, the first in the highest byte; all at once, without a loop.
    static func hex(_ value: UInt32) -> UInt64 {
        var digits = UInt64(value)
        digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
        digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
        digits = (digits | digits << 4) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }

    /// The other way; `nil` unless the bytes are what ``hex(_:)`` writes.
    static func number(_ text: UInt64) -> UInt32? {
        var digits = (text & 0x0F0F_0F0F_0F0F_0F0F) &+ 9 &* (text >> 6 & 0x0101_0101_0101_0101)
        digits = (digits | digits >> 4) & 0x00FF_00FF_00FF_00FF
        digits = (digits | digits >> 8) & 0x0000_FFFF_0000_FFFF
        let value = UInt32(truncatingIfNeeded: digits | digits >> 16)
        return hex(value) == text ? value : nil
    }
}
