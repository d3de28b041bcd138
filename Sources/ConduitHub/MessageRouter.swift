public import ConduitCore
import ConduitWire

/// Which handler takes which message type: the application's own types beside the built-in ones.
///
/// A value that is filled before the node starts. Handlers of one client run one after the other, in the order of its
/// messages; handlers of different clients run side by side. What a handler throws is answered with an `error` event:
/// a ``RequestError`` as it is, anything else as `internal` without its text.
public struct MessageRouter: Sendable {
    /// Takes a request; returns what to reply, or `nil` for silence.
    public typealias Handler = @Sendable (MessageRequest) async throws -> Reply?

    private var handlers: [String: Handler] = [:]

    /// A router with the built-in types only.
    public init() {}

    /// Registers a handler for a type of the application's.
    ///
    /// - Throws: ``RequestError`` with `reserved_type` for one of the built-in types, `bad_request` for an empty one.
    public mutating func handle(_ type: String, _ handler: @escaping Handler) throws(RequestError) {
        try ReservedTypes.check(eventType: type)
        handlers[type] = handler
    }

    /// Takes a registered handler away.
    public mutating func remove(_ type: String) { handlers[type] = nil }

    /// The registered types, sorted.
    public var types: [String] { handlers.keys.sorted() }

    subscript(type: String) -> Handler? { handlers[type] }
}

/// One message of a client for a handler of the application's.
public struct MessageRequest: Sendable {
    /// Who sent it.
    public let client: ClientHandle
    /// As whom: what its token said when the message came.
    public let identity: Identity
    /// Its type.
    public let type: String
    /// Its data, as the client wrote it; `null` when it had none.
    public let data: RawJSON
}

/// What a handler answers.
public struct Reply: Sendable {
    /// The event's type.
    public let type: String
    /// The event's data.
    public let data: RawJSON

    /// Makes a reply. It carries the request's `id` back by itself. The type is the application's choice: even one of
    /// the protocol's own, which only clients are kept from sending.
    public init(_ type: String, _ data: RawJSON = .null) {
        self.type = type
        self.data = data
    }
}
