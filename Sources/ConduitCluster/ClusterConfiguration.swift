package import ConduitCore
package import ConduitRedis

/// How a node takes part in a cluster.
package struct ClusterConfiguration: Sendable {
    /// Where Redis is; `nil` runs the node alone.
    package var redis: RedisConfiguration?
    /// More servers, independent of the first and of each other: rooms and users are spread over all of them.
    package var furtherRedis: [RedisConfiguration] = []
    /// What every key and channel begins with.
    package var prefix = "conduit"
    /// How rooms behave, by namespace.
    package var rooms = RoomPolicies()
    /// How often the lease is renewed, in milliseconds.
    package var heartbeatMilliseconds: Int64 = 1_000
    /// A node without a heartbeat for this long is lost, in milliseconds.
    package var leaseMilliseconds: Int64 = 5_000
    /// How long a node's ping to itself may take, however often it is sent, in milliseconds: a busy machine isn't a dead
    /// subscription.
    package var probeMilliseconds: Int64 = 1_000
    /// How long a subscription is kept after its last member left, in milliseconds.
    package var lingerMilliseconds: Int64 = 2_000
    /// Bytes that may wait for Redis.
    package var outboxBytes = 8 * 1024 * 1024
    /// How old a message may get that waits for Redis, in milliseconds.
    package var outboxAgeMilliseconds: Int64 = 30_000
    /// How long messages for other nodes may wait for each other when there are many, in microseconds; 0 for not at all.
    package var publishHoldMicroseconds: Int64 = 500
    /// Bytes of its own messages that a node keeps, to repair what other nodes missed.
    package var ringBytes = 16 * 1024 * 1024
    /// How long a node keeps its own messages for that, in milliseconds.
    package var ringAgeMilliseconds: Int64 = 60_000
    /// How long messages of a node may wait that doesn't say what was missed before them, in milliseconds.
    package var repairMilliseconds: Int64 = 2_000
    /// How often the positions of ordered rooms are compared with their logs, in milliseconds.
    package var positionCheckMilliseconds: Int64 = 5_000
    /// Most bytes that are replayed to a client that comes back to an ordered room: half of what may wait for it.
    package var replayBytes = 512 * 1024
    /// Heartbeats that a node's series keeps.
    package var seriesLength = 3_600
    /// Entries that the stream of events keeps.
    package var eventsLength = 10_000
    /// Whether that stream tells of rooms that are occupied and vacated.
    package var roomEvents = true
    /// Whether that stream tells of clients that come and go.
    package var clientEvents = false
    /// Most such entries a second.
    package var eventsPerSecond = 100
    /// Whether rosters are kept and told.
    package var presenceEnabled = true
    /// How long changes of a roster are collected before observers are told, in milliseconds.
    package var presenceDiffMilliseconds: Int64 = 100
    /// How long the places of clients that were sent to other nodes are kept for their users, in milliseconds.
    package var handOverMilliseconds: Int64 = 5_000
    /// How long a node may take to answer what an operator asks, in milliseconds.
    package var surveyMilliseconds: Int64 = 1_000
    /// What `p:node:<id>` shows as the node's machine.
    package var host = ""
    /// What `p:node:<id>` shows as the address of the public port.
    package var address = ""

    /// The defaults.
    package init() {}

    /// All servers, in the order that all nodes must share; none for a node alone.
    package var servers: [RedisConfiguration] { redis.map { [$0] + furtherRedis } ?? [] }

    /// Where each room and user lives among ``servers``.
    package var choice: ServerChoice { ServerChoice(count: servers.count) }

    /// The same for one bridge, which knows its own server only.
    func only(_ server: RedisConfiguration?) -> ClusterConfiguration {
        var copy = self
        copy.redis = server
        copy.furtherRedis = []
        return copy
    }
}
