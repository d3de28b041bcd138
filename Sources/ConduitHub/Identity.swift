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
    /// The subprotocol that was negotiated, if any. Set by the gateway.
    package var subprotocol: String?

    /// An identity as an authentication handler returns it: it publishes to its own rooms only, unless told otherwise.
    public init(
        user: UserID?, info: RawJSON? = nil, metadata: [String: String] = [:], mayBroadcastToEverybody: Bool = false,
        mayPublishWithoutJoining: Bool = false
    ) {
        self.user = user
        self.info = info
        self.metadata = metadata
        self.mayBroadcastToEverybody = mayBroadcastToEverybody
        self.mayPublishWithoutJoining = mayPublishWithoutJoining
    }

    /// Anybody, on a node without authentication: may do what the original protocol allows.
    public static let anonymous = Identity(
        user: nil, mayBroadcastToEverybody: true, mayPublishWithoutJoining: true)

    /// Whether it speaks the named protocol and so knows every event type.
    package var knowsAllEvents: Bool { subprotocol?.hasPrefix("conduit.v1.") ?? false }
}
