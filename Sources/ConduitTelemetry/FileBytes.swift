#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Reads small files without Foundation.
package enum FileBytes {
    /// All bytes of a file; `nil` when it can't be read or has more than `most`.
    package static func read(_ path: String, most: Int) -> [UInt8]? {
        // Unsafe for the C string, which lives for the call only.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { _ = close(descriptor) }
        var result: [UInt8] = []
        while true {
            var failed = false
            // Unsafe because the kernel fills the memory; it gets the buffer's own size.
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 16_384) { buffer, count in
                let got = unsafe Self.get(descriptor, buffer.baseAddress, buffer.count)
                failed = got < 0
                count = max(0, got)
            }
            if failed { return nil }
            if bytes.isEmpty { return result }
            result.append(contentsOf: bytes)
            if result.count > most { return nil }
        }
    }

    /// `read`, again when a signal came between.
    private static func get(_ descriptor: Int32, _ memory: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
            while true {
                let got = unsafe Glibc.read(descriptor, memory, count)
                if got >= 0 || errno != EINTR { return got }
            }
        #else
            while true {
                let got = unsafe Musl.read(descriptor, memory, count)
                if got >= 0 || errno != EINTR { return got }
            }
        #endif
    }

    /// The text of a file; `nil` when it can't be read or has more than 64 KiB.
    package static func text(_ path: String) -> String? {
        read(path, most: 65_536).map { String(decoding: $0, as: UTF8.self) }
    }
}
