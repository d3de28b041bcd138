public import ConduitCore

/// What an embedding application wants to be told. Called on the client's loop: return at once, start a task for work.
public struct HubHooks: Sendable {
    /// A client was registered.
    public var onConnect: (@Sendable (ClientHandle) -> Void)?
    /// A client is gone, and why.
    public var onDisconnect: (@Sendable (ClientHandle, CloseReason) -> Void)?
    /// Takes a new token of a connected client (`refresh`) and says who it is now: the same user, or the token is refused.
    ///
    /// A thrown ``RequestError`` is answered as it is; `unavailable`, `internal` and `rate_limited` say that nobody could
    /// tell. Any other error refuses the token. An answer that takes longer than ten seconds is not waited for, and the
    /// task is cancelled. `nil` (the hook) means that connections have no tokens.
    public var refresh: (@Sendable (_ token: String, _ current: Identity) async throws -> Identity)?
    /// Asks somebody else whether a client may join or publish to a room, after its own rights have let it: ``authorizes``
    /// says which of the two. A thrown error, or ten seconds without an answer, means that nobody could tell.
    ///
    /// The client waits meanwhile, unread. What was said of publishing is kept for this client and room: a yes until it
    /// leaves or refreshes its token, a no for ten seconds at most.
    public var authorize: (@Sendable (AuthorizationQuestion) async throws -> Bool)?
    /// What ``authorize`` is asked.
    public var authorizes: Set<AuthorizationQuestion.Action> = [.join, .publish]

    /// No hooks.
    public init() {}
}

/// What ``HubHooks/authorize`` is asked.
public struct AuthorizationQuestion: Sendable {
    /// What a client wants to do.
    public enum Action: String, Sendable, CaseIterable {
        /// Be in a room.
        case join
        /// Send to a room.
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
