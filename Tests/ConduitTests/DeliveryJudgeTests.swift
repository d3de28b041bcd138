import ConduitTesting
import Testing

/// The judge of the fault tests is judged itself: every kind of fault that is planted into a clean history is found, as
/// what it is, and nothing is found in a clean one.
@Suite struct DeliveryJudgeTests {
    /// What three listeners got of two publishers in one room, before it is told to a judge.
    private struct History {
        struct Delivery {
            var message: DeliveryJudge.Message
            var offset: Int?
        }

        let kind: DeliveryJudge.RoomKind
        var sent: [DeliveryJudge.Message] = []
        /// Offsets by place in `sent`; the first is 11.
        var streams: [[Delivery]] = []
        var unacknowledged: Set<DeliveryJudge.Message> = []
        var repeated: Set<DeliveryJudge.Message> = []
        /// Listener → before which delivery it is told.
        var told: [Int: Int] = [:]
        var ends: Set<Int> = []
        var orphans: Set<Int> = []

        init(_ kind: DeliveryJudge.RoomKind, seed: UInt64) {
            self.kind = kind
            var random = SeededGenerator(seed: seed)
            var next = [0, 0]
            for _ in 0..<40 {
                let publisher = Int.random(in: 0..<2, using: &random)
                sent.append(.init(publisher: publisher, room: 0, number: next[publisher]))
                next[publisher] += 1
            }
            let stream = sent.enumerated().map { Delivery(message: $1, offset: kind == .ordered ? 11 + $0 : nil) }
            streams = Array(repeating: stream, count: 3)
        }

        var judge: DeliveryJudge {
            var judge = DeliveryJudge(rooms: [kind])
            let members = streams.indices.map {
                judge.joined(listener: $0, room: 0, offset: kind == .ordered ? 10 : nil)
            }
            judge.everybodyIsOwed(from: 0)
            for (index, message) in sent.enumerated() {
                judge.published(message, node: message.publisher, at: 1_000 * index)
                if repeated.contains(message) { judge.repeated(message) }
                guard !unacknowledged.contains(message) else { continue }
                let isOrdered = kind == .ordered
                judge.acknowledged(
                    message, epoch: isOrdered ? "e" : nil, offset: isOrdered ? 11 + index : nil, at: 1_000 * index + 100
                )
            }
            for (listener, stream) in streams.enumerated() {
                for (place, delivery) in stream.enumerated() {
                    if told[listener] == place { judge.told(members[listener], at: 1_000_000) }
                    judge.delivered(
                        delivery.message, to: members[listener], node: listener, offset: delivery.offset,
                        at: 1_000 * place + 500)
                }
                if told[listener] == stream.count { judge.told(members[listener], at: 1_000_000) }
                if ends.contains(listener) { judge.ended(members[listener], at: 2_000_000) }
            }
            for publisher in orphans { judge.orphaned(publisher: publisher) }
            return judge
        }

        var verdict: DeliveryVerdict { judge.verdict(kind) }
    }

    /// The figures that stand for faults.
    private func faults(_ verdict: DeliveryVerdict) -> [String: Int] {
        [
            "lost": verdict.lost, "told": verdict.lostAndTold, "with node": verdict.lostWithNode,
            "duplicated": verdict.duplicated, "over epochs": verdict.duplicatedOverEpochs,
            "reordered": verdict.reordered, "holes": verdict.holes, "contradictions": verdict.contradictions,
        ].filter { $0.value != 0 }
    }

    @Test(arguments: DeliveryJudge.RoomKind.allCases, [1, 2, 3] as [UInt64])
    func cleanHistoryIsClean(_ kind: DeliveryJudge.RoomKind, _ seed: UInt64) {
        let verdict = History(kind, seed: seed).verdict
        #expect(faults(verdict) == [:])
        #expect(verdict.examples == [])
        #expect(verdict.owed == 120 && verdict.received == 120 && verdict.acknowledged == 40)
        #expect(History(kind, seed: seed).judge.outstanding() == 0)
        // Each publisher's node has one listener.
        #expect(verdict.local.count == 40 && verdict.cross.count == 80)
        #expect(verdict.isConsistent)
    }

    @Test(arguments: DeliveryJudge.RoomKind.allCases, 1...20 as ClosedRange<UInt64>)
    func droppedDeliveryIsLost(_ kind: DeliveryJudge.RoomKind, _ seed: UInt64) {
        var history = History(kind, seed: seed)
        var random = SeededGenerator(seed: seed)
        let place = Int.random(in: 0..<40, using: &random)
        history.streams[1].remove(at: place)
        let isHole = kind == .ordered && place < 39
        #expect(faults(history.verdict) == (isHole ? ["lost": 1, "holes": 1] : ["lost": 1]))
        #expect(history.judge.outstanding() == 1)
        #expect(history.verdict.examples.contains { $0.contains("listener 1 never got") })
        // Not acknowledged, so nobody was promised anything.
        history.unacknowledged = [history.sent[place]]
        #expect(faults(history.verdict) == (isHole ? ["holes": 1] : [:]))
    }

    @Test(arguments: DeliveryJudge.RoomKind.allCases, 1...20 as ClosedRange<UInt64>)
    func doubledDeliveryIsFound(_ kind: DeliveryJudge.RoomKind, _ seed: UInt64) {
        var history = History(kind, seed: seed)
        var random = SeededGenerator(seed: seed)
        let place = Int.random(in: 0..<40, using: &random)
        // At once or later.
        let again = Int.random(in: place + 1...40, using: &random)
        history.streams[2].insert(history.streams[2][place], at: again)
        #expect(faults(history.verdict) == ["duplicated": 1])
        // Being told of a gap is no leave to say things twice.
        history.told[2] = again
        #expect(faults(history.verdict)["duplicated"] == 1)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>) func swappedDeliveriesAreFound(_ seed: UInt64) {
        var history = History(.fast, seed: seed)
        let stream = history.streams[0]
        // Two neighbours of one publisher.
        let first = stream.indices.first { place in
            place + 1 < 40 && stream[place].message.publisher == stream[place + 1].message.publisher
        }
        history.streams[0].swapAt(first ?? 0, (first ?? 0) + 1)
        #expect(first != nil && faults(history.verdict) == ["reordered": 1])
        // In an ordered room, neighbours of different publishers as well.
        var ordered = History(.ordered, seed: seed)
        let other = ordered.streams[0].indices.first { place in
            place + 1 < 40 && ordered.sent[place].publisher != ordered.sent[place + 1].publisher
        }
        ordered.streams[0].swapAt(other ?? 0, (other ?? 0) + 1)
        let found = faults(ordered.verdict)
        #expect(other != nil && found["reordered"] == 1 && found["holes"] ?? 0 > 0 && found["lost"] == nil)
        // In a fast room that is no fault: nobody promised an order among publishers.
        var fast = History(.fast, seed: seed)
        fast.streams[0].swapAt(other ?? 0, (other ?? 0) + 1)
        #expect(faults(fast.verdict) == [:])
    }

    @Test func anotherOffsetForAnotherListenerIsFound() {
        var history = History(.ordered, seed: 1)
        // Two messages change places for one listener: offsets rise, publishers' numbers rise, the order differs.
        let sent = history.sent
        let place = sent.indices.first { $0 > 0 && sent[$0].publisher != sent[$0 - 1].publisher }
        let second = place ?? 1
        history.streams[1][second - 1].message = history.sent[second]
        history.streams[1][second].message = history.sent[second - 1]
        #expect(faults(history.verdict) == ["contradictions": 2])
    }

    @Test func oneOffsetForTwoMessagesIsFound() {
        var judge = DeliveryJudge(rooms: [.ordered])
        for number in 0..<2 {
            let message = DeliveryJudge.Message(publisher: 0, room: 0, number: number)
            judge.published(message, node: 0, at: 0)
            judge.acknowledged(message, epoch: "e", offset: 7, at: 1)
        }
        #expect(faults(judge.verdict(.ordered)) == ["contradictions": 1])
    }

    @Test func lossThatWasToldIsAnotherThing() {
        var history = History(.ordered, seed: 4)
        history.streams[0].removeSubrange(20..<30)
        #expect(faults(history.verdict) == ["lost": 10, "holes": 10])
        history.told[0] = 20
        #expect(faults(history.verdict) == ["told": 10])
        // Told before does not count for what was lost later.
        history.told[0] = 5
        var judge = history.judge
        #expect(faults(judge.verdict(.ordered))["holes"] == 10)
        // Nor does telling another.
        history.told = [1: 20]
        #expect(faults(history.verdict) == ["lost": 10, "holes": 10])
        judge = history.judge
        #expect(judge.outstanding() == 10)
    }

    @Test func offsetsBeginAnewOnlyWhenItIsTold() {
        var history = History(.ordered, seed: 5)
        var again = history.streams[0]
        for place in 20..<40 { again[place].offset = place - 19 }
        history.streams[0] = again
        // 20 messages have another offset than the acks say; the first of them also goes back.
        #expect(faults(history.verdict) == ["reordered": 1, "contradictions": 20])
        history.told[0] = 20
        #expect(faults(history.verdict) == ["contradictions": 20])
        // A key that was forgotten with the log: it was sent again, and is there twice.
        var twice = History(.ordered, seed: 5)
        twice.repeated = [twice.sent[19]]
        twice.streams[0].insert(.init(message: twice.sent[19], offset: 1), at: 40)
        #expect(faults(twice.verdict)["duplicated"] == 1)
        twice.told[0] = 40
        #expect(faults(twice.verdict) == ["over epochs": 1])
    }

    @Test func endOfAConnectionExcusesOnlyItsTail() {
        var history = History(.fast, seed: 6)
        history.streams[0].removeLast(5)
        #expect(faults(history.verdict) == ["lost": 5])
        history.ends = [0]
        #expect(faults(history.verdict) == [:])
        let lost = history.streams[0].remove(at: 10).message
        #expect(history.streams[0][11...].contains { $0.message.publisher == lost.publisher })
        #expect(faults(history.verdict) == ["lost": 1])
    }

    @Test func killedNodeExcusesOnlyItsPublishersLastWords() {
        var history = History(.fast, seed: 7)
        let tail = history.sent.lastIndex { $0.publisher == 1 } ?? 0
        history.streams[2].remove(at: tail)
        #expect(faults(history.verdict) == ["lost": 1])
        history.orphans = [1]
        #expect(faults(history.verdict) == ["with node": 1])
        history.orphans = [0]
        #expect(faults(history.verdict) == ["lost": 1])
        // Something from the middle is lost, whoever was killed.
        var middle = History(.fast, seed: 7)
        middle.orphans = [0, 1]
        middle.streams[2].remove(at: 3)
        #expect(faults(middle.verdict) == ["lost": 1])
    }

    @Test func whatNobodySentIsAContradiction() {
        for kind in DeliveryJudge.RoomKind.allCases {
            var judge = History(kind, seed: 8).judge
            judge.delivered(.init(publisher: 9, room: 0, number: 0), to: 0, node: 0, offset: 51, at: 0)
            #expect(judge.verdict(kind).contradictions == 1)
        }
        var judge = History(.ordered, seed: 8).judge
        judge.acknowledged(.init(publisher: 0, room: 0, number: 0), epoch: "e", offset: 1, at: 0)
        #expect(judge.verdict(.ordered).contradictions == 1)
        // An ordered message without an offset, an ack without its place.
        judge.published(.init(publisher: 5, room: 0, number: 0), node: 0, at: 0)
        judge.acknowledged(.init(publisher: 5, room: 0, number: 0), at: 0)
        judge.delivered(.init(publisher: 5, room: 0, number: 0), to: 0, node: 0, at: 0)
        #expect(judge.verdict(.ordered).contradictions == 3)
    }

    @Test func newcomersAreOwedNothingBeforeEverythingWorks() {
        var judge = DeliveryJudge(rooms: [.fast])
        for number in 0..<2 {
            let message = DeliveryJudge.Message(publisher: 0, room: 0, number: number)
            judge.published(message, node: 0, at: number * 100)
            judge.acknowledged(message, at: number * 100 + 1)
        }
        let member = judge.joined(listener: 0, room: 0)
        #expect(judge.verdict(.fast).owed == 0)
        judge.everybodyIsOwed(from: 50)
        #expect(judge.verdict(.fast).owed == 1 && judge.verdict(.fast).lost == 1)
        // Later moments change nothing for those who are owed already.
        judge.everybodyIsOwed(from: 500)
        #expect(judge.verdict(.fast).lost == 1)
        judge.delivered(.init(publisher: 0, room: 0, number: 1), to: member, node: 0, at: 200)
        #expect(judge.verdict(.fast).lost == 0)
    }

    @Test func timesAreThoseOfTheWindowAndOfNodesThatRan() {
        let judge = History(.fast, seed: 9).judge
        // Sent in the first ten milliseconds: ten messages.
        let verdict = judge.verdict(.fast, window: 0..<10_000)
        #expect(verdict.local.count == 10 && verdict.cross.count == 20)
        #expect(verdict.local.percentile(0.5) == 0.5 && verdict.acks.percentile(1) == 0.1)
        let without = judge.verdict(.fast, window: 0..<10_000, excluding: [0])
        #expect(without.local.count + without.cross.count < 20 && without.lost == 0)
    }
}
