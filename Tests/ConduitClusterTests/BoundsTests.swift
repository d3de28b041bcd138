import ConduitCore
import ConduitHub
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

@Suite struct BoundsTests {
    @Test func anEarlierLeaveDoesNotSettleALaterOne() throws {
        let lobby = try room("lobby"), client = try #require(ClientID("n.x"))
        var stones = Tombstones()
        stones.add(client, to: lobby, .left)
        let first = stones.numbers(of: [client], in: lobby)
        stones.remove(client, from: lobby)
        stones.add(client, to: lobby, .disconnected)
        let second = stones.numbers(of: [client], in: lobby)
        stones.settle(first, in: lobby)
        #expect(stones.rooms[lobby]?[client]?.reason == .disconnected)
        stones.settle(second, in: lobby)
        #expect(stones.rooms.isEmpty)
    }

    @Test func aShardOwesBytesToTheBoundButNeverWhatSomebodyWaitsFor() throws {
        let lobby = try room("lobby"), client = try #require(ClientID("n.x"))
        let sink = RecordingSink(shardCount: 1)
        sink.stick()
        var handOff = HandOff(shards: 1, byteLimit: 1_000)
        let large = message("\"" + String(repeating: "x", count: 598) + "\"")
        var taken = handOff.add(.room(lobby, large), to: 1)
        #expect(taken == 1)
        handOff.flush(to: sink)
        taken = handOff.add(.room(lobby, large), to: 1)
        #expect(taken == 0)
        let owed: [ShardCommand] = [
            .reply(client, large), .presenceReply(client, large), .roomLive(lobby),
            .disconnect(.client(client), .forceDisconnect),
        ]
        for command in owed {
            taken = handOff.add(command, to: 1)
            #expect(taken == 1)
        }
        handOff.flush(to: sink)
        #expect(sink.received.count == 5)
        #expect(handOff.dropped == 1)
    }

    @Test func shardsOweTheBridgeBytesToTheBound() throws {
        let lobby = try room("lobby"), client = try #require(ClientID("n.x")), user = try #require(UserID("u"))
        let owed = OwedEvents(limit: 1_000)
        let large = message("\"" + String(repeating: "x", count: 798) + "\"")
        let first = owed.admit([.broadcast(room: lobby, message: large)])
        #expect(first.events.count == 1)
        let pending = PendingSend(
            token: DeliveryToken(origin: 0, number: 1), delivered: 0, awaitedShards: 0,
            replyTo: ReplyAddress(shard: 0, client: client, request: nil))
        let second = owed.admit([
            .broadcast(room: lobby, message: large), .left(room: lobby, client: client, reason: .left),
            .broadcastAll(message: large), .send(target: .user(user), message: large, pending: nil),
            .send(target: .user(user), message: large, pending: pending),
        ])
        #expect(second.events.count == 2, "who left, and a count that somebody waits for")
        #expect(owed.dropped == 4)
        owed.settle(first.weight)
        owed.settle(second.weight)
        #expect(owed.admit([.broadcastAll(message: large)]).events.count == 1)
    }

    @Test func aBusyRedisGetsEverythingAgainInOrder() {
        var outbox = RelayOutbox(byteLimit: 10_000, ageMilliseconds: 1_000)
        func nextChannel() -> String? { outbox.next().map { String(buffer: $0.channel) } }
        for name in ["a", "b", "c"] {
            outbox.append(channel: ByteBuffer(string: name), payload: ByteBuffer(string: "x"), messages: 1, now: 0)
        }
        #expect([nextChannel(), nextChannel()] == ["a", "b"])
        outbox.putBack(now: 0)
        #expect(outbox.next() == nil, "nothing overtakes")
        outbox.putBack(now: 10)
        outbox.tick(now: 50)
        #expect(outbox.next() == nil)
        outbox.tick(now: 110)
        #expect((0..<3).map { _ in nextChannel() } == ["a", "b", "c"])
        for _ in 0..<3 { outbox.putBack(now: 900) }
        outbox.tick(now: 1_001)
        #expect(outbox.isEmpty && outbox.bytes == 0)
        #expect(outbox.droppedForAge == 3)
    }

    @Test func whatIsGivenUpIsCountedWhereverItStands() {
        var outbox = RelayOutbox(byteLimit: 10_000, ageMilliseconds: 1_000)
        for count in 1...3 {
            outbox.append(
                channel: ByteBuffer(string: "c"), payload: ByteBuffer(string: "x"), messages: count, now: 0)
        }
        #expect(outbox.next() != nil && outbox.next() != nil)
        outbox.putBack(now: 0)
        outbox.collected.add(.everyone, .broadcast, request: 0, sentAt: 1) { $0.append(ByteBuffer(string: "{}")) }
        #expect(outbox.giveUp() == 7, "put back, in flight, waiting and not numbered yet")
        #expect(outbox.isEmpty && outbox.bytes == 0 && outbox.messages == 0)
        #expect(outbox.giveUp() == 0)
    }

    @Test func aRosterIsReadOnceForAllWhoAsk() throws {
        let client = try #require(ClientID("n.x"))
        func query(_ name: String) throws -> PresenceQuery {
            PresenceQuery(
                room: try room(name), limit: 1, cursor: nil,
                replyTo: ReplyAddress(shard: 0, client: client, request: nil))
        }
        var scans = RosterScans()
        for name in ["a", "a", "b", "c", "d", "e", "a"] {
            let isTaken = scans.add(try query(name), until: 100)
            #expect(isTaken)
        }
        var running: [(room: RoomName, number: UInt64)] = []
        while let next = scans.next() { running.append(next) }
        #expect(running.map(\.room.rawValue) == ["a", "b", "c", "d"])
        let answered = scans.finished(running[0].room, running[0].number)
        #expect(answered.count == 3)
        let late = scans.expire(now: 100)
        #expect(late.count == 4)
        #expect(scans.count == 0 && !scans.isWanted(running[1].room, running[1].number))
        #expect(scans.finished(running[1].room, running[1].number).isEmpty)
    }

    @Test func rostersAreReadInTheOrderInWhichTheyWereAskedFor() throws {
        var queue = SnapshotQueue()
        let rooms = try (0..<20).map { try room("r\($0)") }
        for room in rooms { queue.add(room) }
        queue.remove(rooms[1])
        queue.add(rooms[1])
        queue.remove(rooms[2])
        var order: [RoomName] = []
        while let next = queue.next() {
            order.append(next)
            _ = queue.finished(next)
        }
        #expect(order == rooms.filter { $0 != rooms[2] })
    }

    @Test func foreignInfoIsBoundedAndPagesFit() throws {
        func member(_ size: Int) throws -> Member {
            Member(
                client: try #require(ClientID("n.x")), user: nil, node: try #require(NodeID("n")), joinedAt: 1,
                info: Array(("\"" + String(repeating: "i", count: size - 2) + "\"").utf8))
        }
        let largest = try member(4_096)
        #expect(MemberCodec.decode(MemberCodec.encode(largest)) == largest)
        #expect(MemberCodec.decode(MemberCodec.encode(try member(4_097))) == nil)
        let many = Array(repeating: largest, count: 1_000)
        let fitting = MemberCodec.count(of: many, fitting: 256 * 1024)
        #expect(fitting == 61)
        #expect(many.prefix(fitting).reduce(0) { $0 + MemberCodec.encode($1).readableBytes } <= 256 * 1024)
        #expect(MemberCodec.count(of: many, fitting: 10) == 1)
        #expect(MemberCodec.count(of: [], fitting: 10) == 0)
    }
}
