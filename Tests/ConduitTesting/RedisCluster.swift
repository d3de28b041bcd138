/// A Redis Cluster of real processes: masters that share the slots evenly, each with as many replicas as are wanted.
package final class RedisCluster: Sendable {
    package struct Node: Sendable {
        package let server: RedisServer
        package let id: String
    }

    package let masters: [Node]
    package let replicas: [Node]

    private init(masters: [Node], replicas: [Node]) {
        self.masters = masters
        self.replicas = replicas
    }

    /// `options` go for every server.
    package static func start(
        masters: Int = 3, replicasEach: Int = 0, options: RedisServer.Options = RedisServer.Options()
    ) async throws -> RedisCluster {
        var nodes: [(node: Node, busPort: Int)] = []
        for number in 1...(masters + masters * replicasEach) {
            let busPort = try await RedisServer.freePort()
            var options = options
            options.arguments += [
                "--cluster-enabled", "yes", "--cluster-port", String(busPort), "--cluster-node-timeout", "4000",
                "--cluster-announce-ip", "127.0.0.1", "--repl-diskless-sync-delay", "0",
            ]
            if options.tls { options.arguments += ["--tls-cluster", "yes", "--tls-replication", "yes"] }
            let server = try await RedisServer.start(options)
            try await server.redisCLI("CLUSTER", "SET-CONFIG-EPOCH", String(number))
            nodes.append((Node(server: server, id: try await server.redisCLI("CLUSTER", "MYID")), busPort))
        }
        let first = nodes[0].node.server
        for (node, busPort) in nodes.dropFirst() {
            try await first.redisCLI("CLUSTER", "MEET", "127.0.0.1", String(node.server.port), String(busPort))
        }
        for index in 0..<masters {
            try await nodes[index].node.server.redisCLI(
                "CLUSTER", "ADDSLOTSRANGE", String(16_384 * index / masters),
                String(16_384 * (index + 1) / masters - 1))
        }
        for (node, _) in nodes {
            try await eventually("a node knows the others") {
                // Lines end with CR LF, which is one character in Swift.
                try await node.server.redisCLI("CLUSTER", "INFO").split(whereSeparator: \.isNewline)
                    .contains("cluster_known_nodes:\(nodes.count)")
            }
        }
        for index in 0..<(masters * replicasEach) {
            try await nodes[masters + index].node.server.redisCLI(
                "CLUSTER", "REPLICATE", nodes[index % masters].node.id)
        }
        let made = RedisCluster(
            masters: nodes.prefix(masters).map(\.node), replicas: nodes.dropFirst(masters).map(\.node))
        for (node, _) in nodes {
            try await eventually("the cluster is up") {
                try await node.server.redisCLI("CLUSTER", "INFO").contains("cluster_state:ok")
            }
        }
        for replica in made.replicas {
            try await eventually("a replica follows") {
                try await replica.server.redisCLI("INFO", "replication").contains("master_link_status:up")
            }
        }
        return made
    }

    /// The URL that a node is given.
    package var url: String {
        let options = masters[0].server.options
        let user = options.password.map { ":\($0)@" } ?? ""
        return "\(options.tls ? "rediss" : "redis")+cluster://\(user)"
            + masters.map { "127.0.0.1:\($0.server.port)" }.joined(separator: ",")
    }

    /// The master that has a slot, as its own nodes agree; `nil` while they don't.
    package func owner(ofSlot slot: Int) async throws -> Node? {
        for node in masters + replicas where node.server.pid != nil {
            let lines = try await node.server.redisCLI("CLUSTER", "NODES").split(separator: "\n")
            guard let own = lines.first(where: { $0.contains("myself,master") }) else { continue }
            for part in own.split(separator: " ").dropFirst(8) {
                let ends = part.split(separator: "-").compactMap { Int($0) }
                if let low = ends.first, let high = ends.last, (low...max(low, high)).contains(slot) { return node }
            }
        }
        return nil
    }

    /// The slot of a key.
    package func slot(of key: String) async throws -> Int {
        Int(try await masters[0].server.redisCLI("CLUSTER", "KEYSLOT", key)) ?? -1
    }

    /// Moves a slot with its keys, as `redis-cli --cluster reshard` does. `between` is called when the slot is on its
    /// way and half of its keys are gone.
    package func move(slot: Int, to target: Node, between: () async throws -> Void = {}) async throws {
        guard let source = try await owner(ofSlot: slot) else { return }
        let number = String(slot)
        try await target.server.redisCLI("CLUSTER", "SETSLOT", number, "IMPORTING", source.id)
        try await source.server.redisCLI("CLUSTER", "SETSLOT", number, "MIGRATING", target.id)
        let keys = try await source.server.redisCLI("CLUSTER", "GETKEYSINSLOT", number, "1000")
            .split(separator: "\n").map(String.init)
        for key in keys.prefix((keys.count + 1) / 2) { try await migrate(key, from: source, to: target) }
        try await between()
        while true {
            let rest = try await source.server.redisCLI("CLUSTER", "GETKEYSINSLOT", number, "1000")
                .split(separator: "\n").map(String.init)
            if rest.isEmpty { break }
            for key in rest { try await migrate(key, from: source, to: target) }
        }
        for node in [target, source] + masters.filter({ $0.id != target.id && $0.id != source.id }) {
            try await node.server.redisCLI("CLUSTER", "SETSLOT", number, "NODE", target.id)
        }
    }

    private func migrate(_ key: String, from source: Node, to target: Node) async throws {
        try await source.server.redisCLI("MIGRATE", "127.0.0.1", String(target.server.port), key, "0", "5000")
    }
}
