package import NIOCore

/// The few things that a run wants to know of a server's envelope that is no delivery.
package struct ServerText: Sendable, Hashable {
    package let text: String

    package init(_ text: String) { self.text = text }

    /// Whether an envelope in a buffer is of this type, without reading more of it; a server writes the type first.
    package static func hasType(_ type: StaticString, _ buffer: ByteBuffer, _ range: Range<Int>) -> Bool {
        let head = "{\"type\":\"".utf8
        let count = head.count + type.utf8CodeUnitCount + 1
        let first = range.lowerBound - buffer.readerIndex
        let bytes = buffer.readableBytesUInt8Span
        guard first >= 0, range.count >= count, first + count <= bytes.count else { return false }
        var index = first
        for byte in head {
            guard bytes[index] == byte else { return false }
            index += 1
        }
        for byte in type.description.utf8 {
            guard bytes[index] == byte else { return false }
            index += 1
        }
        return bytes[index] == UInt8(ascii: "\"")
    }

    /// The number behind the last `"name":` of an envelope in a buffer; sought from the end, where counts stand.
    package static func lastNumber(_ name: StaticString, _ buffer: ByteBuffer, _ range: Range<Int>) -> Int? {
        let key = Array("\"\(name)\":".utf8)
        let bytes = buffer.readableBytesUInt8Span
        let first = range.lowerBound - buffer.readerIndex
        let end = range.upperBound - buffer.readerIndex
        guard first >= 0, end <= bytes.count, range.count > key.count else { return nil }
        var start = end - key.count
        while start >= first {
            if bytes[start] == key[0], key.indices.allSatisfy({ bytes[start + $0] == key[$0] }) {
                var value = 0
                var index = start + key.count
                let digits = index
                while index < end, index - digits < 12, case let byte = bytes[index], byte >= 0x30, byte <= 0x39 {
                    value = value * 10 + Int(byte - 0x30)
                    index += 1
                }
                return index > digits ? value : nil
            }
            start -= 1
        }
        return nil
    }

    /// Its `type`.
    package var type: String? { string("type") }

    /// The text behind the first `"name":"`, without escapes: ids and codes have none.
    package func string(_ name: String) -> String? {
        let bytes = Array(text.utf8)
        let key = Array("\"\(name)\":\"".utf8)
        guard bytes.count > key.count else { return nil }
        for index in 0..<bytes.count - key.count where bytes[index] == key[0] {
            guard bytes[index..<index + key.count].elementsEqual(key) else { continue }
            let rest = bytes[(index + key.count)...]
            guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            return String(decoding: rest[..<end], as: UTF8.self)
        }
        return nil
    }

    /// `code: message` of an `error`.
    package var error: String {
        let code = string("code") ?? "error"
        return string("message").map { "\(code): \($0)" } ?? code
    }
}
