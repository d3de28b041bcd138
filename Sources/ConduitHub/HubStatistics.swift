public import ConduitCore
public import ConduitTelemetry
import ConduitWire

/// What the shards of one node have counted since it started, and what they hold now.
public struct HubStatistics: Sendable {
    /// Open connections.
    public var clients = 0
    /// Memberships, over all rooms.
    public var memberships = 0
    /// Rooms with at least one member on this node, or kept by the application. Filled by ``Hub/statistics()``.
    public var rooms = 0
    /// Users with at least one connection on this node. Filled by ``Hub/statistics()``.
    public var users = 0
    /// Connections ever accepted.
    public var accepted: UInt64 = 0
    /// Messages that clients sent.
    public var messagesIn: UInt64 = 0
    /// Their bytes.
    public var bytesIn: UInt64 = 0
    /// Reads that flooded shards did themselves, past NIO.
    public var polledReads: UInt64 = 0
    /// Frames handed to sockets, one a recipient: messages, answers, pings.
    public var deliveries: UInt64 = 0
    /// Their bytes.
    public var bytesOut: UInt64 = 0
    /// Messages that were compressed, each once for all who take it so.
    public var deflated: UInt64 = 0
    /// Their bytes before.
    public var deflatedFrom: UInt64 = 0
    /// Their bytes after.
    public var deflatedTo: UInt64 = 0
    /// Compressed messages of clients.
    public var inflated: UInt64 = 0
    /// Their bytes as they came.
    public var inflatedFrom: UInt64 = 0
    /// Their bytes when they were expanded.
    public var inflatedTo: UInt64 = 0
    /// Compressed messages of clients that were refused, by reason.
    public var inflationRefused: [String: UInt64] = ["bytes": 0, "ratio": 0, "data": 0, "text": 0]
    /// Bytes that wait for slow clients now.
    public var pendingBytes = 0
    /// Most of them for one client.
    public var largestPendingBytes = 0
    /// Clients for whom bytes wait now.
    public var stalledClients = 0
    /// Messages that were not delivered, by reason. `drop_oldest`, `drop_newest` and `conflate` are policies of rooms.
    public var dropped: [String: UInt64] = [
        "after_close": 0, "client_gone": 0, "conflate": 0, "drop_newest": 0, "drop_oldest": 0, "node_pending": 0,
        "slow_consumer": 0,
        "unread": 0,
    ]
    /// Slow consumers that were closed with 3008, by reason.
    public var slowClosed: [String: UInt64] = ["node_pending": 0, "pending_bytes": 0, "write_timeout": 0]
    /// Clients that were sent to other nodes, by reason.
    public var shed: [String: UInt64] = ["drain": 0, "rebalance": 0]
    /// Connections that ended, by the number of their close reason.
    public var closed: [UInt16: UInt64] = [:]
    /// Revocations of tokens that this node knows. Filled by ``Hub/statistics()``.
    public var revocations = 0
    /// Revocations that it has forgotten before their time, because there were too many.
    public var revocationsDropped: UInt64 = 0
    /// Publications of clients that were traced.
    public var traced: UInt64 = 0
    /// Publications of clients that would have been, but for the limit of traces a second.
    public var tracesRefused: UInt64 = 0
    /// `error` events, by code.
    public var errors: [String: UInt64] = [:]
    /// What clients asked for beyond a limit, by ``ConduitCore/ClientLimit``.
    public private(set) var limits = Dictionary(
        uniqueKeysWithValues: ClientLimit.allCases.map { ($0.rawValue, UInt64(0)) })
    /// From the read of a message to the write to its last local recipient, per message.
    public var localDelivery = LatencyHistogram()
    /// How late timers of the loops fire.
    public var loopLag = LatencyHistogram()
    /// From accepting a connection to its upgrade, authentication too; clients only, no echoes.
    public var handshake = LatencyHistogram()
    /// From a ping that is queued for a client to its pong.
    public var pingRoundTrip = LatencyHistogram()
    /// What is said in rooms, by namespace: the rooms whose names have none are under ``ConduitCore/RoomNamespaces/none``,
    /// those of namespaces without settings under ``ConduitCore/RoomNamespaces/other``. A room that several shards hold counts once in
    /// ``Hub/statistics()``.
    public var namespaces: [String: RoomTraffic.Namespace] = [:]
    /// The rooms that most was published to on this node in the last seconds, busiest first.
    public var busiest: [BusyRoom] = []

    /// Nothing counted.
    public init() {}

    /// Counts what went over a limit.
    mutating func count(_ limit: ClientLimit) { limits[limit.rawValue, default: 0] += 1 }

    /// Adds another shard's figures.
    public mutating func merge(_ other: HubStatistics) {
        clients += other.clients
        memberships += other.memberships
        accepted += other.accepted
        messagesIn += other.messagesIn
        bytesIn += other.bytesIn
        polledReads += other.polledReads
        deliveries += other.deliveries
        bytesOut += other.bytesOut
        deflated += other.deflated
        deflatedFrom += other.deflatedFrom
        deflatedTo += other.deflatedTo
        inflated += other.inflated
        inflatedFrom += other.inflatedFrom
        inflatedTo += other.inflatedTo
        inflationRefused.merge(other.inflationRefused, uniquingKeysWith: +)
        pendingBytes += other.pendingBytes
        largestPendingBytes = max(largestPendingBytes, other.largestPendingBytes)
        stalledClients += other.stalledClients
        slowClosed.merge(other.slowClosed, uniquingKeysWith: +)
        dropped.merge(other.dropped, uniquingKeysWith: +)
        shed.merge(other.shed, uniquingKeysWith: +)
        closed.merge(other.closed, uniquingKeysWith: +)
        traced += other.traced
        tracesRefused += other.tracesRefused
        errors.merge(other.errors, uniquingKeysWith: +)
        limits.merge(other.limits, uniquingKeysWith: +)
        localDelivery.merge(other.localDelivery)
        loopLag.merge(other.loopLag)
        handshake.merge(other.handshake)
        pingRoundTrip.merge(other.pingRoundTrip)
        for (name, figures) in other.namespaces {
            namespaces[name, default: RoomTraffic.Namespace()].add(figures)
        }
        merge(busiest: other.busiest)
    }

    /// Most rooms in ``busiest``.
    static let busiestCount = 20

    private mutating func merge(busiest other: [BusyRoom]) {
        guard !other.isEmpty else { return }
        var sums = Dictionary(busiest.map { ($0.room, $0.perSecond) }, uniquingKeysWith: +)
        for busy in other { sums[busy.room, default: 0] += busy.perSecond }
        busiest = sums.map { BusyRoom(room: $0.key, perSecond: $0.value) }.sorted { $0.perSecond > $1.perSecond }
    }
}

/// How much is published to one room.
public struct BusyRoom: Hashable, Sendable {
    /// The room.
    public let room: RoomName
    /// Messages a second that were published to it on this node.
    public let perSecond: Double

    /// A room and its messages a second.
    public init(room: RoomName, perSecond: Double) {
        self.room = room
        self.perSecond = perSecond
    }
}

extension RoomTraffic.Namespace {
    fileprivate mutating func add(_ other: Self) {
        rooms += other.rooms
        members += other.members
        published &+= other.published
        deliveries &+= other.deliveries
    }
}

extension HubStatistics {
    /// Adds what a loop has compressed and expanded.
    mutating func add(_ other: MessageCompressor.Statistics) {
        deflated += other.deflated
        deflatedFrom += other.deflatedFrom
        deflatedTo += other.deflatedTo
        inflated += other.inflated
        inflatedFrom += other.inflatedFrom
        inflatedTo += other.inflatedTo
        inflationRefused.merge(other.refused, uniquingKeysWith: +)
    }
}
