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

/// Where the parts of a request stand in its message, which is one valid JSON document. Nothing on the heap.
package struct CommandTokens: Sendable {
    package let kind: CommandKind
    let type: JSONToken
    let id: JSONToken?
    let data: JSONToken?
    let room: JSONToken?

    /// Whether the sender waits for an answer with its `id`.
    package var hasID: Bool { id != nil }

    /// The envelope's `type`, 1–255 bytes.
    package func type(in bytes: Span<UInt8>) -> String { type.text(in: bytes) }

    /// The envelope's `id`, in memory of its own.
    package func id(in bytes: Span<UInt8>) -> RequestID? {
        id.map { RequestID(json: ByteBuffer(copying: bytes.extracting($0.range))) }
    }
}

/// One request of a client with its message, for what is not done in place: strings are made when they are asked for.
package struct Command: Sendable {
    let tokens: CommandTokens
    let message: ByteBuffer

    /// Takes the message out of the buffer that it was decoded in.
    package init(_ tokens: CommandTokens, copying bytes: Span<UInt8>) {
        self.init(tokens, ByteBuffer(copying: bytes))
    }

    init(_ tokens: CommandTokens, _ message: ByteBuffer) {
        self.tokens = tokens
        self.message = message
    }

    package var kind: CommandKind { tokens.kind }
    /// The envelope's `type`, 1–255 bytes.
    package var type: String { message.text(of: tokens.type) }
    /// The envelope's `id`: a slice of the message.
    package var id: RequestID? { tokens.id.map { RequestID(json: message.slice($0.range)) } }
    /// The raw JSON of `data`, a slice of the message; `nil` when there is none.
    package var data: ByteBuffer? { tokens.data.map { message.slice($0.range) } }
    /// The envelope's own `room`.
    package var room: String? { tokens.room.map { message.text(of: $0) } }

    /// The raw JSON of `data`; `null` when there is none.
    package var dataJSON: ByteBuffer { data ?? Self.null }

    private static let null = ByteBuffer(string: "null")
}

extension ByteBuffer {
    /// A buffer of its own with these bytes.
    package init(copying bytes: Span<UInt8>) {
        var buffer = ByteBufferAllocator().buffer(capacity: bytes.count)
        // Unsafe: the pointer lives for the closure only.
        unsafe bytes.withUnsafeBytes { raw in _ = unsafe buffer.writeBytes(raw) }
        self = buffer
    }
}

/// A message that is not a request, with what could be read of it for the answer.
package struct CommandError: Error, Sendable {
    package let error: RequestError
    package let id: RequestID?
    package let type: String?
}
