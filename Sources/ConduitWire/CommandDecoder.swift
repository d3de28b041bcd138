import ConduitCore
package import NIOCore

/// Reads a client's envelope: checks that the message is one JSON document and finds its parts in the same pass.
///
/// Nothing is built but the short strings; `data` stays the bytes that the client sent. A key of the envelope
/// that stands twice is refused, since two readers could then disagree on what was asked. Unknown keys are ignored.
package enum CommandDecoder {
    /// Longest `type` in bytes.
    package static let maximumTypeBytes = 255
    /// Longest `id` in bytes, quotes and escapes included.
    package static let maximumIDBytes = 255

    /// Reads one message, which is valid UTF-8 (the frame parser saw to it).
    package static func decode(_ message: ByteBuffer) throws(CommandError) -> Command {
        Command(try decode(message.readableBytesUInt8Span), message)
    }

    /// As ``decode(_:)-(ByteBuffer)``, in place.
    package static func decode(
        _ bytes: Span<UInt8>, maximumDepth: Int = JSONScanner.maximumDepth
    ) throws(CommandError) -> CommandTokens {
        var parts = JSONFields<EnvelopeKey>()
        do throws(JSONError) {
            try parts.readDocument(bytes, maximumDepth: maximumDepth)
        } catch {
            let isTooDeep = error.message == JSONError.tooDeep
            let what =
                isTooDeep
                ? "\(error.message): more than \(maximumDepth) objects and arrays inside each other"
                : "not JSON: \(error.message) at byte \(error.offset)"
            throw CommandError(
                error: RequestError(.badRequest, what, limit: isTooDeep ? .jsonDepth : nil), id: nil, type: nil)
        }
        let id: JSONToken?
        do throws(RequestError) {
            guard parts.isObject else { throw RequestError(.badRequest, "the message is not a JSON object") }
            id = try checkedID(parts[.id])
        } catch {
            throw CommandError(error: error, id: nil, type: nil)
        }
        var type: JSONToken?
        do throws(RequestError) {
            let token = try checkedType(parts[.type], in: bytes)
            type = token
            if let twice = parts.duplicate {
                throw RequestError(.badRequest, "\(twice.name) stands twice in the envelope")
            }
            let room = try parts.optionalStringToken(.room, path: "")
            return CommandTokens(
                kind: kind(token, in: bytes), type: token, id: id, data: parts[.data], room: room)
        } catch {
            throw CommandError(
                error: error, id: id.map { RequestID(json: ByteBuffer(copying: bytes.extracting($0.range))) },
                type: type.map { $0.text(in: bytes) })
        }
    }

    private static func kind(_ type: JSONToken, in bytes: Span<UInt8>) -> CommandKind {
        type.isEscaped ? CommandKind(type: type.text(in: bytes)) : CommandKind(bytes.extracting(type.inner))
    }

    private static func checkedID(_ token: JSONToken?) throws(RequestError) -> JSONToken? {
        guard let token, token.kind != .null else { return nil }
        guard token.kind == .string || token.kind == .number else {
            throw RequestError(.badRequest, "id is neither a string nor a number")
        }
        guard token.byteCount <= maximumIDBytes else {
            throw RequestError(.badRequest, "id is over \(maximumIDBytes) bytes")
        }
        return token
    }

    private static func checkedType(_ token: JSONToken?, in bytes: Span<UInt8>) throws(RequestError) -> JSONToken {
        guard let token else { throw RequestError(.badRequest, "type is missing") }
        guard token.kind == .string else { throw RequestError(.badRequest, "type is not a string") }
        var length = token.inner.count
        // Before it is unescaped; an escape never makes a string longer, and at most six bytes are one.
        if token.isEscaped, length <= 6 * maximumTypeBytes { length = token.text(in: bytes).utf8.count }
        guard length > 0 else { throw RequestError(.badRequest, "type is empty") }
        guard length <= maximumTypeBytes else {
            throw RequestError(.badRequest, "type is over \(maximumTypeBytes) bytes")
        }
        return token
    }
}

/// The keys of an envelope.
enum EnvelopeKey: UInt8, JSONKey {
    case type, data, id, room

    var name: StaticString {
        switch self {
        case .type: "type"
        case .data: "data"
        case .id: "id"
        case .room: "room"
        }
    }

    static func named(_ bytes: Span<UInt8>) -> EnvelopeKey? {
        switch bytes.count {
        case 2: EnvelopeKey.id.ifNamed(bytes)
        case 4:
            EnvelopeKey.type.ifNamed(bytes) ?? EnvelopeKey.data.ifNamed(bytes) ?? EnvelopeKey.room.ifNamed(bytes)
        default: nil
        }
    }
}
