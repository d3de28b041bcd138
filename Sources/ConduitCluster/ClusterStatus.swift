import ConduitRedis
package import ConduitTelemetry
import Synchronization

/// Whether this node and the others hear each other.
public enum ClusterStatus: Sendable, Hashable {
    /// No Redis is configured.
    case alone
    /// Redis was not reached yet.
    case connecting
    /// Messages cross in both directions.
    case connected
    /// Redis is away; local delivery goes on. Since when, in milliseconds since 1970.
    case degraded(since: Int64)

    /// The word for it.
    public var name: String {
        switch self {
        case .alone: "alone"
        case .connecting: "connecting"
        case .connected: "connected"
        case .degraded: "degraded"
        }
    }
}

/// The status as any thread reads it: one atomic number.
final class StatusCell: Sendable {
    /// Below zero: alone -1, connecting -2, connected -3. Else degraded since then.
    private let number: Atomic<Int64>

    init(_ status: ClusterStatus) { number = Atomic(Self.number(status)) }

    var value: ClusterStatus {
        get {
            switch number.load(ordering: .relaxed) {
            case -1: .alone
            case -2: .connecting
            case -3: .connected
            case let since: .degraded(since: since)
            }
        }
        set { number.store(Self.number(newValue), ordering: .relaxed) }
    }

    /// The same question without making a value.
    var isConnected: Bool { number.load(ordering: .relaxed) == -3 }

    private static func number(_ status: ClusterStatus) -> Int64 {
        switch status {
        case .alone: -1
        case .connecting: -2
        case .connected: -3
        case .degraded(let since): max(0, since)
        }
    }
}

/// What the bridge of a node has counted since it started, and what it holds now.
package struct ClusterStatistics: Sendable {
    /// Whether the others are heard.
    package var status: ClusterStatus = .alone
    /// Messages whose PUBLISH Redis has answered.
    package var relayPublished: UInt64 = 0
    /// Messages of other nodes that were handed to shards.
    package var relayReceived: UInt64 = 0
    /// Messages that were not relayed or not delivered, by reason.
    package var relayDropped: [String: UInt64] = [:]
    /// Numbered messages times the connections that Redis says got them, this node's own among them.
    package var relayExpected: UInt64 = 0
    /// Numbered messages of other nodes that arrived, whatever became of them.
    package var relayArrived: UInt64 = 0
    /// This node's own numbered messages that came back to it.
    package var relayEchoed: UInt64 = 0
    /// Messages of other nodes that were found missing, whether they came after all or not.
    package var relayGaps: UInt64 = 0
    /// Messages that were missing and were delivered after all.
    package var healed: UInt64 = 0
    /// Messages that were missing and can't be had any more.
    package var unrecoverable: UInt64 = 0
    /// Messages of other nodes that came twice and were dropped.
    package var relayDuplicates: UInt64 = 0
    /// Channels that moved to another server of a Redis Cluster and were subscribed to again.
    package var channelsMoved: UInt64 = 0
    /// Messages of this node that the logs of ordered rooms have taken.
    package var orderedPublished: UInt64 = 0
    /// Messages of ordered rooms that this node's members got, each counted once, whoever published it.
    package var orderedReceived: UInt64 = 0
    /// Messages of ordered rooms that came again and were dropped.
    package var orderedDuplicates: UInt64 = 0
    /// Channels that this node listens to.
    package var subscriptions = 0
    /// Members of all rosters that this node keeps.
    package var presenceMembers = 0
    /// Mistakes in rosters that were found and put right, in Redis or here.
    package var presenceRepaired: UInt64 = 0
    /// Last round trip of a heartbeat, in microseconds.
    package var redisRoundTripMicroseconds: Int64 = 0
    /// Round trips of heartbeats.
    package var redisRoundTrip = LatencyHistogram()
    /// Leases and heartbeats that Redis refused to write, by reason.
    package var heartbeatsRefused: [String: UInt64] = [:]
    /// Entries of the stream of events that were left out since there were too many, by kind.
    package var eventsDropped: [String: UInt64] = [:]
    /// Links that were made again.
    package var reconnects: UInt64 = 0
    /// Bytes that wait for Redis or its answers.
    package var outboxBytes = 0
    /// Nodes with a lease, this one too.
    package var nodes = 0
    /// From sending on another node to hand-off to the shards here.
    package var relay = LatencyHistogram()
    /// What operators ask of all nodes.
    package var surveys = SurveyStatistics()

    package init() {}
}

/// The reasons in ``ClusterStatistics/heartbeatsRefused``.
package enum HeartbeatRefusal {
    /// Redis has no memory left for it (`maxmemory`).
    static let memory = "oom"
    /// Redis can't write to its disk.
    static let disk = "misconf"
    static let replica = "readonly"
    static let rights = "noperm"
    static let other = "other"

    /// All of them: whoever shows figures begins each with 0.
    package static let all = [disk, memory, other, replica, rights]

    private static let words = [
        ("OOM", memory), ("MISCONF", disk), ("READONLY", replica), ("NOPERM", rights), ("NOAUTH", rights),
    ]

    /// An error inside a script may have its word anywhere, as before Redis 7.
    static func reason(of error: RedisError) -> String {
        words.first { error.message.contains($0.0) }?.1 ?? other
    }
}

/// The reasons in ``ClusterStatistics/relayDropped``.
package enum RelayDrop {
    static let outboxBytes = "outbox_bytes"
    static let outboxAge = "outbox_age"
    /// The node ended before Redis had answered them.
    static let leftBehind = "left_behind"
    static let malformed = "malformed"
    static let shardBusy = "shard_busy"
    static let bridgeBusy = "bridge_busy"
    static let publishRefused = "publish_refused"
    static let badEntry = "bad_entry"
    static let badChannel = "bad_channel"
    static let orderedUnavailable = "ordered_unavailable"
    static let orderedBusy = "ordered_busy"
    static let orderedRefused = "ordered_refused"
    static let revocation = "revocation"
    static let refused = "refused"
    static let subscribeRefused = "subscribe_refused"
    static let foreignIncarnation = "foreign_incarnation"

    /// All of them but those of ``ConduitWire/NodeEnvelope/Failure``: whoever shows figures begins each with 0, so that the
    /// first loss is seen as a rise.
    package static let all = [
        badChannel, badEntry, bridgeBusy, foreignIncarnation, leftBehind, malformed, orderedBusy, orderedRefused,
        orderedUnavailable, outboxAge, outboxBytes, publishRefused, refused, revocation, shardBusy, subscribeRefused,
    ]
}
