package import NIOCore

/// Where a Redis is and how its connections are kept. Printing it never shows the password.
package struct RedisConfiguration: Hashable, Sendable {
    /// The address of one server.
    package enum Endpoint: Hashable, Sendable, CustomStringConvertible {
        case host(String, port: Int)
        case unixSocket(path: String)

        package var description: String {
            switch self {
            case .host(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unixSocket(let path): path
            }
        }
    }

    /// What stands behind the endpoint.
    package enum Topology: Hashable, Sendable {
        /// One server.
        case single
        /// The master of that name, as these Sentinels know it; the endpoint is the first of them.
        case sentinel(master: String, sentinels: [Endpoint])
        /// The masters of a Redis Cluster, found through any of these; the endpoint is the first of them.
        case cluster(seeds: [Endpoint])
    }

    /// What is asked of the server's certificate, and what is shown to it.
    package struct TLS: Hashable, Sendable {
        /// A PEM file of the certificate authorities to trust; `nil` for the system's.
        package var caFile: String?
        /// A PEM file of our own certificate, with those that vouch for it, where the server asks for one.
        package var certificateFile: String?
        /// The PEM file of its key.
        package var keyFile: String?
        /// Whether the certificate and its name are checked. Off is for experiments.
        package var verify: Bool
        /// The name in the certificate, when it is not the host of the endpoint.
        package var serverName: String?

        package init(
            caFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil, verify: Bool = true,
            serverName: String? = nil
        ) {
            self.caFile = caFile
            self.certificateFile = certificateFile
            self.keyFile = keyFile
            self.verify = verify
            self.serverName = serverName
        }
    }

    package var endpoint: Endpoint
    package var topology: Topology
    /// The ACL user; `nil` for the default user.
    package var username: String?
    package var password: String?
    /// User of the Sentinels themselves; `nil` for their default user.
    package var sentinelUsername: String?
    /// Password of the Sentinels themselves; `nil` when they ask for none.
    package var sentinelPassword: String?
    /// How often Sentinels are asked for the master, and a Cluster for its slots.
    package var topologyInterval: TimeAmount = .seconds(2)
    /// Most redirections of one command in a Cluster.
    package var maxRedirections = 16
    /// `nil` is plain TCP. Not used on a unix socket.
    package var tls: TLS?
    /// Shown by `CLIENT LIST`; characters that Redis refuses become `-`.
    package var clientName: String?
    /// For TCP, TLS and the handshake together.
    package var connectTimeout: TimeAmount = .seconds(2)
    /// A connection that owes an answer and has been silent for this long is dead.
    package var commandTimeout: TimeAmount = .seconds(5)
    /// Upper end of the first random wait before a new connection.
    package var reconnectMin: TimeAmount = .milliseconds(50)
    /// Upper end of every later random wait.
    package var reconnectMax: TimeAmount = .seconds(2)
    /// After a refused password the wait is between this and twice as long.
    package var authenticationRetry: TimeAmount = .seconds(5)
    /// A connection that has been silent for this long gets a PING; `nil` for none.
    package var keepalive: TimeAmount? = .seconds(10)
    /// Most commands that wait for an answer on one connection.
    package var maxPendingReplies = 262_144
    /// Most bytes that wait for the socket of one connection (one command may go over it).
    package var maxPendingBytes = 16 << 20
    /// Most bytes in one answer with everything in it.
    package var maxReplyBytes = 64 << 20
    /// Most values in one answer, nested ones counted.
    package var maxReplyElements = 1 << 20

    package init(
        endpoint: Endpoint = .host("127.0.0.1", port: 6379), topology: Topology = .single, username: String? = nil,
        password: String? = nil, tls: TLS? = nil, clientName: String? = nil
    ) {
        self.endpoint = endpoint
        self.topology = topology
        self.username = username
        self.password = password
        self.tls = tls
        self.clientName = clientName
    }

    /// From one URL, see ``RedisURL``.
    package init(url: String) throws(RedisURLError) {
        self.init(try RedisURL(url))
    }

    package init(_ url: RedisURL) {
        self.init(
            endpoint: url.endpoint, topology: url.topology, username: url.username, password: url.password,
            tls: url.usesTLS ? TLS() : nil)
    }
}

extension RedisConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String {
        let user = password == nil ? username.map { $0 + "@" } ?? "" : "\(username ?? ""):***@"
        let scheme = tls == nil ? "redis" : "rediss"
        func list(_ endpoints: [Endpoint]) -> String { endpoints.map(\.description).joined(separator: ",") }
        return switch (topology, endpoint) {
        case (.single, .host): "\(scheme)://\(user)\(endpoint)"
        case (.single, .unixSocket): "unix://\(user)\(endpoint)"
        case (.sentinel(let master, let hosts), _): "\(scheme)+sentinel://\(user)\(list(hosts))/\(master)"
        case (.cluster(let hosts), _): "\(scheme)+cluster://\(user)\(list(hosts))"
        }
    }

    package var debugDescription: String { description }

    /// `dump` sees no more than `print`.
    package var customMirror: Mirror { Mirror(self, children: ["url": description]) }
}
