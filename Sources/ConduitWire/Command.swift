package import ConduitCore
package import NIOCore

/// What kind of request; every built-in type has its own.
package enum CommandKind: String, Sendable, CaseIterable {
    case ping
    case pong
    case echo
    case status
    case joinRoom = "join_room"
    case leaveRoom = "leave_room"
    case broadcast
    case send
    case presence
    case history
    case refresh
    /// Any other type: the application may have a handler for it.
    case custom = ""

    /// The kind of a request of type `name`.
    package init(type name: String) {
        self = name.isEmpty ? .custom : CommandKind(rawValue: name) ?? .custom
    }

    /// The kind of a request whose type is written with `bytes`.
    init(_ bytes: Span<UInt8>) {
        self =
            switch bytes.count {
            case 4 where bytes.equals("ping"): .ping
            case 4 where bytes.equals("echo"): .echo
            case 4 where bytes.equals("pong"): .pong
            case 4 where bytes.equals("send"): .send
            case 6 where bytes.equals("status"): .status
            case 7 where bytes.equals("history"): .history
            case 7 where bytes.equals("refresh"): .refresh
            case 8 where bytes.equals("presence"): .presence
            case 9 where bytes.equals("broadcast"): .broadcast
            case 9 where bytes.equals("join_room"): .joinRoom
            case 10 where bytes.equals("leave_room"): .leaveRoom
            default: .custom
            }
    }
}

/// One request of a client: where its parts stand in the message, which is one valid JSON document.
///
/// It holds the message and nothing on the heap besides; strings are made when they are asked for.
package struct Command: Sendable {
    package let kind: CommandKind
    let message: ByteBuffer
    let typeToken: JSONToken
    let idToken: JSONToken?
    let dataToken: JSONToken?
    let roomToken: JSONToken?

    /// The envelope's `type`, 1–255 bytes.
    package var type: String { message.text(of: typeToken) }
    /// The envelope's `id`: a slice of the message.
    package var id: RequestID? { idToken.map { RequestID(json: message.slice($0.range)) } }
    /// Whether the sender waits for an answer with its `id`.
    package var hasID: Bool { idToken != nil }
    /// The raw JSON of `data`, a slice of the message; `nil` when there is none.
    package var data: ByteBuffer? { dataToken.map { message.slice($0.range) } }
    /// The envelope's own `room`.
    package var room: String? { roomToken.map { message.text(of: $0) } }

    /// The raw JSON of `data`; `null` when there is none.
    package var dataJSON: ByteBuffer { data ?? Self.null }

    private static let null = ByteBuffer(string: "null")
}

/// A message that is not a request, with what could be read of it for the answer.
package struct CommandError: Error, Sendable {
    package let error: RequestError
    package let id: RequestID?
    package let type: String?
}
