import ConduitCore
import ConduitTesting
import Testing

@Suite struct SequenceTests {
    private func ids() throws -> (BusTopic, NodeID) {
        (.room(try #require(RoomName("r"))), try #require(NodeID("n")))
    }

    @Test func gapsAndDuplicatesAreTold() throws {
        let (topic, node) = try ids()
        var tracker = SequenceTracker()
        func see(_ first: UInt64, _ count: UInt64 = 1, run: Bool = false, incarnation: UInt64 = 1)
            -> SequenceTracker.Verdict
        {
            tracker.observe(
                topic, origin: node, incarnation: incarnation, first: first, count: count, startsRun: run)
        }
        check(see(7) == .inOrder, "the first seen is never a gap")
        check(see(8, 3) == .inOrder)
        check(see(10) == .duplicate)
        check(see(11) == .inOrder)
        check(see(15) == .gap(3))
        check(see(100, run: true) == .inOrder)
        check(see(100, run: true) == .duplicate)
        check(see(1, incarnation: 2) == .inOrder, "another life of the node counts anew")
        check(see(UInt64.max, 5) == .malformed, "a count that overflows is nothing")
        check(see(UInt64.max, incarnation: 2) == .malformed, "a forged number must not make all later ones duplicates")
        check(see(1 << 40, incarnation: 2) == .malformed)
        check(see(2, incarnation: 2) == .inOrder)
        check(see(5, 0) == .malformed)
        tracker.pause(topic)
        check(see(2, incarnation: 2) == .duplicate, "what was seen stays seen")
        check(see(50, incarnation: 2) == .inOrder, "nobody listened: no gap")
        check(see(52, incarnation: 2) == .gap(1))
        check(
            tracker.observe(
                topic, origin: node, incarnation: 2, first: 60, count: 1, startsRun: false, passesGaps: false)
                == .gap(7))
        check(see(53, incarnation: 2) == .inOrder, "what was behind the gap isn't taken for seen")
        check(tracker.skip(topic, origin: node, incarnation: 2, to: 58) == 5)
        check(tracker.skip(topic, origin: node, incarnation: 1, to: 70) == 0)
        check(see(59, incarnation: 2) == .inOrder)
    }

    @Test func memoryIsBounded() throws {
        var tracker = SequenceTracker(limit: 10)
        let node = try #require(NodeID("n"))
        for number in 0..<1_000 {
            let topic = BusTopic.room(try #require(RoomName("r\(number)")))
            check(
                tracker.observe(topic, origin: node, incarnation: 1, first: 5, count: 1, startsRun: false) == .inOrder)
            #expect(tracker.count <= 10)
        }
        #expect(tracker.resets > 0)
    }

    /// The first to be forgotten are those who are gone and channels that nobody listens to.
    @Test func whatIsExpectedIsRememberedLongest() throws {
        var tracker = SequenceTracker(limit: 10)
        let node = try #require(NodeID("n")), ghost = try #require(NodeID("ghost"))
        func topic(_ number: Int) throws -> BusTopic { .room(try #require(RoomName("r\(number)"))) }
        func see(_ number: Int, _ origin: NodeID, _ first: UInt64) throws -> SequenceTracker.Verdict {
            tracker.observe(
                try topic(number), origin: origin, incarnation: 1, first: first, count: 1, startsRun: false)
        }
        for number in 0..<4 { check(try see(number, node, 5) == .inOrder) }
        for number in 4..<7 { check(try see(number, ghost, 5) == .inOrder) }
        for number in 7..<10 { check(try see(number, node, 5) == .inOrder) }
        tracker.retire(ghost)
        for number in 7..<10 { tracker.pause(try topic(number)) }
        check(try see(10, node, 5) == .inOrder)
        #expect(tracker.count == 5)
        #expect(tracker.resets == 0)
        for number in 0..<4 { check(try see(number, node, 5) == .duplicate) }
        check(try see(4, ghost, 5) == .inOrder)
    }

    /// A source with little memory and a receiver that loses and repeats: the verdicts must add up to the losses.
    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func randomWalkCountsWhatWasLost(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let node = try #require(NodeID("n"))
        let topics = try (0..<5).map { BusTopic.room(try #require(RoomName("r\($0)"))) }
        var source = SequenceSource(limit: 100)
        var tracker = SequenceTracker()
        var lost: [BusTopic: UInt64] = [:]
        var seen: Set<BusTopic> = []
        var newest: [BusTopic: UInt64] = [:]
        for step in 0..<3_000 {
            let topic = topics[Int.random(in: 0..<5, using: &random)]
            let count = UInt64.random(in: 1...4, using: &random)
            let (first, run) = source.take(topic, count: count)
            #expect(first == (newest[topic] ?? 0) + 1)
            newest[topic] = first + count - 1
            if Int.random(in: 0..<5, using: &random) == 0 {
                if seen.contains(topic) { lost[topic, default: 0] += count }
                continue
            }
            let expected: SequenceTracker.Verdict = lost[topic].map { .gap($0) } ?? .inOrder
            let verdict = tracker.observe(
                topic, origin: node, incarnation: 1, first: first, count: count, startsRun: run)
            #expect(verdict == expected, "seed \(seed) step \(step)")
            check(
                tracker.observe(topic, origin: node, incarnation: 1, first: first, count: count, startsRun: run)
                    == .duplicate)
            lost[topic] = nil
            seen.insert(topic)
        }
    }

    @Test func aSourceThatForgetsNeverGoesBack() throws {
        var random = SeededGenerator(seed: 3)
        let node = try #require(NodeID("n"))
        var source = SequenceSource(limit: 3)
        var tracker = SequenceTracker()
        for _ in 0..<2_000 {
            let topic = BusTopic.room(try #require(RoomName("r\(Int.random(in: 0..<9, using: &random))")))
            let (first, run) = source.take(topic, count: 2)
            check(
                tracker.observe(topic, origin: node, incarnation: 1, first: first, count: 2, startsRun: run)
                    == .inOrder)
        }
    }
}
