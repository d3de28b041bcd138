import ConduitCore
import ConduitWire
import NIOCore

/// Frames read whole, in slices and by the shortcut for whole texts must be what ``ReferenceFrames`` says.
enum FrameFuzz {
    typealias Event = WebSocketFrameParser.Event

    struct Outcome: Equatable {
        var events: [Event] = []
        var failure: CloseReason?
    }

    private static let limits = [1 << 20, 16, 125, 300]

    static func run(_ input: FuzzInput) -> String? {
        let limit = limits[Int(input.options & 3)]
        let role: WebSocketFrameParser.Role = input.options & 4 == 0 ? .server : .client
        let expected = ReferenceFrames.parse(input.bytes, limit: limit, isServer: role == .server)
        let whole = parse([input.whole], limit, role, withShortcut: false)
        guard whole == expected else { return "whole: \(whole) instead of \(expected)" }
        let sliced = parse(input.slices, limit, role, withShortcut: false)
        guard sliced == expected else { return "in slices: \(sliced) instead of \(expected)" }
        let short = parse(input.slices, limit, role, withShortcut: true)
        guard short == expected else { return "with the shortcut: \(short) instead of \(expected)" }
        return nil
    }

    /// As a shard reads.
    private static func parse(
        _ slices: [ByteBuffer], _ limit: Int, _ role: WebSocketFrameParser.Role, withShortcut: Bool
    ) -> Outcome {
        var parser = WebSocketFrameParser(maximumMessageBytes: limit, role: role)
        var scratch: [UInt8] = []
        var outcome = Outcome()
        for slice in slices {
            var input = slice
            do throws(WebSocketError) {
                while true {
                    if withShortcut,
                        let (end, length) = parser.wholeText(
                            in: input.readableBytesUInt8Span, from: 0, scratch: &scratch)
                    {
                        outcome.events.append(.text(ByteBuffer(bytes: scratch[..<length])))
                        input.moveReaderIndex(forwardBy: end)
                        continue
                    }
                    guard let event = try parser.next(from: &input) else { break }
                    outcome.events.append(event)
                }
            } catch {
                outcome.failure = error.reason
                return outcome
            }
        }
        return outcome
    }
}

/// RFC 6455 section 5, read with the standard beside it: slow, short, and nothing shared with the parser.
enum ReferenceFrames {
    static func parse(_ bytes: [UInt8], limit: Int, isServer: Bool) -> FrameFuzz.Outcome {
        var outcome = FrameFuzz.Outcome()
        var position = 0
        var message: (isText: Bool, bytes: [UInt8])?
        func fail(_ reason: CloseReason) -> FrameFuzz.Outcome {
            outcome.failure = reason
            return outcome
        }
        while position < bytes.count {
            // The longest header and payload that matter here.
            let rest = Array(bytes[position...].prefix(14 + max(limit, 125)))
            let (isFinal, opcode) = (rest[0] >= 0x80, Int(rest[0] & 0x0F))
            let isControl = opcode >= 8
            guard rest[0] & 0x70 == 0, [0, 1, 2, 8, 9, 10].contains(opcode), isFinal || !isControl else {
                return fail(.protocolError)
            }
            guard rest.count > 1 else { return outcome }
            let short = Int(rest[1] & 0x7F)
            guard (rest[1] >= 0x80) == isServer, short <= 125 || !isControl else { return fail(.protocolError) }
            let lengthBytes = short == 126 ? 2 : short == 127 ? 8 : 0
            if lengthBytes == 8, rest.count > 2, rest[2] >= 0x80 { return fail(.protocolError) }
            guard rest.count >= 2 + lengthBytes else { return outcome }
            let length = lengthBytes == 0 ? short : rest[2..<2 + lengthBytes].reduce(0) { $0 * 256 + Int($1) }
            if lengthBytes == 2, length < 126 { return fail(.protocolError) }
            if lengthBytes == 8, length < 65_536 { return fail(.protocolError) }
            let headerCount = 2 + lengthBytes + (isServer ? 4 : 0)
            guard rest.count >= headerCount else { return outcome }
            let mask = isServer ? Array(rest[headerCount - 4..<headerCount]) : [0, 0, 0, 0]
            if !isControl {
                if (opcode == 0) == (message == nil) { return fail(.protocolError) }
                let before = message ?? (opcode == 1, [])
                guard length <= limit - before.bytes.count else { return fail(.tooLarge) }
                message = before
            }
            let payload = rest[headerCount...].prefix(length).enumerated().map { $1 ^ mask[$0 % 4] }
            let isWhole = payload.count == length
            if isControl {
                guard isWhole else { return outcome }
                switch opcode {
                case 9: outcome.events.append(.ping(ByteBuffer(bytes: payload)))
                case 10: outcome.events.append(.pong(ByteBuffer(bytes: payload)))
                default:
                    guard !payload.isEmpty else {
                        outcome.events.append(.close(code: nil, reason: ByteBuffer()))
                        return outcome
                    }
                    guard payload.count > 1 else { return fail(.protocolError) }
                    let code = UInt16(payload[0]) * 256 + UInt16(payload[1])
                    let mayBeSent =
                        (1000...1014).contains(code) && ![1004, 1005, 1006].contains(code)
                        || (3000...4999).contains(code)
                    guard mayBeSent else { return fail(.protocolError) }
                    let reason = Array(payload.dropFirst(2))
                    guard String(validating: reason, as: UTF8.self) != nil else { return fail(.invalidText) }
                    outcome.events.append(.close(code: code, reason: ByteBuffer(bytes: reason)))
                    return outcome
                }
            } else if var open = message {
                open.bytes += payload
                message = open
                if open.isText, !mayBecomeText(open.bytes) { return fail(.invalidText) }
                guard isWhole else { return outcome }
                if isFinal {
                    if open.isText, String(validating: open.bytes, as: UTF8.self) == nil { return fail(.invalidText) }
                    let buffer = ByteBuffer(bytes: open.bytes)
                    outcome.events.append(open.isText ? .text(buffer) : .binary(buffer))
                    message = nil
                }
            }
            position += headerCount + length
        }
        return outcome
    }

    /// Whether some bytes behind these would make them UTF-8: up to three of them, from the edges of each range.
    static func mayBecomeText(_ bytes: [UInt8]) -> Bool {
        if bytes.allSatisfy({ $0 < 0x80 }) || String(validating: bytes, as: UTF8.self) != nil { return true }
        let edges: [UInt8] = [0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF]
        for open in 1...3 where open <= bytes.count {
            let head = Array(bytes.dropLast(open))
            let tail = Array(bytes.suffix(open))
            guard String(validating: head, as: UTF8.self) != nil else { continue }
            for a in edges {
                for more in [[a]] + edges.flatMap({ b in [[a, b]] + edges.map { [a, b, $0] } })
                where String(validating: tail + more, as: UTF8.self) != nil {
                    return true
                }
            }
        }
        return false
    }
}
