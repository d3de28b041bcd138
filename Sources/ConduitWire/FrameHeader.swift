import ConduitCore

/// The opcodes of RFC 6455 section 5.2.
package enum Opcode: UInt8, Sendable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xA

    /// Whether it stands alone, between the fragments of messages too.
    package var isControl: Bool { rawValue >= 0x8 }
}

/// What stands before the payload of a WebSocket frame.
struct FrameHeader: Sendable {
    var opcode: Opcode
    var isFinal: Bool
    /// Whether the message that begins here is compressed (RFC 7692).
    var isDeflated = false
    /// Bytes of payload.
    var length: Int
    /// The masking key with its first byte lowest; 0 for none.
    var mask: UInt32

    /// Reads a header from the front of `bytes`; `nil` when it is not whole yet, an error as soon as it can't be legal.
    ///
    /// - Parameter deflates: whether `permessage-deflate` was agreed on, which gives the first reserved bit a meaning.
    static func parse(
        _ bytes: Span<UInt8>, role: WebSocketFrameParser.Role, deflates: Bool = false
    ) throws(WebSocketError) -> (header: FrameHeader, byteCount: Int)? {
        guard bytes.count >= 1 else { return nil }
        let first = bytes[0]
        // The bit stands on the first frame of a text or binary message, and nowhere else.
        let isDeflated = first & 0x40 != 0
        guard first & 0x70 == 0 || (deflates && first & 0x30 == 0 && (first & 0x0F == 1 || first & 0x0F == 2)) else {
            throw WebSocketError(.protocolError, "reserved bit set")
        }
        guard let opcode = Opcode(rawValue: first & 0x0F) else {
            throw WebSocketError(.protocolError, "reserved opcode")
        }
        let isFinal = first & 0x80 != 0
        guard isFinal || !opcode.isControl else { throw WebSocketError(.protocolError, "fragmented control frame") }

        guard bytes.count >= 2 else { return nil }
        let isMasked = bytes[1] & 0x80 != 0
        guard isMasked == (role == .server) else {
            throw WebSocketError(.protocolError, isMasked ? "masked frame of a server" : "unmasked frame of a client")
        }
        var length = Int(bytes[1] & 0x7F)
        guard length <= 125 || !opcode.isControl else { throw WebSocketError(.protocolError, "control frame too long") }
        var index = 2
        switch length {
        case 126:
            guard bytes.count >= 4 else { return nil }
            length = Int(bytes[2]) << 8 | Int(bytes[3])
            guard length >= 126 else { throw WebSocketError(.protocolError, "length not in its shortest form") }
            index = 4
        case 127:
            guard bytes.count >= 3 else { return nil }
            guard bytes[2] & 0x80 == 0 else { throw WebSocketError(.protocolError, "length above 2^63") }
            guard bytes.count >= 10 else { return nil }
            // The top bit is clear, so this never overflows.
            length = (2..<10).reduce(0) { $0 << 8 | Int(bytes[$1]) }
            guard length > 0xFFFF else { throw WebSocketError(.protocolError, "length not in its shortest form") }
            index = 10
        default:
            break
        }
        guard isMasked else {
            return (
                FrameHeader(opcode: opcode, isFinal: isFinal, isDeflated: isDeflated, length: length, mask: 0), index
            )
        }
        guard bytes.count >= index + 4 else { return nil }
        let mask =
            UInt32(bytes[index]) | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2]) << 16
            | UInt32(bytes[index + 3]) << 24
        return (
            FrameHeader(opcode: opcode, isFinal: isFinal, isDeflated: isDeflated, length: length, mask: mask),
            index + 4
        )
    }
}
