package import NIOCore

/// One answer in RESP2.
package enum RedisValue: Hashable, Sendable {
    /// `+OK`
    case simple(String)
    /// `-ERR …`; the text without the dash.
    case error(String)
    case integer(Int64)
    case bulk(ByteBuffer)
    case array([RedisValue])
    case null
}

extension RedisValue {
    /// A status or a bulk string as text (repaired where it is not UTF-8).
    package var string: String? {
        switch self {
        case .simple(let text): text
        case .bulk(let bytes): String(buffer: bytes)
        case .error, .integer, .array, .null: nil
        }
    }

    /// A bulk string's bytes.
    package var bytes: ByteBuffer? {
        if case .bulk(let bytes) = self { bytes } else { nil }
    }

    /// An integer, or a string that spells one.
    package var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .simple(let text): Int64(text)
        case .bulk(let bytes): Int64(String(buffer: bytes))
        case .error, .array, .null: nil
        }
    }

    package var array: [RedisValue]? {
        if case .array(let values) = self { values } else { nil }
    }

    package var isNull: Bool { self == .null }
}
