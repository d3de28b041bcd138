import ConduitTesting
import Testing

@testable import ConduitBench

/// The values that decide what was lost, what is due and what may be sent.
@Suite struct CountingTests {
    @Test func trackerAgreesWithASetUnderARandomWalk() {
        for seed in UInt64(1)...40 {
            var random = SeededGenerator(seed: seed)
            var tracker = DeliveryTracker()
            var seen: Set<UInt32> = []
            var next: UInt32 = 0
            for _ in 0..<600 {
                let number: UInt32
                switch Int.random(in: 0..<10, using: &random) {
                case 0: number = UInt32.random(in: 1...next + 1, using: &random)
                case 1: number = next + UInt32.random(in: 2...5, using: &random)
                default: number = next + 1
                }
                let expected: DeliveryTracker.Verdict =
                    seen.contains(number) ? .duplicate : number < next ? .reordered : .new
                #expect(tracker.receive(number) == expected, "seed \(seed), number \(number)")
                seen.insert(number)
                next = max(next, number)
                #expect(tracker.received == UInt64(seen.count), "seed \(seed)")
            }
            let sent = next + 7
            #expect(tracker.lost(of: sent) == UInt64(sent) - UInt64(seen.count), "seed \(seed)")
        }
    }

    @Test func trackerForgetsNoLossWhenThereAreTooManyGaps() {
        var tracker = DeliveryTracker()
        let count = UInt32(DeliveryTracker.maximumGaps * 3)
        for number in 1...count { #expect(tracker.receive(number * 2) == .new) }
        #expect(tracker.received == UInt64(count))
        #expect(tracker.lost(of: count * 2) == UInt64(count))
        // Settled: too late to be told from a duplicate.
        #expect(tracker.receive(1) == .duplicate)
        #expect(tracker.receive(count * 2 - 1) == .reordered)
    }

    @Test func trackerBearsAnyNumber() {
        var tracker = DeliveryTracker()
        #expect(tracker.receive(.max) == .new)
        #expect(tracker.receive(.max) == .duplicate)
        #expect(tracker.receive(1) == .reordered)
        #expect(tracker.lost(of: 1) == 0)
    }

    @Test func scheduleIsDealtOutToLoops() {
        var whole = OpenLoopSchedule(start: 1000, rate: 1e6, publishers: 5, own: [0, 1, 2, 3, 4])
        var parts = [
            OpenLoopSchedule(start: 1000, rate: 1e6, publishers: 5, own: [0, 2, 4]),
            OpenLoopSchedule(start: 1000, rate: 1e6, publishers: 5, own: [1, 3]),
        ]
        for message in 0..<50 {
            let due = 1000 + UInt64(message) * 1000
            let part = message % 5 % 2
            #expect(whole.nextDue == due)
            #expect(parts[part].next(at: due - 1) == nil)
            let mine = parts[part].next(at: due)
            let all = whole.next(at: due)
            #expect(mine?.publisher == message % 5 && mine?.due == due)
            #expect(all?.publisher == message % 5 && all?.due == due)
        }
    }

    @Test func lateMessagesKeepTheTimeAtWhichTheyWereDue() {
        var schedule = OpenLoopSchedule(start: 0, rate: 1000, publishers: 1, own: [0])
        for message in 0..<100 { #expect(schedule.next(at: 1_000_000_000)?.due == UInt64(message) * 1_000_000) }
        var nobody = OpenLoopSchedule(start: 0, rate: 1, publishers: 1, own: [])
        #expect(nobody.next(at: .max) == nil)
    }

    @Test func windowMovesWhenAllMembersHaveAMessage() {
        var window = WindowCounter(window: 2)
        #expect(window.receive(1, members: 2) == false)
        #expect(window.receive(2, members: 2) == false)
        #expect(window.receive(2, members: 2) == false)
        #expect(window.receive(1, members: 2) == true)
        #expect(window.done == 2)
        // A member is gone: one is enough now.
        #expect(window.receive(3, members: 2) == false)
        #expect(window.advance(members: 1) == true)
        #expect(window.done == 3)
        window.skip(through: 4, members: 1)
        #expect(window.done == 4)
        #expect(window.receive(4, members: 1) == false)
        #expect(window.receive(1_000_000, members: 1) == false)
        #expect(window.receive(5, members: 1) == true)
    }

    @Test(arguments: [(1, 1, 1), (10, 3, 1), (12, 12, 5), (7, 7, 7)])
    func everyPublisherHasAPlaceOfItsOwn(_ members: Int, _ publishers: Int, _ rooms: Int) {
        let layout = TrafficLayout(members: members, publishers: publishers, rooms: rooms)
        var places: Set<[Int]> = []
        for publisher in 0..<publishers {
            let room = layout.room(ofPublisher: publisher)
            let place = layout.place(ofPublisher: publisher)
            #expect(place < layout.publishers(inRoom: room))
            #expect(layout.publisher(inRoom: room, place: place) == publisher)
            places.insert([room, place])
        }
        #expect(places.count == publishers)
        #expect((0..<rooms).map(layout.publishers(inRoom:)).reduce(0, +) == publishers)
    }

    @Test func percentilesAreThoseOfWhatWasRecorded() throws {
        var first = LatencyRecorder()
        var second = LatencyRecorder()
        for value in UInt64(1)...1000 {
            (value % 2 == 0 ? { first.record(nanoseconds: $0) } : { second.record(nanoseconds: $0) })(value * 1000)
        }
        first.merge(second)
        let summary = try #require(first.summary)
        #expect(summary.count == 1000)
        for (value, expected) in [(summary.p50, 500.0), (summary.p90, 900), (summary.p99, 990), (summary.max, 1000)] {
            #expect(abs(value - expected) <= expected / 500, "\(value) \(expected)")
        }
        #expect(summary.mean == 500.5)
        #expect(LatencyRecorder().summary == nil)
        first.record(nanoseconds: .max)
        #expect(first.summary?.count == 1001)
    }

    @Test func reasonsAreCountedWithABound() {
        var tally = Tally()
        for number in 0..<100 { tally.add("reason \(number)") }
        tally.add("reason 3", count: 5)
        #expect(tally.counts.count == Tally.limit + 1)
        #expect(tally.sorted.first?.count == 80)
        #expect(tally.counts["reason 3"] == 6)
    }

    @Test func figuresAreWrittenForPeople() {
        #expect(Figure.text(1_234_567) == "1,234,567")
        #expect(Figure.text(-999) == "-999")
        #expect(Figure.text(1.5, digits: 2) == "1.50")
        #expect(Figure.text(0.999, digits: 2) == "1.00")
        #expect(Figure.text(.infinity, digits: 2) == "-")
        #expect(Figure.duration(840.2) == "840 us")
        #expect(Figure.duration(1250) == "1.25 ms")
        #expect(Figure.duration(3_400_000) == "3.40 s")
    }
}
