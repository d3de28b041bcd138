/// One client's presence in one room, as rosters show it.
public struct Member: Hashable, Sendable {
    /// The connection.
    public let client: ClientID
    /// Who it is; `nil` for anonymous clients.
    public let user: UserID?
    /// The node that holds the connection.
    public let node: NodeID
    /// When it joined, in milliseconds since 1970.
    public let joinedAt: Int64
    /// What the client told of itself when it joined: raw JSON, empty when nothing.
    public let info: [UInt8]

    /// Makes a member.
    public init(client: ClientID, user: UserID?, node: NodeID, joinedAt: Int64, info: [UInt8] = []) {
        self.client = client
        self.user = user
        self.node = node
        self.joinedAt = joinedAt
        self.info = info
    }
}

/// Why a member is gone.
public enum LeaveReason: String, Sendable, CaseIterable {
    /// It asked to leave.
    case left
    /// Its connection ended.
    case disconnected
    /// Its node died.
    case nodeLost = "node_lost"
}
