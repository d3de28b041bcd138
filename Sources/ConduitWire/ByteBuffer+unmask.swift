package import NIOCore

extension ByteBuffer {
    /// Moves `count` bytes here from `input` and takes the mask off on the way, eight bytes at a time.
    ///
    /// - Parameters:
    ///   - mask: The masking key, its first byte lowest; 0 copies.
    ///   - position: How many bytes of the frame's payload came before these.
    package mutating func writeUnmasked(from input: inout ByteBuffer, count: Int, mask: UInt32, position: Int) {
        let count = Swift.min(count, input.readableBytes)
        guard count > 0 else { return }
        // Turned so that the key's next byte is lowest, then twice for eight bytes.
        let turned = mask >> UInt32((position & 3) * 8) | mask << UInt32((32 - (position & 3) * 8) & 31)
        let key = UInt64(turned) | UInt64(turned) << 32
        // The hot loop of receiving: each byte of every message passes here. Both pointers are used inside of their
        // closures only, and for `count` bytes, which both sides have.
        unsafe self.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
            unsafe input.readWithUnsafeReadableBytes { source in
                unsafe Unmasking.copy(UnsafeRawBufferPointer(rebasing: source[..<count]), key: key, into: target)
                return count
            }
            return count
        }
    }
}
