package import NIOCore

/// In which of a Cluster's 16,384 slots a key or channel lives: CRC16 (XMODEM) of its name, or of what stands between
/// the first `{` and the next `}` where that isn't empty.
package enum RedisSlot {
    package static let count = 16_384

    package static func of(_ key: String) -> Int { of(utf8: Array(key.utf8)) }

    package static func of(_ key: ByteBuffer) -> Int { of(utf8: Array(key.readableBytesView)) }

    /// Of a word of a command.
    static func of(_ key: RedisArgument) -> Int {
        switch key {
        case .string(let text): of(text)
        case .bytes(let bytes): of(utf8: bytes)
        case .buffer(let buffer): of(buffer)
        case .integer(let value): of(String(value))
        }
    }

    private static func of(utf8 key: [UInt8]) -> Int {
        var tag = key[...]
        if let open = key.firstIndex(of: UInt8(ascii: "{")),
            let close = key[(open + 1)...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        {
            tag = key[(open + 1)..<close]
        }
        return Int(crc16(tag)) % count
    }

    private static func crc16(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        var crc: UInt16 = 0
        for byte in bytes { crc = (crc << 8) ^ table[Int((crc >> 8) ^ UInt16(byte))] }
        return crc
    }

    private static let table: [UInt16] = (0..<256).map { index in
        var crc = UInt16(index) << 8
        for _ in 0..<8 { crc = crc & 0x8000 == 0 ? crc << 1 : (crc << 1) ^ 0x1021 }
        return crc
    }
}
