public import ConduitCore

/// Settings of the local hub: limits and times of a client.
public struct HubConfiguration: Sendable {
    /// How rooms behave, by namespace.
    public var rooms = RoomPolicies()
    /// Largest message of a client in bytes, all fragments together.
    public var messageBytes = 512 * 1024
    /// Most frames of a client's message; more closes it with 1009.
    public var framesPerMessage = 1024
    /// How messages are compressed for clients who ask for it; `nil` for nobody.
    public var compression: CompressionConfiguration?
    /// Bytes that are read from a socket at a time: the size of the buffer that the sockets of a loop share.
    public var readBufferBytes = 16_384
    /// Most rooms that one client may be in.
    public var roomsPerClient = 128
    /// Most members that one room may have on one event loop of this node.
    public var membersPerRoom = 100_000
    /// Bytes that may wait for a client that reads slowly; more closes it with 3008.
    public var pendingBytes = 1024 * 1024
    /// Bytes that may wait for all slow clients of the node together; more closes those for whom most waits with 3008.
    /// 0 for no limit.
    public var nodePendingBytes = 256 * 1024 * 1024
    /// Messages and control frames that one client may send a second; 0 for any number.
    public var messagesPerSecond = 0
    /// How many of those may come at once; 0 for as many as come back in a second.
    public var messagesBurst = 0
    /// Bytes of messages and control frames that one client may send a second; 0 for any number.
    public var bytesPerSecond = 0
    /// How many of those may come at once; 0 for as many as come back in a second.
    public var bytesBurst = 0
    /// Refusals for one of the two that close a client with 3013; a tenth is forgiven each second. 0 never closes.
    public var rateStrikes = 100
    /// Longest name of a room that a client may join or send to, in bytes; at most 255.
    public var roomNameBytes = 255
    /// Most objects and arrays inside each other in a client's message; at most 64.
    public var jsonDepth = 64
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
    public var revocationAgeMilliseconds: Int64 = 2_592_000_000

    /// The defaults.
    public init() {}
}
