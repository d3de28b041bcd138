import Testing

@testable import ConduitBench

@Suite struct DeliveryBookTests {
    private func book(window: Int? = nil, members: [UInt32] = [1, 1]) -> DeliveryBook {
        var book = DeliveryBook(layout: TrafficLayout(members: 4, publishers: 4, rooms: 2))
        book.count(members: members)
        book.begin(measureStart: 1000, measureEnd: 2000, publisherNodes: [0, 0, 1, 1], window: window)
        return book
    }

    private func mark(_ number: UInt32, publisher: UInt32 = 0, due: UInt64 = 1500) -> DeliveryMark {
        DeliveryMark(publisher: publisher, number: number, due: due)
    }

    @Test func everythingIsCountedAndTheMeasuredTimeApart() {
        var book = book()
        var tracker = DeliveryTracker()
        // Due before, come within; due within, come within; due within, come after it.
        for (number, due, now) in [(1, 900, 1100), (2, 1500, 1600), (4, 1900, 2100), (3, 1800, 2200)]
            as [(UInt32, UInt64, UInt64)]
        {
            #expect(book.receive(mark(number, due: due), room: 0, node: 0, tracker: &tracker, at: now) == false)
        }
        #expect(book.receive(mark(2), room: 0, node: 0, tracker: &tracker, at: 1600) == false)
        #expect(book.received == 4)
        #expect(book.measuredReceived == 2)
        #expect(book.reordered == 1)
        #expect(book.duplicated == 1)
        #expect(book.latency.count == 3)
        #expect(book.crossNodeLatency.count == 0)
        book.countBytes(10, at: 1999)
        book.countBytes(10, at: 2000)
        #expect(book.bytes == 20)
        #expect(book.measuredBytes == 10)
    }

    @Test func latencyGoesToWhereThePublisherIs() {
        var book = book()
        var tracker = DeliveryTracker()
        _ = book.receive(mark(1, publisher: 2), room: 0, node: 0, tracker: &tracker, at: 1600)
        _ = book.receive(mark(2, publisher: 2), room: 0, node: 1, tracker: &tracker, at: 1600)
        #expect(book.latency.count == 1)
        #expect(book.crossNodeLatency.count == 1)
    }

    @Test func closedLoopHearsWhenEverybodyHasAMessage() {
        var book = book(window: 2, members: [2, 0])
        var first = DeliveryTracker()
        var second = DeliveryTracker()
        #expect(book.receive(mark(1), room: 0, node: 0, tracker: &first, at: 1600) == false)
        #expect(book.receive(mark(1), room: 0, node: 0, tracker: &second, at: 1600) == true)
        #expect(book.done(0) == 1)
        #expect(book.receive(mark(2), room: 0, node: 0, tracker: &first, at: 1600) == false)
        // The second is gone; publishers 0 and 2 are in this room, and 0 was waited for.
        #expect(book.memberLeft(0) == [0])
        #expect(book.done(0) == 2)
        book.skip(2, through: 3)
        #expect(book.done(2) == 3)
        #expect(book.memberLeft(1) == [])
        #expect(book.done(99) == 0)
    }

    @Test func interruptedTimeEndsSooner() {
        var book = book()
        book.end(at: 1200)
        #expect(book.isMeasured(1199))
        #expect(!book.isMeasured(1200))
        book.end(at: 5000)
        #expect(!book.isMeasured(1200))
    }
}
