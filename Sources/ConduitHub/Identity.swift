public import ConduitCore

/// Who a client is: what an authentication handler says of it.
public struct Identity: Sendable {
    /// The user; `nil` for anonymous clients.
    public var user: UserID?
    /// What rosters show of the client unless it tells something else when it joins.
    public var info: RawJSON?
    /// The client's first metadata.
    public var metadata: [String: String]
    /// Whether it may broadcast to every client of the cluster.
    public var mayBroadcastToEverybody: Bool
    /// Whether it may publish to rooms that it is not in.
    public var mayPublishWithoutJoining: Bool
    /// Whether it may send to users and to single clients.
    public var maySend: Bool
    /// Whether it may read every user's inbox: nobody has a name where nobody is asked for one.
    package private(set) var mayReadInboxes = false
    /// What it may do with rooms; `nil` for as much as the namespaces let anybody.
    public var rights: RoomRights?
    /// Rooms that the server joins it to as it connects.
    public var rooms: [RoomName] = []
    /// When the token runs out, in milliseconds since 1970; `nil` for never.
    public var expiresAt: Int64?
    /// When the token was issued, in milliseconds since 1970, where it says so.
    public var issuedAt: Int64?
    /// The token's own id (`jti`), by which it can be revoked.
    public var tokenID: String?
    /// How far the clock that the token's times are from may be off, in milliseconds. Set by who judges tokens.
    package var leeway: Int64 = 0
    /// The subprotocol that was negotiated, if any. Set by the gateway.
    package var subprotocol: String?

    /// An identity as an authentication handler returns it: it publishes to its own rooms only, unless told otherwise, and
    /// may send to users and clients.
    public init(
        user: UserID?, info: RawJSON? = nil, metadata: [String: String] = [:], mayBroadcastToEverybody: Bool = false,
        mayPublishWithoutJoining: Bool = false, maySend: Bool = true, rights: RoomRights? = nil
    ) {
        self.user = user
        self.info = info
        self.metadata = metadata
        self.mayBroadcastToEverybody = mayBroadcastToEverybody
        self.mayPublishWithoutJoining = mayPublishWithoutJoining
        self.maySend = maySend
        self.rights = rights
    }

    /// Anybody, on a node without authentication: may do what the original protocol allows.
    public static let anonymous: Identity = {
        var identity = Identity(user: nil, mayBroadcastToEverybody: true, mayPublishWithoutJoining: true)
        identity.mayReadInboxes = true
        return identity
    }()

    /// Whether it speaks the named protocol and so knows every event type.
    package var knowsAllEvents: Bool { subprotocol?.hasPrefix("conduit.v1.") ?? false }
}
