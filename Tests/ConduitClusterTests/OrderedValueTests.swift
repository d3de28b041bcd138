import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

@Suite struct OrderedPublishesTests {
    private func message(_ room: RoomName, _ text: String) -> OrderedPublish {
        OrderedPublish(room: room, json: ByteBuffer(string: text))
    }

    @Test func oneScriptARoomIsUnderWayAndTheRestGoesTogether() throws {
        let (a, b) = (try room("chat:a"), try room("chat:b"))
        var publishes = OrderedPublishes(byteLimit: 1 << 20)
        var taken = [message(a, "1"), message(a, "2"), message(b, "3")].map { publishes.add($0) }
        let next = publishes.next()
        let first = try #require(next)
        #expect(first.room == a && first.messages.map { String(buffer: $0.json) } == ["1", "2"])
        taken += [message(a, "4"), message(a, "5")].map { publishes.add($0) }
        #expect(taken == [true, true, true, true, true])
        let second = publishes.next()
        let nothing = publishes.next()
        #expect(second?.room == b && nothing == nil)
        publishes.ended(a, first.messages)
        let third = publishes.next()
        #expect(third?.messages.map { String(buffer: $0.json) } == ["4", "5"])
        #expect(publishes.count == 3 && !publishes.isEmpty)
    }

    @Test func whatIsTooMuchIsNotTaken() throws {
        let a = try room("chat:a")
        var publishes = OrderedPublishes(byteLimit: 1_000)
        var taken = 0
        for _ in 0..<100 where publishes.add(message(a, String(repeating: "x", count: 100))) { taken += 1 }
        #expect(taken == 4 && publishes.bytes <= 1_000)
        let next = publishes.next()
        let batch = try #require(next)
        publishes.ended(a, batch.messages)
        #expect(publishes.isEmpty && publishes.bytes == 0)
        let isTaken = publishes.add(message(a, "x"))
        #expect(isTaken)
    }

    @Test func aScriptTakesOnlySoMuch() throws {
        let a = try room("chat:a")
        var publishes = OrderedPublishes(byteLimit: 64 << 20)
        for index in 0..<2_000 { _ = publishes.add(message(a, "\(index)")) }
        var order: [String] = []
        while let batch = publishes.next() {
            #expect(batch.messages.count <= OrderedPublishes.batchLimit)
            order += batch.messages.map { String(buffer: $0.json) }
            publishes.ended(a, batch.messages)
        }
        #expect(order == (0..<2_000).map { "\($0)" })
    }
}

@Suite struct OrderedJoinsTests {
    private let lobby = RoomName(literal: "chat:lobby")
    private let position = RecoveryPoint(epoch: "e", offset: 10)

    private func join(_ offset: UInt64?) throws -> OrderedJoin {
        let client = try #require(ClientID("n.abc"))
        return OrderedJoin(
            room: lobby, recover: offset.map { RecoveryPoint(epoch: "e", offset: $0) },
            replyTo: ReplyAddress(shard: 0, client: client, request: nil))
    }

    private func page(_ offsets: ClosedRange<UInt64>, isWhole: Bool = true) -> OrderedRoom.Page {
        let messages = offsets.map { OrderedMessage(offset: $0, json: ByteBuffer(string: "{\"d\":0}")) }
        return OrderedRoom.Page(epoch: "e", top: offsets.upperBound, messages: messages, isWhole: isWhole)
    }

    @Test func verdictsFollowFromWhereBothStand() {
        func verdict(_ epoch: String, _ offset: UInt64) -> OrderedJoins.Verdict {
            OrderedJoins.verdict(RecoveryPoint(epoch: epoch, offset: offset), at: position, limit: 5)
        }
        #expect(OrderedJoins.verdict(nil, at: position, limit: 5) == .admit(recovered: false, reason: nil))
        #expect(verdict("f", 10) == .admit(recovered: false, reason: .epochChanged))
        #expect(verdict("e", 10) == .admit(recovered: true, reason: nil))
        #expect(verdict("e", 11) == .ahead)
        #expect(verdict("e", 5) == .replay)
        #expect(verdict("e", 4) == .admit(recovered: false, reason: .limit))
    }

    @Test func allWhoWaitAreServedByOneReadAndGetWhatCameMeanwhile() throws {
        var joins = OrderedJoins(byteLimit: 10_000)
        for offset in [4, 6, 8] as [UInt64] { _ = joins.add(try join(offset), now: 0) }
        let begun = joins.resume(joins.take(lobby), of: lobby, at: position)
        let number = try #require(begun)
        let request = try #require(joins.request(lobby, number))
        #expect(request.after == RecoveryPoint(epoch: "e", offset: 4) && request.through == 10)
        // One more who fits in, and one who stopped earlier.
        for offset in [5, 2] as [UInt64] { _ = joins.add(try join(offset), now: 0) }
        let another = joins.resume(joins.take(lobby), of: lobby, at: position)
        #expect(another == nil)
        #expect(joins.hasWaiting(lobby) && joins.count == 5)
        let frame = ServerMessage(json: ByteBuffer(string: "{\"d\":0}"), offset: 11)
        joins.delivered(frame, offset: 11, epoch: "e", to: lobby)
        let goesOn = joins.read(page(8...10, isWhole: false), of: lobby, number)
        #expect(goesOn)
        #expect(joins.request(lobby, number)?.through == 7)
        // In two parts, the newest first.
        let goesOnStill = joins.read(page(5...7), of: lobby, number)
        #expect(!goesOnStill)
        let finished = joins.finish(lobby, number)
        let (resume, frames) = try #require(finished)
        #expect(frames.map(\.offset) == Array(5...11))
        #expect(resume.joins.count == 4)
        let now = RecoveryPoint(epoch: "e", offset: 11)
        func replay(_ offset: UInt64, limit: Int = 100) -> ([String], RecoveryFailure?) {
            let result = joins.replay(after: offset, of: frames, at: now, limit: limit, isCut: resume.isCut)
            return (result.messages.map { String(buffer: $0.json) }, result.failure)
        }
        #expect(replay(9).0 == ["{\"d\":0,\"offset\":10}", "{\"d\":0,\"offset\":11}"] && replay(9).1 == nil)
        #expect(replay(4).0.count == 7)
        #expect(replay(3).1 == .trimmed)
        #expect(replay(5, limit: 5).1 == .limit)
        #expect(replay(11) == ([], nil))
        #expect(replay(12).1 == .offsetAhead)
        #expect(joins.count == 1)
        let late = joins.expire(now: OrderedJoins.patience)
        #expect(late.count == 1 && joins.count == 0)
    }

    @Test(arguments: [1, 2]) func whatSeveralGetIsCompressedOnceForAllOfThem(clients: Int) throws {
        var joins = OrderedJoins(byteLimit: 10_000, compressesFrom: 20)
        for _ in 0..<clients { _ = joins.add(try join(8), now: 0) }
        let begun = joins.resume(joins.take(lobby), of: lobby, at: position)
        let number = try #require(begun)
        let long = ServerMessage(json: ByteBuffer(string: "{\"d\":0}"), offset: 11)
        joins.delivered(long, offset: 11, epoch: "e", to: lobby)
        joins.delivered(ServerMessage(json: ByteBuffer(string: "{\"d\":0}")), offset: 12, epoch: "e", to: lobby)
        _ = joins.read(page(9...10), of: lobby, number)
        let finished = joins.finish(lobby, number)
        let (_, frames) = try #require(finished)
        #expect(frames.map { $0.message.deflated != nil } == [clients > 1, clients > 1, clients > 1, false])
    }

    @Test func whatIsTooMuchForAReplayIsNotKept() throws {
        var joins = OrderedJoins(byteLimit: 100)
        _ = joins.add(try join(1), now: 0)
        let begun = joins.resume(joins.take(lobby), of: lobby, at: position)
        let number = try #require(begun)
        let goesOn = joins.read(page(2...9, isWhole: false), of: lobby, number)
        let finished = joins.finish(lobby, number)
        let (resume, frames) = try #require(finished)
        #expect(!goesOn)
        let result = joins.replay(after: 1, of: frames, at: position, limit: 100, isCut: resume.isCut)
        #expect(result.failure == .limit && result.messages.isEmpty)
    }
}

@Suite struct OrderedLagTests {
    private let lobby = RoomName(literal: "chat:lobby")

    private func message(_ offset: UInt64) -> OrderedMessage {
        OrderedMessage(offset: offset, json: ByteBuffer(string: "{\"d\":0}"))
    }

    @Test func aShardGetsWhatItLacksAndWhatCameDuringTheRead() {
        var lag = OrderedLag()
        lag.refused(0b101, message(5), epoch: "e", in: lobby)
        #expect(lag.shards(of: lobby) == 0b101)
        lag.delivered(message(6), epoch: "e", in: lobby)
        lag.readStarted(lobby, 2)
        lag.delivered(message(7), epoch: "e", in: lobby)
        let page = OrderedRoom.Page(epoch: "e", top: 6, messages: [message(5), message(6)], isWhole: true)
        let missing = lag.readEnded(lobby, 2, page)
        #expect(missing.map(\.offset) == [5, 6, 7])
        lag.advanced(lobby, 2, to: 7)
        #expect(lag.rooms[lobby]?[2]?.offset == 7 && lag.rooms[lobby]?[2]?.isReading == false)
        lag.remove(lobby, 2)
        #expect(lag.shards(of: lobby) == 0b001)
        // A part of the log says nothing of what came after it.
        lag.readStarted(lobby, 0)
        lag.delivered(message(8), epoch: "e", in: lobby)
        let part = OrderedRoom.Page(epoch: "e", top: 8, messages: [message(5)], isWhole: false)
        let some = lag.readEnded(lobby, 0, part)
        #expect(some.map(\.offset) == [5])
        // Another epoch is read from its beginning.
        lag.readStarted(lobby, 0)
        _ = lag.readEnded(lobby, 0, OrderedRoom.Page(epoch: "f", top: 3, messages: [message(3)], isWhole: true))
        #expect(lag.rooms[lobby]?[0]?.epoch == "f" && lag.rooms[lobby]?[0]?.offset == 0)
        lag.removeAll(of: lobby)
        #expect(lag.isEmpty)
    }
}
