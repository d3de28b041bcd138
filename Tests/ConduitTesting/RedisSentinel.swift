/// A master, its replicas and three Sentinels that watch it, all real processes of one test.
package final class RedisSentinel: Sendable {
    package static let name = "mymaster"
    /// The first was made the master.
    package let servers: [RedisServer]
    package let sentinels: [RedisServer]

    private init(servers: [RedisServer], sentinels: [RedisServer]) {
        self.servers = servers
        self.sentinels = sentinels
    }

    /// `users`, `sentinelUsers`: lines for `user` on the servers and on the Sentinels.
    package static func start(
        replicas: Int = 1, users: [String] = [], sentinelUsers: [String] = []
    ) async throws -> RedisSentinel {
        let master = try await RedisServer.start(RedisServer.Options(users: users))
        var servers = [master]
        for _ in 0..<replicas {
            let arguments = ["--replicaof", "127.0.0.1", String(master.port)]
            servers.append(try await RedisServer.start(RedisServer.Options(users: users, arguments: arguments)))
        }
        // Or a replica waits for others before its first copy.
        try await master.redisCLI("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        for server in servers { try await server.redisCLI("CONFIG", "SET", "repl-ping-replica-period", "1") }
        try await eventually("\(replicas) replicas follow") {
            try await master.redisCLI("INFO", "replication").split(whereSeparator: \.isNewline)
                .count { $0.contains("state=online") } == replicas
        }
        var sentinels: [RedisServer] = []
        for _ in 0..<3 {
            var options = RedisServer.Options()
            options.isSentinel = true
            options.configuration = [
                "sentinel monitor \(name) 127.0.0.1 \(master.port) 2",
                "sentinel down-after-milliseconds \(name) 700", "sentinel failover-timeout \(name) 4000",
            ]
            options.configuration += sentinelUsers.map { "user \($0)" }
            sentinels.append(try await RedisServer.start(options))
        }
        let made = RedisSentinel(servers: servers, sentinels: sentinels)
        for sentinel in sentinels {
            try await eventually("the Sentinels know each other and the replicas") {
                let fields = try await made.fields(sentinel)
                return fields["num-other-sentinels"] == "2" && fields["num-slaves"] == "\(replicas)"
                    && fields["flags"] == "master"
            }
        }
        return made
    }

    /// The URL that a node is given.
    package var url: String {
        "redis+sentinel://" + sentinels.map { "127.0.0.1:\($0.port)" }.joined(separator: ",") + "/\(Self.name)"
    }

    /// The server that all Sentinels name as the master.
    package func master() async throws -> RedisServer? {
        var ports: Set<String> = []
        for sentinel in sentinels { ports.insert(try await fields(sentinel)["port"] ?? "") }
        return ports.count == 1 ? servers.first { ports.contains(String($0.port)) } : nil
    }

    /// What a Sentinel says of the master.
    package func fields(_ sentinel: RedisServer) async throws -> [String: String] {
        let words = try await sentinel.redisCLI("SENTINEL", "MASTER", Self.name)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: words.count - 1, by: 2) { fields[words[index]] = words[index + 1] }
        return fields
    }
}
