import ConduitCluster
import ConduitCore
import ConduitHub
import ConduitTesting
import ConduitWire
import NIOCore

/// How a client was let into an ordered room.
struct Admission: Equatable {
    let epoch: String
    let offset: UInt64
    let recovered: Bool
    let reason: String?

    var position: RecoveryPoint { RecoveryPoint(epoch: epoch, offset: offset) }

    init?(_ text: String) {
        let words = text.split(separator: " ").map(String.init)
        guard words.count == 4, let offset = UInt64(words[1]) else { return nil }
        self.epoch = words[0]
        self.offset = offset
        self.recovered = words[2] == "true"
        self.reason = words[3] == "-" ? nil : words[3]
    }
}

/// A node whose rooms `chat:…` are ordered, and verbs that speak of them like a shard.
extension TestNode {
    static func orderedConfiguration(_ redis: RedisServer) throws -> ClusterConfiguration {
        var configuration = try configuration(redis)
        var policy = RoomPolicy()
        policy.mode = .ordered
        configuration.rooms = RoomPolicies(namespaces: ["chat": policy])
        configuration.positionCheckMilliseconds = 100
        return configuration
    }

    static func startOrdered(
        _ name: String, _ redis: RedisServer, shards: Int = 2, _ change: (inout ClusterConfiguration) -> Void = { _ in }
    ) async throws -> TestNode {
        var configuration = try orderedConfiguration(redis)
        change(&configuration)
        let node = try TestNode(name, configuration, shards: shards)
        try await node.connected()
        return node
    }

    private func address(_ name: String, shard: Int, request: String?) throws -> ReplyAddress {
        ReplyAddress(
            shard: shard, client: try client(name),
            request: request.map { RequestID(json: ByteBuffer(string: $0)) })
    }

    func publish(
        _ room: RoomName, _ texts: [String], by name: String = "publisher", keys: [String?] = [],
        excluded: String? = nil,
        shard: Int = 0, isWaiting: Bool = true
    ) throws {
        let excluded = try excluded.map { try client($0) }
        let events = try texts.enumerated().map { index, text in
            HubEvent.publishOrdered(
                OrderedPublish(
                    room: room, json: ByteBuffer(string: "{\"d\":\"\(text)\"}"),
                    key: keys.indices.contains(index) ? keys[index] : nil, excluded: excluded,
                    replyTo: try address(name, shard: shard, request: isWaiting ? "\"\(text)\"" : nil)))
        }
        bridge.relay(events, fromShard: shard)
    }

    /// Answers to a publisher, oldest first.
    func answers(to name: String = "publisher") throws -> [String] { sink.received(.reply(try client(name))) }

    /// Waits until a publisher has so many answers.
    func answered(_ count: Int, to name: String = "publisher") async throws {
        try await eventually("\(count) answers to \(name) on \(id)") { try answers(to: name).count >= count }
    }

    func startJoining(_ room: RoomName, _ name: String, recover: RecoveryPoint? = nil, shard: Int = 0) throws {
        let join = OrderedJoin(room: room, recover: recover, replyTo: try address(name, shard: shard, request: "1"))
        bridge.relay([.joinOrdered(join)], fromShard: shard)
    }

    func admission(_ room: RoomName, _ name: String) throws -> Admission? {
        sink.received(.admitted(try client(name), room)).first.flatMap { Admission($0) }
    }

    @discardableResult
    func joinOrdered(
        _ room: RoomName, _ name: String, recover: RecoveryPoint? = nil, shard: Int = 0
    ) async throws -> Admission {
        try startJoining(room, name, recover: recover, shard: shard)
        let client = try client(name)
        var refusals = sink.received(.refused(client, room)).count
        try await eventually("\(name) is let into \(room) on \(id)") {
            if try admission(room, name) != nil { return true }
            // Five seconds were too short for a busy machine: as a client would, it tries again.
            let answers = sink.received(.refused(client, room))
            if answers.count > refusals, answers.last == "unavailable" {
                refusals = answers.count
                try startJoining(room, name, recover: recover, shard: shard)
            }
            return false
        }
        guard let admission = try admission(room, name) else { throw NeverHappened.badName(name) }
        return admission
    }

    /// What a client has read of a room since it was let in: replays, then what came to its shard.
    func read(_ room: RoomName, _ name: String) throws -> [String] {
        let client = try client(name)
        let received = sink.received
        guard let start = received.firstIndex(where: { $0.kind == .admitted(client, room) }) else { return [] }
        return received[start...].filter {
            ($0.kind == .replay(client, room) || ($0.kind == .room(room) && $0.excluded != client))
                && $0.shard == received[start].shard
        }.map(\.json)
    }

    /// Waits until a client has read so many messages.
    func hasRead(
        _ room: RoomName, _ name: String, _ count: Int, poll: Duration = .milliseconds(20)
    ) async throws {
        try await eventually("\(name) has read \(count) messages on \(id)", poll: poll) {
            try read(room, name).count >= count
        }
    }
}

/// A message as members read it.
func numbered(_ text: String, _ offset: UInt64) -> String { "{\"d\":\"\(text)\",\"offset\":\(offset)}" }
