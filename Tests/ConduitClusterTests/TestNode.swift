import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import ConduitWire
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// What a shard was asked to do, as a test reads it.
struct Received: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        case room(RoomName), observers(RoomName), all, send(SendTarget), reply(ClientID), live(RoomName)
        case disconnect(SendTarget, UInt16), revoked(Revocation?)
        /// Into an ordered room; what is replayed follows as ``replay(_:_:)``.
        case admitted(ClientID, RoomName), replay(ClientID, RoomName), refused(ClientID, RoomName)
    }
    let shard: Int
    let kind: Kind
    let json: String
    /// Who doesn't get it.
    var excluded: ClientID?
}

/// Stands for the hub: writes down what the bridge hands over, and answers counted sends.
final class RecordingSink: ShardSink {
    private struct State {
        var received: [Received] = []
        var connections: [SendTarget: [Int: Int]] = [:]
        var bridge: BridgeRef?
        var statistics = HubStatistics()
        var isStuck: (Int) -> Bool = { _ in false }
        var stuck: [@Sendable () -> Void] = []
    }

    let shardCount: Int
    let revocations = Revocations()
    private let state = Mutex(State())

    init(shardCount: Int = 2) { self.shardCount = shardCount }

    func attach(_ bridge: BridgeRef) { state.withLock { $0.bridge = bridge } }
    func detach() { state.withLock { $0.bridge = nil } }
    func setStatistics(_ statistics: HubStatistics) { state.withLock { $0.statistics = statistics } }
    /// All shards, or one, carry nothing out any more, as far as the bridge is told.
    func stick(only shard: Int? = nil) {
        state.withLock { $0.isStuck = { shard == nil || shard == $0 } }
    }
    /// They have carried out what they owed.
    func unstick() {
        let stuck = state.withLock { state in
            defer { state.stuck = [] }
            state.isStuck = { _ in false }
            return state.stuck
        }
        for done in stuck { done() }
    }
    /// How many connections of a target a shard shall claim to have.
    func hold(_ target: SendTarget, shard: Int, count: Int) {
        state.withLock { $0.connections[target, default: [:]][shard] = count }
    }

    var received: [Received] { state.withLock { $0.received } }
    func received(_ kind: Received.Kind) -> [String] { received.filter { $0.kind == kind }.map(\.json) }
    /// Events of a type that observers of a room got.
    func observed(_ room: RoomName, _ type: String) -> [String] {
        received(.observers(room)).filter { $0.contains("\"type\":\"\(type)\"") }
    }

    func perform(_ commands: [ShardCommand], onShard index: Int, done: @escaping @Sendable () -> Void) {
        var reports: [HubEvent] = []
        let bridge = state.withLock { state in
            for given in commands {
                // What is traced is the same to a shard.
                let command = if case .traced(_, let traced) = given { traced } else { given }
                let (kind, message): (Received.Kind, ServerMessage?) =
                    switch command {
                    case .room(let room, let message): (.room(room), message)
                    case .roomExcept(let room, let message, _): (.room(room), message)
                    case .observers(let room, let message): (.observers(room), message)
                    case .all(let message): (.all, message)
                    case .send(let target, let message, _): (.send(target), message)
                    case .reply(let client, let message): (.reply(client), message)
                    case .presenceReply(let client, let message): (.reply(client), message)
                    case .historyReply(let client, let message): (.reply(client), message)
                    case .admit(let client, let admission, _): (.admitted(client, admission.room), nil)
                    case .refuseJoin(let client, let room, _, _): (.refused(client, room), nil)
                    case .roomLive(let room): (.live(room), nil)
                    case .disconnect(let target, let reason): (.disconnect(target, reason.code), nil)
                    case .revoked(let revocation): (.revoked(revocation), nil)
                    case .traced: (.all, nil)
                    }
                if case .send(let target, _, let token?) = command {
                    reports.append(.delivered(token: token, count: state.connections[target]?[index] ?? 0))
                }
                let json = message.map { String(buffer: $0.json) } ?? Self.describe(command)
                var excluded: ClientID?
                if case .roomExcept(_, _, let client) = command { excluded = client }
                state.received.append(Received(shard: index, kind: kind, json: json, excluded: excluded))
                reports += Self.answers(to: command)
                guard case .admit(let client, let admission, _) = command else { continue }
                state.received += admission.replay.map {
                    Received(shard: index, kind: .replay(client, admission.room), json: String(buffer: $0.json))
                }
            }
            return state.bridge
        }
        let isDone = state.withLock { state in
            let isStuck = state.isStuck(index)
            if isStuck { state.stuck.append(done) }
            return !isStuck
        }
        if isDone { done() }
        if !reports.isEmpty { bridge?.relay(reports, fromShard: index) }
    }

    func statistics() async -> HubStatistics { state.withLock { $0.statistics } }

    private static func describe(_ command: ShardCommand) -> String {
        switch command {
        case .admit(_, let admission, _):
            "\(admission.epoch) \(admission.offset) \(admission.recovered) \(admission.reason?.rawValue ?? "-")"
        case .refuseJoin(_, _, let error, _): error.code.rawValue
        default: ""
        }
    }

    /// What a shard tells when it has let a client in, or not.
    private static func answers(to command: ShardCommand) -> [HubEvent] {
        switch command {
        case .admit(let client, let admission, _):
            guard let node = client.node else { return [] }
            let member = Member(client: client, user: nil, node: node, joinedAt: 1_700_000_000_000)
            return [.admitted(room: admission.room, member: member)]
        case .refuseJoin(_, let room, _, _): return [.joinAbandoned(room: room)]
        default: return []
        }
    }
}

/// One node without sockets: a bridge on its own loop, a recorded hub, and verbs that speak like a shard.
final class TestNode: Sendable {
    let id: NodeID
    let sink: RecordingSink
    let bridge: BridgeRef

    static func configuration(_ redis: RedisServer?) throws -> ClusterConfiguration {
        var configuration = ClusterConfiguration()
        configuration.redis = try redis.map { try RedisConfiguration(url: $0.url) }
        configuration.redis?.reconnectMax = .milliseconds(200)
        configuration.heartbeatMilliseconds = 100
        // What starves for seconds on a busy machine is neither dead nor deaf.
        configuration.leaseMilliseconds = 20_000
        configuration.probeMilliseconds = 20_000
        configuration.redis?.connectTimeout = .seconds(20)
        configuration.redis?.commandTimeout = .seconds(20)
        configuration.lingerMilliseconds = 1_000
        configuration.presenceDiffMilliseconds = 20
        return configuration
    }

    /// Nothing that was sent becomes too old, and nobody is given up who takes long to say what was missed.
    static func patientConfiguration(_ redis: RedisServer?) throws -> ClusterConfiguration {
        var configuration = try configuration(redis)
        configuration.repairMilliseconds = 30_000
        configuration.outboxAgeMilliseconds = 300_000
        configuration.ringAgeMilliseconds = 300_000
        return configuration
    }

    /// Three loops that nobody else uses: nodes made one after the other have one each, which a test may block.
    private static let ownLoops = MultiThreadedEventLoopGroup(numberOfThreads: 3)

    init(
        _ name: String, _ configuration: ClusterConfiguration, shards: Int = 2, ownLoop: Bool = false,
        on eventLoop: (any EventLoop)? = nil
    ) throws {
        let loop = eventLoop ?? (ownLoop ? Self.ownLoops.next() : MultiThreadedEventLoopGroup.singleton.next())
        guard let id = NodeID(name) else { throw NeverHappened.badName(name) }
        self.id = id
        sink = RecordingSink(shardCount: shards)
        var logger = Logger(label: name)
        logger.logLevel = .critical
        bridge = BridgeRef(
            node: id, configuration: configuration, eventLoop: loop, logger: logger)
        sink.attach(bridge)
        bridge.start(sink: sink)
    }

    /// A bridge that nobody ends would look for its Redis for ever, on the loops of all tests.
    deinit {
        sink.detach()
        let bridge = bridge
        Task { await bridge.abandon() }
    }

    /// The lease where its end is waited for, in milliseconds.
    static let shortLease: Int64 = 3_000

    /// Makes a node and waits until it takes part.
    static func start(
        _ name: String, _ redis: RedisServer, shards: Int = 2, leaseMilliseconds: Int64? = nil
    ) async throws -> TestNode {
        var configuration = try configuration(redis)
        configuration.leaseMilliseconds = leaseMilliseconds ?? configuration.leaseMilliseconds
        let node = try TestNode(name, configuration, shards: shards)
        try await node.connected()
        return node
    }

    func connected() async throws {
        try await eventually("\(id) is connected") { self.bridge.status == .connected }
    }

    /// Waits until this node has heard of so many nodes, itself among them.
    func knows(_ count: Int) async throws {
        try await eventually("\(id) knows \(count) nodes") { await self.bridge.statistics().nodes == count }
    }

    func client(_ name: String) throws -> ClientID {
        guard let client = ClientID("\(id).\(name)") else { throw NeverHappened.badName(name) }
        return client
    }

    func member(_ name: String, user: String? = nil, info: String = "") throws -> Member {
        Member(
            client: try client(name), user: user.flatMap { UserID($0) }, node: id, joinedAt: 1_700_000_000_000,
            info: Array(info.utf8))
    }

    func join(_ room: RoomName, _ name: String, user: String? = nil, info: String = "", shard: Int = 0) throws {
        bridge.relay([.joined(room: room, member: try member(name, user: user, info: info))], fromShard: shard)
    }

    func leave(_ room: RoomName, _ name: String, _ reason: LeaveReason = .left, shard: Int = 0) throws {
        bridge.relay([.left(room: room, client: try client(name), reason: reason)], fromShard: shard)
    }

    func broadcast(_ room: RoomName, _ texts: String...) {
        bridge.relay(texts.map { .broadcast(room: room, message: message($0)) }, fromShard: 0)
    }

    /// The roster of a room as a client is answered.
    func roster(_ room: RoomName, limit: Int = 100, cursor: String? = nil) async throws -> String {
        let asker = try client("asker" + String(Int.random(in: 0..<1_000_000_000)))
        let address = ReplyAddress(shard: 0, client: asker, request: RequestID(json: ByteBuffer(string: "1")))
        let query = PresenceQuery(room: room, limit: limit, cursor: cursor, replyTo: address)
        bridge.relay([.presenceQuery(query)], fromShard: 0)
        try await eventually("an answer to the presence query") { !self.sink.received(.reply(asker)).isEmpty }
        return sink.received(.reply(asker))[0]
    }

    /// Waits until this node's roster of a room names exactly these clients.
    func waitForRoster(_ room: RoomName, _ clients: Set<String>) async throws {
        try await eventually("\(id) sees \(clients) in \(room)") {
            try await Set(self.clients(in: self.roster(room))) == clients
        }
    }

    /// Waits until this node counts so many members of a room.
    func waitForCount(_ room: RoomName, _ count: Int) async throws {
        try await eventually("\(id) counts \(count) in \(room)") {
            try await self.roster(room, limit: 1).contains("\"count\":\(count),")
        }
    }

    private func clients(in json: String) -> [String] {
        json.split(separator: "\"client_id\":\"").dropFirst().map { String($0.prefix { $0 != "\"" }) }
    }
}

func message(_ json: String) -> ServerMessage { ServerMessage(json: ByteBuffer(string: json)) }

func room(_ name: String) throws -> RoomName {
    guard let room = RoomName(name) else { throw NeverHappened.badName(name) }
    return room
}

extension NeverHappened {
    static func badName(_ name: String) -> BadName { BadName(name: name) }
    struct BadName: Error { let name: String }
}
