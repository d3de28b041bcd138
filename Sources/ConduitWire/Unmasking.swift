import NIOCore

/// Takes the mask off a payload (RFC 6455 section 5.3) while it is copied, eight bytes at a time.
enum Unmasking {
    /// - Parameters:
    ///   - mask: the masking key, its first byte lowest; 0 copies.
    ///   - target: at least as many bytes as `source`.
    static func copy(_ source: Span<UInt8>, mask: UInt32, into target: inout [UInt8]) {
        guard source.count <= target.count else { return }
        // Unsafe: both pointers live for their closures, and both are good for as many bytes as `source` has.
        unsafe target.withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                unsafe copy(source, key: UInt64(mask) | UInt64(mask) << 32, into: target)
            }
        }
    }

    /// Unsafe: `target` must have as many bytes as `source`. `key`: the masking key twice, turned so that the first byte
    /// is lowest.
    @inline(__always)
    static func copy(_ source: UnsafeRawBufferPointer, key: UInt64, into target: UnsafeMutableRawBufferPointer) {
        let count = source.count
        var index = 0
        while index &+ 8 <= count {
            let word = unsafe UInt64(littleEndian: source.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            unsafe target.storeBytes(of: (word ^ key).littleEndian, toByteOffset: index, as: UInt64.self)
            index &+= 8
        }
        var rest = key
        while index < count {
            unsafe target[index] = source[index] ^ UInt8(truncatingIfNeeded: rest)
            rest >>= 8
            index &+= 1
        }
    }
}
