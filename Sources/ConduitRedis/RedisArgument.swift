package import NIOCore

/// One word of a command: bytes, whatever they mean.
package enum RedisArgument: Hashable, Sendable {
    case string(String)
    case bytes([UInt8])
    case buffer(ByteBuffer)
    case integer(Int64)

    package init(_ value: String) { self = .string(value) }
    package init(_ value: some StringProtocol) { self = .string(String(value)) }
    package init(_ value: [UInt8]) { self = .bytes(value) }
    package init(_ value: ByteBuffer) { self = .buffer(value) }
    package init(_ value: Int) { self = .integer(Int64(value)) }
    package init(_ value: Int64) { self = .integer(value) }

    /// About how many bytes this takes in a command.
    var sizeHint: Int {
        switch self {
        case .string(let text): text.utf8.count
        case .bytes(let bytes): bytes.count
        case .buffer(let buffer): buffer.readableBytes
        case .integer: 20
        }
    }
}

extension RedisArgument: ExpressibleByStringLiteral, ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
}
