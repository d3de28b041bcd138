package import ConduitCore
package import ConduitRedis
import ConduitWire

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

/// Reads a cluster from Redis alone, over any connection; no node need run.
package struct ClusterReader: Sendable {
    private let client: RedisClient
    private let keys: ClusterKeys

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

    /// The newest entries of a node's series, the newest first, as Redis has them.
    package func series(of node: NodeID, count: Int) async throws -> [RedisValue] {
        let key = RedisArgument.string(keys.series(of: node))
        return try await client.send("XREVRANGE", key, "+", "-", "COUNT", .integer(Int64(count))).array ?? []
    }

    /// All nodes by name, the lost ones too until they are cleaned up after.
    package func nodes() async throws -> [NodeRow] {
        let time = try await client.send("TIME").array ?? []
        guard time.count == 2, let seconds = time[0].integer, let microseconds = time[1].integer else {
            throw RedisError(.protocolViolation, "TIME was answered strangely")
        }
        let now = seconds * 1_000 + microseconds / 1_000
        let words = try await client.send("ZRANGE", .string(keys.nodes), "0", "-1", "WITHSCORES").array ?? []
        var rows: [NodeRow] = []
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            guard let node = words[index].string.flatMap({ NodeID($0) }),
                let score = words[index + 1].string.flatMap(Double.init), score.magnitude < 1e15
            else { continue }
            let hash = try await client.send("HGETALL", .string(keys.node(node))).array ?? []
            var fields: [String: String] = [:]
            for index in stride(from: 0, to: hash.count - 1, by: 2) {
                if let name = hash[index].string { fields[name] = hash[index + 1].string }
            }
            rows.append(
                NodeRow(node: node, heartbeatAgeMilliseconds: max(0, now - Int64(score)), fields: fields))
        }
        return rows.sorted { $0.node.rawValue < $1.node.rawValue }
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
}
