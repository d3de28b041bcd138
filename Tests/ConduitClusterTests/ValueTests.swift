import ConduitCore
import ConduitHub
import NIOCore
import Testing

@testable import ConduitCluster

/// SplitMix64: the same walk for the same seed.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

@Suite struct RelayOutboxTests {
    /// The model is two plain arrays of numbers; a receiver that drops what it has seen must see them in order.
    @Test(arguments: [61, 62, 63, 64, 65] as [UInt64])
    func randomWalkKeepsOrderAndBounds(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        var outbox = RelayOutbox(byteLimit: 2_000, ageMilliseconds: 500, windowLimit: 20)
        var waiting: [(number: Int, time: Int64)] = []
        var flight: [(number: Int, time: Int64)] = []
        var answered: [Int] = []
        var appended = 0
        var now: Int64 = 0
        var lost: UInt64 = 0
        for step in 0..<5_000 {
            switch Int.random(in: 0..<12, using: &random) {
            case 0...4:
                appended += 1
                // 8 bytes of payload, 2 of channel.
                while (flight.count + waiting.count) * 10 + 10 > 2_000, !waiting.isEmpty {
                    waiting.removeFirst()
                    lost += 1
                }
                waiting.append((appended, now))
                outbox.append(
                    channel: ByteBuffer(string: "ch"), payload: ByteBuffer(integer: appended), messages: 1, now: now)
            case 5...7:
                let entry = outbox.next()
                if waiting.isEmpty || flight.count >= 20 {
                    #expect(entry == nil)
                } else {
                    flight.append(waiting.removeFirst())
                    let last = flight.last?.number
                    #expect(entry?.payload.getInteger(at: 0, as: Int.self) == last, "seed \(seed) step \(step)")
                }
            case 8:
                let entry = outbox.answered()
                let first = flight.isEmpty ? nil : flight.removeFirst().number
                #expect(entry?.payload.getInteger(at: 0, as: Int.self) == first, "seed \(seed) step \(step)")
                if let first { answered.append(first) }
            case 9:
                outbox.refused()
                if let last = flight.popLast() { waiting.insert(last, at: 0) }
            case 10:
                if Int.random(in: 0..<5, using: &random) == 0 {
                    outbox.connectionLost()
                    waiting = flight + waiting
                    flight = []
                }
            default:
                now += Int64.random(in: 0..<100, using: &random)
                outbox.tick(now: now)
                while let first = waiting.first, now - first.time > 500 {
                    waiting.removeFirst()
                    lost += 1
                }
            }
            #expect(
                outbox.waitingCount == waiting.count && outbox.inFlight == flight.count, "seed \(seed) step \(step)")
            #expect(outbox.bytes == (waiting.count + flight.count) * 10)
            #expect(outbox.bytes <= 2_000)
            #expect(outbox.droppedForAge + outbox.droppedForBytes == lost)
        }
        #expect(answered == answered.sorted(), "seed \(seed)")
        #expect(answered.count + waiting.count + flight.count + Int(lost) == appended)
    }

    @Test func whatCanNeverFitIsDropped() {
        var outbox = RelayOutbox(byteLimit: 100, ageMilliseconds: 1_000)
        outbox.append(
            channel: ByteBuffer(string: "c"), payload: ByteBuffer(repeating: 0, count: 200), messages: 3, now: 0)
        #expect(outbox.isEmpty)
        #expect(outbox.droppedForBytes == 3)
    }
}

@Suite struct PendingSendsTests {
    private let token = DeliveryToken(origin: 0, number: 1)

    private func waiting() throws -> PendingSends.Waiting {
        .node(try #require(NodeID("n")), request: 5)
    }

    @Test func itWaitsForShardsAndNodes() throws {
        var sends = PendingSends()
        let number = sends.nextNumber()
        let begun = sends.begin(
            number, token: token, waiting: try waiting(), delivered: 1, awaitedShards: 1, remote: true, now: 0)
        #expect(begun == nil)
        // A node may answer before Redis tells how many there are.
        var finished = sends.answered(number, count: 2)
        #expect(finished == nil)
        finished = sends.published(number, receivers: 2)
        #expect(finished == nil)
        finished = sends.delivered(token, count: 4, now: 1)
        #expect(finished == nil)
        finished = sends.answered(number, count: 0)
        #expect(finished?.count == 7)
        #expect(sends.count == 0)
        finished = sends.answered(number, count: 9)
        #expect(finished == nil, "an answer too many changes nothing")
    }

    @Test func itGivesUpAfterASecond() throws {
        var sends = PendingSends()
        let number = sends.nextNumber()
        _ = sends.begin(
            number, token: token, waiting: try waiting(), delivered: 3, awaitedShards: 0, remote: true, now: 100)
        let early = sends.sweep(now: 1_099)
        #expect(early.isEmpty)
        let late = sends.sweep(now: 1_100)
        #expect(late.map(\.count) == [3])
        #expect(sends.count == 0)
    }

    @Test func itIsBounded() throws {
        var sends = PendingSends(limit: 2)
        var answeredAtOnce = 0
        for number in 1...5 as ClosedRange<UInt64> {
            let finished = sends.begin(
                number, token: DeliveryToken(origin: 0, number: number), waiting: try waiting(), delivered: 1,
                awaitedShards: 1, remote: false, now: 0)
            if finished != nil { answeredAtOnce += 1 }
        }
        #expect(answeredAtOnce == 3)
        #expect(sends.count == 2)
        let absurd = sends.answered(1, count: .max)
        #expect(absurd == nil)
    }
}
