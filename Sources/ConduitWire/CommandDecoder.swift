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
        var parts = JSONFields<EnvelopeKey>()
        do throws(JSONError) {
            try parts.readDocument(message)
        } catch {
            throw CommandError(
                error: RequestError(.badRequest, "not JSON: \(error.message) at byte \(error.offset)"), id: nil,
                type: nil)
        }
        let id: RequestID?
        var type: String?
        do throws(RequestError) {
            guard parts.isObject else { throw RequestError(.badRequest, "the message is not a JSON object") }
            id = try requestID(parts[.id], in: message)
        } catch {
            throw CommandError(error: error, id: nil, type: nil)
        }
        do throws(RequestError) {
            let name = try self.type(parts[.type], in: message)
            type = name
            if let twice = parts.duplicate {
                throw RequestError(.badRequest, "\(twice.rawValue) stands twice in the envelope")
            }
            let room = try parts.optionalString(.room, in: message, path: "")
            return Command(
                kind: CommandKind(type: name), type: name, id: id, data: parts[.data].map { message.slice($0.range) },
                room: room)
        } catch {
            throw CommandError(error: error, id: id, type: type)
        }
    }

    private static func requestID(
        _ token: JSONToken?, in message: ByteBuffer
    ) throws(RequestError) -> RequestID? {
        guard let token, token.kind != .null else { return nil }
        guard token.kind == .string || token.kind == .number else {
            throw RequestError(.badRequest, "id is neither a string nor a number")
        }
        guard token.range.count <= maximumIDBytes else {
            throw RequestError(.badRequest, "id is over \(maximumIDBytes) bytes")
        }
        return RequestID(json: message.slice(token.range))
    }

    private static func type(_ token: JSONToken?, in message: ByteBuffer) throws(RequestError) -> String {
        guard let token else { throw RequestError(.badRequest, "type is missing") }
        guard token.kind == .string else { throw RequestError(.badRequest, "type is not a string") }
        // Before it is unescaped; an escape never makes a string longer.
        guard token.range.count <= 6 * maximumTypeBytes + 2 else {
            throw RequestError(.badRequest, "type is over \(maximumTypeBytes) bytes")
        }
        let name = message.text(of: token)
        guard !name.isEmpty else { throw RequestError(.badRequest, "type is empty") }
        guard name.utf8.count <= maximumTypeBytes else {
            throw RequestError(.badRequest, "type is over \(maximumTypeBytes) bytes")
        }
        return name
    }
}

/// The keys of an envelope.
enum EnvelopeKey: String, CaseIterable, Sendable {
    case type, data, id, room
}
