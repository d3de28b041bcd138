public import ConduitCore

/// What an embedding application wants to be told. Called on the client's loop: return at once, start a task for work.
public struct HubHooks: Sendable {
    /// A client was registered.
    public var onConnect: (@Sendable (ClientHandle) -> Void)?
    /// A client is gone, and why.
    public var onDisconnect: (@Sendable (ClientHandle, CloseReason) -> Void)?

    /// No hooks.
    public init() {}
}
