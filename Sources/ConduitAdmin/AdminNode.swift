package import ConduitCluster
package import ConduitCore
package import ConduitHub
package import ConduitTelemetry
package import ConduitWire

/// What the admin port asks of its node. The composition root plugs the real parts in; tests a value of their own.
package protocol AdminNode: Sendable {
    /// This node.
    var nodeID: NodeID { get }
    /// The same answer as the public `/ready`.
    func readiness() async -> AdminReadiness
    /// What `/metrics` shows.
    func statistics() async -> AdminStatistics
    /// Every node of the cluster, as far as it can be seen from here.
    func cluster() async -> AdminCluster
    /// One page of the roster of a room, all nodes together.
    func presence(of room: RoomName, limit: Int, after cursor: String?) async throws(RequestError) -> AdminPresence
    /// The newest samples of one node, or of all, the oldest first.
    func series(_ query: AdminSeriesQuery) async -> AdminSeries
    /// The newest events of the cluster, or the newest before one, the newest first.
    func events(before: String?, limit: Int) async -> AdminEvents
    /// One page of the rooms of the cluster.
    func rooms(_ search: RoomSearch) async throws(RequestError) -> AdminRooms
    /// Who is in a room and on which nodes.
    func room(_ room: RoomName) async throws(RequestError) -> AdminRoom
    /// What the log of an ordered room holds behind a place, or its newest messages. An empty epoch is the log's own.
    func history(
        of room: RoomName, since: RecoveryPoint?, limit: Int
    ) async throws(RequestError) -> AdminHistory
    /// One page of the clients of the cluster, or of one node.
    func clients(_ search: ClientSearch, on node: NodeID?) async throws(RequestError) -> AdminClients
    /// One client; `rows` is empty when no node has it.
    func client(_ id: ClientID) async throws(RequestError) -> AdminClients
    /// Sends an event; returns as soon as it is on its way.
    func publish(_ type: String, _ payload: RawJSON, to target: AdminTarget) async throws(RequestError) -> AdminReceipt
    /// Ends the connections of a user or a client, on whichever node they are.
    func disconnect(_ target: AdminTarget) async throws(RequestError) -> AdminReceipt
    /// Takes a user or a client out of a room, wherever they are; their connections stay.
    func kick(_ target: AdminTarget, from room: RoomName) async throws(RequestError) -> AdminReceipt
    /// Makes tokens good no more and ends the connections that came with them, on every node.
    func revoke(_ revocation: AdminRevocation) async throws(RequestError) -> AdminReceipt
    /// Makes a node send its clients away and end; returns when it has begun.
    func drain(_ node: NodeID, within timeout: Duration?) async -> AdminDrain
    /// Makes the nodes that have too many clients send some to the others; returns when they were told.
    func rebalance() async throws(RequestError) -> AdminRebalance
    /// Does something inside of the trace that a `traceparent` names, where the node traces.
    func traced<Result>(by traceparent: String, _ body: () async throws -> Result) async rethrows -> Result
}

extension AdminNode {
    package func traced<Result>(by traceparent: String, _ body: () async throws -> Result) async rethrows -> Result {
        try await body()
    }
}

/// What became of the node's settings while it ran.
package struct AdminSettings: Sendable {
    /// Changes of the configuration, by result.
    package var reloads: [String: UInt64]
    /// When a configuration was last read well, in seconds since 1970.
    package var reloadedAt: Double

    package init(reloads: [String: UInt64], reloadedAt: Double) {
        self.reloads = reloads
        self.reloadedAt = reloadedAt
    }
}

/// Whom an operator's message is for.
package enum AdminTarget: Hashable, Sendable {
    /// The members of a room.
    case room(RoomName)
    /// Every client of the cluster.
    case everybody
    /// Every connection of a user.
    case user(UserID)
    /// One connection.
    case client(ClientID)
}

/// Whether a node takes clients.
package struct AdminReadiness: Hashable, Sendable {
    /// `ready`, `degraded`, `starting`, `draining` or `overloaded`.
    package var status: String
    /// The HTTP status that says so.
    package var httpStatus: Int

    package init(status: String, httpStatus: Int) {
        self.status = status
        self.httpStatus = httpStatus
    }
}

/// What became of an operator's command.
package struct AdminReceipt: Hashable, Sendable {
    /// Connections that were reached, where that is counted.
    package var count: Int?
    /// What could not be reached; the command was carried out without it.
    package var unreachable: [String]
    /// Until when it holds, where it ends by itself, in milliseconds since 1970.
    package var expiresAt: Int64?

    package init(count: Int? = nil, unreachable: [String] = [], expiresAt: Int64? = nil) {
        self.count = count
        self.unreachable = unreachable
        self.expiresAt = expiresAt
    }
}

/// The figures of one node for `/metrics`.
package struct AdminStatistics: Sendable {
    package var hub: HubStatistics
    /// `nil` when the node is alone.
    package var cluster: ClusterStatistics?
    package var process: ProcessFigures
    /// `nil` when nothing is configured that authenticates.
    package var auth: AuthStatistics?
    package var door: AdminDoor
    package var configuration: AdminSettings?
    package var rebalance: AdminRebalanceFigures

    package init(
        hub: HubStatistics, cluster: ClusterStatistics? = nil, process: ProcessFigures, auth: AuthStatistics? = nil,
        door: AdminDoor = AdminDoor(), configuration: AdminSettings? = nil,
        rebalance: AdminRebalanceFigures = AdminRebalanceFigures()
    ) {
        self.rebalance = rebalance
        self.configuration = configuration
        self.hub = hub
        self.cluster = cluster
        self.process = process
        self.auth = auth
        self.door = door
    }
}

/// How the sharing out of clients goes.
package struct AdminRebalanceFigures: Sendable {
    /// How often it was stopped because clients didn't arrive at the nodes that have fewer.
    package let halts: UInt64
    /// Whether it is stopped so.
    package let isHalted: Bool

    package init(halts: UInt64 = 0, isHalted: Bool = false) {
        self.halts = halts
        self.isHalted = isHalted
    }
}

/// The figures of the public port.
package struct AdminDoor: Sendable {
    /// Requests, by what became of them.
    package var handshakes: [String: UInt64] = [:]
    /// Connections that a limit kept out, by the limit.
    package var refused: [String: UInt64] = [:]
    /// Connections that are not upgraded.
    package var unfinished = 0
    /// When the certificate ends, in seconds since 1970; `nil` without TLS.
    package var certificateNotAfter: Int64?
    /// How often new certificates were `taken`, or `failed`.
    package var certificateReloads: [String: UInt64] = [:]
    /// Resident memory above which no clients are taken; 0 for no limit.
    package var memoryLimit: UInt64 = 0
    /// Whether the process has that much.
    package var isMemoryOver = false

    /// Nothing has happened.
    package init() {}
}

/// The cluster as one node sees it.
package struct AdminCluster: Sendable {
    /// One node: what it wrote of itself at its last heartbeat.
    package struct Node: Sendable {
        package var id: NodeID
        /// Time since its last heartbeat; `nil` for a node alone.
        package var heartbeatAgeMilliseconds: Int64?
        /// The figures of redis.md, as text; numbers are shown as numbers.
        package var fields: [String: String]

        package init(id: NodeID, heartbeatAgeMilliseconds: Int64?, fields: [String: String]) {
            self.id = id
            self.heartbeatAgeMilliseconds = heartbeatAgeMilliseconds
            self.fields = fields
        }
    }

    /// `alone`, `connecting`, `connected` or `degraded`.
    package var status: String
    /// Sorted by id.
    package var nodes: [Node]
    /// What could not be asked: `redis`, or nodes by name.
    package var unreachable: [String]

    package init(status: String, nodes: [Node], unreachable: [String] = []) {
        self.status = status
        self.nodes = nodes
        self.unreachable = unreachable
    }
}

/// One page of a roster.
package struct AdminPresence: Sendable {
    /// Connections in the room, all pages together.
    package var count: Int
    /// Different users in the room.
    package var users: Int
    package var members: [Member]
    /// Where the next page begins; `nil` behind the last.
    package var cursor: String?
    package var unreachable: [String]

    package init(count: Int, users: Int, members: [Member], cursor: String? = nil, unreachable: [String] = []) {
        self.count = count
        self.users = users
        self.members = members
        self.cursor = cursor
        self.unreachable = unreachable
    }
}
