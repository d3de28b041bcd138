package import ConduitCore
package import ConduitRedis
import ConduitTelemetry
import ConduitWire
import NIOCore

/// One node as its own entry in Redis shows it.
package struct NodeRow: Sendable, Hashable {
    /// Its name.
    package let node: NodeID
    /// How long ago its last heartbeat was, by Redis's clock, in milliseconds.
    package let heartbeatAgeMilliseconds: Int64
    /// The fields of `p:node:<id>` as they stand there; empty when its lease ran out.
    package let fields: [String: String]

    package init(node: NodeID, heartbeatAgeMilliseconds: Int64, fields: [String: String]) {
        self.node = node
        self.heartbeatAgeMilliseconds = heartbeatAgeMilliseconds
        self.fields = fields
    }

    /// `starting`, `ready` or `draining`; `lost` when its lease ran out.
    package var state: String { fields["state"] ?? "lost" }
    /// A figure by its name in redis.md.
    package func number(_ name: String) -> Int64? { fields[name].flatMap { Int64($0) } }
}

/// A place in the log of an ordered room.
package struct LogPosition: Sendable, Hashable {
    package let epoch: String
    package let offset: UInt64

    package init(epoch: String, offset: UInt64) {
        self.epoch = epoch
        self.offset = offset
    }
}

/// Reads a cluster from Redis alone, over any connection; no node need run.
package struct ClusterReader: Sendable {
    /// So many nodes know of each other; a longer list isn't read.
    private static let mostNodes: Int64 = 4_096

    let client: RedisClient
    let keys: ClusterKeys

    package init(client: RedisClient, prefix: String) {
        self.client = client
        self.keys = ClusterKeys(prefix: prefix)
    }

    /// Connects to the server that has the list of nodes, or the members of a room, for the time of `body`.
    package static func withServer<Answer>(
        of room: RoomName? = nil, in configuration: ClusterConfiguration, _ body: (ClusterReader) async throws -> Answer
    ) async throws -> Answer {
        let index = room.map { configuration.choice.index(of: $0) } ?? ServerChoice.common
        guard configuration.servers.indices.contains(index) else {
            throw RedisError(.notConnected, "no Redis is configured")
        }
        return try await RedisClient.withConnection(configuration.servers[index]) { client in
            try await body(ClusterReader(client: client, prefix: configuration.prefix))
        }
    }

    /// All nodes by name, the lost ones too until they are cleaned up after. Two round trips, however many there are.
    package func nodes() async throws -> [NodeRow] {
        let list: [[RedisArgument]] = [
            ["TIME"], ["ZRANGE", .string(keys.nodes), "0", .integer(Self.mostNodes - 1), "WITHSCORES"],
        ]
        let answers = try await client.pipeline(list)
        let now = try Self.milliseconds(answers[0])
        let words = answers[1].array ?? []
        var listed: [(node: NodeID, heartbeat: Int64)] = []
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            guard let node = words[index].string.flatMap({ NodeID($0) }),
                let score = words[index + 1].string.flatMap(Double.init), score.magnitude < 1e15
            else { continue }
            listed.append((node, Int64(score)))
        }
        let hashes = try await client.pipeline(listed.map { ["HGETALL", .string(keys.node($0.node))] })
        return zip(listed, hashes).map { entry, hash in
            let words = hash.array ?? []
            var fields: [String: String] = [:]
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                if let name = words[index].string { fields[name] = words[index + 1].string }
            }
            return NodeRow(
                node: entry.node, heartbeatAgeMilliseconds: max(0, now - entry.heartbeat), fields: fields)
        }.sorted { $0.node.rawValue < $1.node.rawValue }
    }

    /// An answer to TIME, in milliseconds since 1970.
    static func milliseconds(_ answer: RedisValue) throws -> Int64 {
        let time = answer.array ?? []
        guard time.count == 2, let seconds = time[0].integer, let microseconds = time[1].integer,
            (0...100_000_000_000).contains(seconds)
        else {
            throw RedisError(.protocolViolation, "TIME was answered strangely")
        }
        return seconds * 1_000 + microseconds / 1_000
    }

    /// All members of a room by client id.
    package func members(of room: RoomName) async throws -> [Member] {
        var members: [ClientID: Member] = [:]
        var cursor = "0"
        repeat {
            let reply =
                try await client.send("HSCAN", .string(keys.members(of: room)), .string(cursor), "COUNT", "1000").array
                ?? []
            guard reply.count == 2, let next = reply[0].string, let words = reply[1].array else {
                throw RedisError(.protocolViolation, "HSCAN was answered strangely")
            }
            for index in stride(from: 1, to: words.count, by: 2) {
                if let member = words[index].bytes.flatMap(MemberCodec.decode) { members[member.client] = member }
            }
            cursor = next
        } while cursor != "0"
        return members.values.sorted { $0.client.rawValue < $1.client.rawValue }
    }

    // MARK: Audit

    /// Asks all nodes for their counts; returns the number of the request.
    package func askAudit(every: UInt32, room: RoomName?) async throws -> UInt64 {
        // Readable by every program, JavaScript's too.
        let request = AuditRequest(request: UInt64.random(in: 1..<(1 << 53)), every: every, room: room)
        var writer = NodeEnvelopeWriter()
        writer.append { ControlMessage.audit(request).write(to: &$0) }
        guard let asker = NodeID("conduit-audit") else { return request.request }
        let payload = writer.finish(
            kind: .control, origin: asker, incarnation: 0, sequence: 0, startsRun: false,
            sentAt: WallClock.microseconds)
        try await client.send(.string(client.publishWord), .string(keys.channel(.control)), .buffer(payload))
        return request.request
    }

    /// The parts of the answers that have come so far, JSON each.
    package func auditParts(of request: UInt64) async throws -> [[UInt8]] {
        let parts = try await client.send("LRANGE", .string(keys.audit(request)), "0", "-1").array ?? []
        return parts.compactMap { $0.bytes.map { Array($0.readableBytesView) } }
    }

    /// Where the logs of ordered rooms end, by the rooms' names.
    package func logTops(of rooms: [RoomName]) async throws -> [String: LogPosition] {
        var tops: [String: LogPosition] = [:]
        for room in rooms {
            let fields = try await client.send("HMGET", .string(keys.meta(of: room)), "e", "o").array ?? []
            guard fields.count == 2, let epoch = fields[0].string else { continue }
            let offset = fields[1].string.flatMap(UInt64.init) ?? 0
            tops[room.rawValue] = LogPosition(epoch: epoch, offset: offset)
        }
        return tops
    }

    /// The answers aren't needed any more.
    package func forgetAudit(_ request: UInt64) async throws {
        try await client.send("DEL", .string(keys.audit(request)))
    }
}
