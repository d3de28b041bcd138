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
}

/// One request of a client: where its parts stand in the message, which is one valid JSON document.
package struct Command: Sendable {
    package let kind: CommandKind
    /// The envelope's `type`, 1–255 bytes.
    package let type: String
    package let id: RequestID?
    /// The raw JSON of `data`, a slice of the message; `nil` when there is none.
    package let data: ByteBuffer?
    /// The envelope's own `room`.
    package let room: String?

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
