public import ConduitCore

/// Settings of the local hub: limits and times of a client.
public struct HubConfiguration: Sendable {
    /// How rooms behave, by namespace.
    public var rooms = RoomPolicies()
    /// Largest message of a client in bytes, all fragments together.
    public var messageBytes = 512 * 1024
    /// Bytes that are read from a socket at a time: the size of the buffer that the sockets of a loop share.
    public var readBufferBytes = 16_384
    /// Most rooms that one client may be in.
    public var roomsPerClient = 128
    /// Most members that one room may have on one event loop of this node.
    public var membersPerRoom = 100_000
    /// Bytes that may wait for a client that reads slowly; more closes it with 3008.
    public var pendingBytes = 1024 * 1024
    /// A WebSocket ping is sent after this long, in milliseconds.
    public var pingIntervalMilliseconds = 30_000
    /// A client without a sign of life for this long is closed with 3012, in milliseconds.
    public var idleTimeoutMilliseconds = 60_000
    /// A client whose socket takes nothing for this long is closed with 3008, in milliseconds.
    public var writeTimeoutMilliseconds = 10_000
    /// A message must be complete this long after its first byte, in milliseconds.
    public var readTimeoutMilliseconds = 30_000
    /// Requests of one client that may wait for custom handlers; their data is bounded by ``pendingBytes`` too.
    public var handlerQueue = 64
    /// Most entries of a client's metadata.
    public var metadataEntries = 64
    /// A client whose token has run out has this long to bring another one, then it is closed with 3005, in milliseconds.
    public var refreshGraceMilliseconds = 25_000
    /// How long a revocation is remembered that doesn't say how long, in milliseconds: at least as long as tokens live.
    public var revocationAgeMilliseconds: Int64 = 86_400_000

    /// The defaults.
    public init() {}
}
