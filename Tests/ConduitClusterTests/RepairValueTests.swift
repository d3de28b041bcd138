import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitCluster

/// `#expect` for conditions that call a mutating method, which the macro can't take apart.
private func check(_ condition: Bool, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(condition, comment, sourceLocation: sourceLocation)
}

@Suite struct RecentMessagesTests {
    private func message(_ first: UInt64, bytes: Int = 100, time: Int64 = 0) -> RecentMessages.Message {
        .init(topic: .everyone, first: first, count: 1, payload: ByteBuffer(repeating: 0, count: bytes), time: time)
    }

    @Test func theOldestGoFirst() {
        var recent = RecentMessages(byteLimit: 3 * (100 + RecentMessages.overhead), ageMilliseconds: 1_000)
        let numbers = (1...5).map { recent.append(message(UInt64($0), time: Int64($0))) }
        #expect(numbers == [1, 2, 3, 4, 5])
        #expect(recent.start == 3 && recent.end == 6 && recent.count == 3)
        #expect(recent[2] == nil && recent[6] == nil)
        #expect(recent[4]?.first == 4)
        recent.sent(3, now: 900)
        recent.tick(now: 1_500)
        #expect(recent.count == 3, "what was sent again is young again")
        recent.tick(now: 1_901)
        #expect(recent.count == 0 && recent.bytes == 0)
        check(recent.append(message(6)) == 6)
    }

    @Test func aRingOfNothingStillCounts() {
        var recent = RecentMessages(byteLimit: 0, ageMilliseconds: 1_000)
        check(recent.append(message(1)) == 1)
        check(recent.append(message(2)) == 2)
        #expect(recent.count == 0 && recent.bytes == 0)
    }
}

@Suite struct CatchUpTests {
    private let a = NodeID("a"), b = NodeID("b")

    private func envelope(_ origin: NodeID, _ sequence: UInt64) throws -> NodeEnvelope {
        var writer = NodeEnvelopeWriter()
        writer.append(ByteBuffer(string: "{}"))
        return try NodeEnvelope.decode(
            writer.finish(
                kind: .broadcast, origin: origin, incarnation: 1, sequence: sequence, startsRun: false, sentAt: 0))
    }

    private func admit(
        _ catchUp: inout CatchUp, _ origin: NodeID, _ number: UInt64, bytes: Int = 10, now: Int64 = 0
    ) throws -> CatchUp.Admission {
        catchUp.admit(.everyone, try envelope(origin, number), bytes: bytes, now: now)
    }

    @Test func messagesWaitUntilTheirNodeHasAnswered() throws {
        let (a, b) = (try #require(a), try #require(b))
        var catchUp = CatchUp(memoryMilliseconds: 60_000)
        #expect(!catchUp.isActive)
        try check(admit(&catchUp, a, 1) == .passes)
        catchUp.regained([a], now: 0)
        #expect(catchUp.isDone, "nothing was lost")
        catchUp.lost()
        try check(admit(&catchUp, a, 2) == .begins)
        check(catchUp.due(now: 10_000, canAsk: false, canHear: false).isEmpty, "there is no bound without a link")
        catchUp.regained([a], now: 10_000)
        check(catchUp.due(now: 10_000, canAsk: true, canHear: true) == [.ask(a)])
        let request = catchUp.asked(a, now: 10_000, clock: 10_000)
        try check(admit(&catchUp, a, 3) == .held)
        try check(admit(&catchUp, b, 1, now: 10_001) == .begins, "unknown so far: it may have been missed, too")
        check(catchUp.heard(b, request: request, now: 10_001) == nil)
        check(catchUp.heard(a, request: request, now: 10_001) == 10_000)
        try check(!catchUp.delivers(.everyone, envelope(a, 1)), "it was missing")
        try check(catchUp.delivers(.everyone, envelope(a, 2)), "it waits")
        check(catchUp.end(a, answered: true, now: 10_002).map(\.envelope.sequence) == [3])
        try check(admit(&catchUp, a, 4) == .passes)
        check(!catchUp.listens(a, now: 10_003), "it has answered")
        check(catchUp.listens(b, now: 10_003))
        _ = catchUp.end(b, answered: false, now: 10_004)
        try check(admit(&catchUp, b, 5) == .passes, "who is silent holds nothing up")
        check(catchUp.listens(b, now: 10_005), "until it is heard again")
    }

    @Test func silenceIsBounded() throws {
        let a = try #require(a)
        var catchUp = CatchUp(memoryMilliseconds: 60_000)
        try check(catchUp.holdBehindHole(.everyone, envelope(a, 5), bytes: 10, now: 100))
        check(catchUp.due(now: 100, canAsk: true, canHear: true) == [.ask(a)])
        _ = catchUp.asked(a, now: 100, clock: 100)
        check(catchUp.due(now: 600, canAsk: true, canHear: true).isEmpty)
        check(catchUp.due(now: 700, canAsk: true, canHear: true) == [.ask(a)])
        _ = catchUp.asked(a, now: 700, clock: 700)
        check(catchUp.due(now: 2_100, canAsk: true, canHear: true) == [.giveUp(a)])
        check(catchUp.end(a, answered: false, now: 2_100).count == 1)
        try check(!catchUp.holdBehindHole(.everyone, envelope(a, 9), bytes: 10, now: 3_000), "not again for a minute")
        try check(catchUp.holdBehindHole(.everyone, envelope(a, 9), bytes: 10, now: 70_000))
    }

    @Test func bytesAreBounded() throws {
        let a = try #require(a)
        var catchUp = CatchUp(memoryMilliseconds: 60_000)
        catchUp.lost()
        try check(admit(&catchUp, a, 1, bytes: CatchUp.originBytes) == .begins)
        try check(admit(&catchUp, a, 2, bytes: 1) == .overflows)
        check(catchUp.end(a, answered: false, now: 0).count == 1)
        for number in 0..<4 {
            let node = try #require(NodeID("n\(number)"))
            try check(admit(&catchUp, node, 1, bytes: CatchUp.originBytes) == .begins)
        }
        try check(admit(&catchUp, #require(NodeID("last")), 1, bytes: 1) == .passes)
    }

    @Test func whatNobodyRemembersIsNotWaitedFor() throws {
        let (a, b) = (try #require(a), try #require(b))
        var catchUp = CatchUp(memoryMilliseconds: 1_000)
        catchUp.lost()
        catchUp.regained([a], now: 0)
        _ = catchUp.end(a, answered: true, now: 1)
        #expect(catchUp.isActive)
        _ = catchUp.due(now: 1_000, canAsk: true, canHear: true)
        #expect(!catchUp.isActive)
        try check(admit(&catchUp, b, 1, now: 1_000) == .passes)
    }
}

@Suite struct RepairAnswerTests {
    @Test func onlyWhatIsMissingIsGiven() throws {
        let asker = try #require(NodeID("b")), third = try #require(NodeID("c"))
        let lobby = BusTopic.room(try #require(RoomName("lobby"))),
            attic = BusTopic.room(try #require(RoomName("attic")))
        func message(_ topic: BusTopic, _ first: UInt64, time: Int64) -> RecentMessages.Message {
            .init(topic: topic, first: first, count: 2, payload: ByteBuffer(), time: time)
        }
        let request = RepairRequest(
            request: 1, incarnation: 7, allMilliseconds: nil,
            topics: [
                .init(topic: lobby, last: 4, ageMilliseconds: 50_000),
                .init(topic: attic, last: 0, ageMilliseconds: 1_000),
            ])
        var answer = RepairAnswer(request, for: asker, incarnation: 7, start: 1, now: 10_000)
        check(!answer.wants(message(lobby, 3, time: 0)))
        check(answer.wants(message(lobby, 5, time: 0)))
        check(!answer.wants(message(attic, 5, time: 6_000)), "before the asker listened there")
        check(answer.wants(message(attic, 7, time: 9_500)))
        check(!answer.wants(message(.everyone, 7, time: 9_500)), "not asked for")
        var other = RepairAnswer(request, for: asker, incarnation: 8, start: 1, now: 60_000)
        check(other.wants(message(lobby, 1, time: 20_000)), "numbers of an earlier life mean nothing")
        let everything = RepairRequest(request: 1, incarnation: 7, allMilliseconds: 1_000, topics: [])
        var all = RepairAnswer(everything, for: asker, incarnation: 7, start: 1, now: 10_000)
        check(all.wants(message(.everyone, 1, time: 9_500)))
        check(!all.wants(message(.everyone, 1, time: 5_000)))
        check(!all.wants(message(.node(third), 1, time: 9_500)), "another node's")
    }

    @Test func whatIsGoneIsNamed() throws {
        let asker = try #require(NodeID("b"))
        let topics = try (0..<4).map { BusTopic.room(try #require(RoomName("r\($0)"))) }
        var source = SequenceSource()
        for topic in topics { _ = source.take(topic, count: 10) }
        let request = RepairRequest(
            request: 1, incarnation: 7, allMilliseconds: nil,
            topics: [4, 4, 4, 10].enumerated().map {
                .init(topic: topics[$0.offset], last: $0.element, ageMilliseconds: 1)
            })
        var answer = RepairAnswer(request, for: asker, incarnation: 7, start: 1, now: 0)
        // Of the first one the newest is remembered; the second waits to be sent in part; the third is gone.
        _ = answer.wants(.init(topic: topics[0], first: 10, count: 1, payload: ByteBuffer(), time: 0))
        let waiting = [RecentMessages.Message(topic: topics[1], first: 9, count: 2, payload: ByteBuffer(), time: 0)]
        let lost = answer.lost(source: source, waiting: waiting)
        #expect(Set(lost) == [.init(topic: topics[1], last: 8), .init(topic: topics[2], last: 10)])
    }
}
