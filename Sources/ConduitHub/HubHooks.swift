public import ConduitCore

/// What an embedding application wants to be told. Called on the client's loop: return at once, start a task for work.
public struct HubHooks: Sendable {
    /// A client was registered.
    public var onConnect: (@Sendable (ClientHandle) -> Void)?
    /// A client is gone, and why.
    public var onDisconnect: (@Sendable (ClientHandle, CloseReason) -> Void)?
    /// Takes a new token of a connected client (`refresh`) and says who it is now. Thrown errors refuse the token; `nil`
    /// (the hook) means that connections have no tokens.
    public var refresh: (@Sendable (_ token: String, _ current: Identity) async throws -> Identity)?
    /// Asks somebody else whether a client may join or publish to a room, where the namespace says that it is to be
    /// asked. A thrown error means that nobody could tell.
    public var authorize: (@Sendable (AuthorizationQuestion) async throws -> Bool)?

    /// No hooks.
    public init() {}
}

/// What ``HubHooks/authorize`` is asked.
public struct AuthorizationQuestion: Sendable {
    /// What a client wants to do.
    public enum Action: String, Sendable, CaseIterable {
        case join
        case publish
    }

    /// What it wants to do.
    public let action: Action
    /// The room.
    public let room: RoomName
    /// Who asks.
    public let client: ClientID
    /// As whom.
    public let user: UserID?

    /// Makes a question.
    public init(_ action: Action, room: RoomName, client: ClientID, user: UserID?) {
        self.action = action
        self.room = room
        self.client = client
        self.user = user
    }
}
