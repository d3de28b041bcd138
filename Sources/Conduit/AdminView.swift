import ConduitAdmin
import ConduitAuth
import ConduitCluster
import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import Tracing

/// The node as its operator's port sees it: figures of its parts, and the cluster as Redis shows it.
struct AdminView: AdminNode {
    let live: LiveConfiguration
    let hub: Hub
    let bridge: BridgeRef
    let gateway: Gateway
    let authenticator: LiveAuthenticator?
    let operations: NodeOperations

    var configuration: NodeConfiguration { live.current }

    var nodeID: NodeID { configuration.nodeID }

    func readiness() async -> AdminReadiness {
        let readiness = gateway.readiness
        let status =
            switch readiness {
            case .ready: 200
            case .degraded: configuration.gateway.degradedStatus
            case .starting, .overloaded, .leaving, .draining: 503
            }
        return AdminReadiness(status: readiness.word, httpStatus: status)
    }

    func statistics() async -> AdminStatistics {
        let rebalance = operations.rebalancer.figures
        return AdminStatistics(
            hub: await hub.statistics(), cluster: await bridge.statistics(), process: ProcessFigures.now(),
            auth: authenticator?.statistics, door: door, configuration: settings,
            rebalance: AdminRebalanceFigures(halts: rebalance.halts, isHalted: rebalance.isHalted))
    }

    private var settings: AdminSettings {
        let figures = live.figures
        return AdminSettings(reloads: figures.results, reloadedAt: figures.reloadedAt)
    }

    func traced<Result>(
        by traceparent: String, _ body: () async throws -> Result
    ) async rethrows -> Result {
        guard let context = TraceContext(traceparent: traceparent).flatMap({ hub.tracer?.context(of: $0) }) else {
            return try await body()
        }
        return try await ServiceContext.withValue(context) { try await body() }
    }

    private var door: AdminDoor {
        let statistics = gateway.statistics
        var door = AdminDoor()
        door.handshakes = statistics.results
        door.refused = statistics.refused
        door.unfinished = max(0, statistics.open - statistics.upgraded)
        door.certificateNotAfter = statistics.certificateNotAfter
        door.certificateReloads = ["taken": statistics.certificateReloads, "failed": statistics.certificateFailures]
        door.memoryLimit = statistics.memoryLimit
        door.isMemoryOver = statistics.isMemoryOver
        return door
    }

    func cluster() async -> AdminCluster {
        let status = bridge.status.name
        guard configuration.cluster.redis != nil else {
            let node = AdminCluster.Node(id: nodeID, heartbeatAgeMilliseconds: nil, fields: await figuresAlone())
            return AdminCluster(status: status, nodes: [node])
        }
        do {
            let rows = try await ClusterReader.withServer(in: configuration.cluster) { try await $0.nodes() }
            let nodes = rows.map {
                AdminCluster.Node(
                    id: $0.node, heartbeatAgeMilliseconds: $0.heartbeatAgeMilliseconds, fields: $0.fields)
            }
            let lost = rows.filter(\.fields.isEmpty).map(\.node.rawValue)
            return AdminCluster(status: status, nodes: nodes, unreachable: lost)
        } catch {
            return AdminCluster(status: status, nodes: [], unreachable: ["redis"])
        }
    }

    func presence(
        of room: RoomName, limit: Int, after cursor: String?
    ) async throws(RequestError) -> AdminPresence {
        var members: [Member] = []
        if configuration.cluster.redis != nil {
            do {
                members = try await ClusterReader.withServer(of: room, in: configuration.cluster) {
                    try await $0.members(of: room)
                }
            } catch {
                throw RequestError(.unavailable, "Redis can't be reached")
            }
        } else {
            members = await bridge.localMembers(of: room)
        }
        let rest = members.drop { member in cursor.map { member.client.rawValue <= $0 } ?? false }
        return AdminPresence(
            count: members.count, users: Set(members.compactMap(\.user)).count,
            members: Array(rest.prefix(limit)),
            cursor: rest.count > limit ? rest.prefix(limit).last?.client.rawValue : nil)
    }

    func publish(_ type: String, _ payload: RawJSON, to target: AdminTarget) async throws(RequestError) -> AdminReceipt
    {
        switch target {
        case .room(let room): try hub.broadcast(type, payload, to: room)
        case .everybody: try hub.broadcastToAll(type, payload)
        case .user(let user): try hub.send(type, payload, to: user)
        case .client(let client): try hub.send(type, payload, to: client)
        }
        return AdminReceipt(unreachable: unreachable)
    }

    func revoke(_ revocation: AdminRevocation) async throws(RequestError) -> AdminReceipt {
        let now = WallClock.milliseconds
        let age = configuration.hub.revocationAgeMilliseconds
        let made = Revocation(revocation.target, now: now, lastExpiry: revocation.expiresAt, age: age)
        let isKept = await bridge.revoke(made)
        return AdminReceipt(unreachable: isKept ? [] : ["redis"], expiresAt: made.expiresAt - Revocation.margin)
    }

    func drain(_ node: NodeID, within timeout: Duration?) async -> AdminDrain {
        await operations.drain(node, within: timeout)
    }

    func rebalance() async throws(RequestError) -> AdminRebalance { try await operations.rebalance() }

    /// The other nodes all together, while the bus is away.
    private var unreachable: [String] {
        switch bridge.status {
        case .alone, .connected: []
        case .connecting, .degraded: ["redis"]
        }
    }
}
