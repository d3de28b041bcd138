import ConduitCore
import ConduitTesting
import ConduitWire
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

@Suite struct ShedPaceTests {
    @Test(arguments: [(500.0, 20), (500, 7), (40, 20), (3, 20), (10_000, 50)], 1...4 as ClosedRange<UInt64>)
    func noSecondHasMoreThanTheRate(pace: (rate: Double, interval: Int64), seed: UInt64) {
        let (rate, interval) = pace
        var pace = ShedPace(perSecond: rate, deadline: nil, now: 0)
        var taken: [(time: Int64, count: Int)] = []
        var now: Int64 = 0
        var random = SeededGenerator(seed: seed)
        while now < 20_000 {
            // A timer that is late now and then, by much.
            now += Int64.random(in: 0..<20, using: &random) == 0 ? 900 : interval
            taken.append((now, pace.take(of: .max, now: now)))
        }
        for end in taken {
            let second = taken.filter { $0.time <= end.time && $0.time > end.time - 1_000 }.reduce(0) { $0 + $1.count }
            #expect(Double(second) <= rate + 1, "seed \(seed)")
        }
        #expect(taken.reduce(0) { $0 + $1.count } > 0)
    }

    @Test func aDeadlineRaisesTheRate() {
        var pace = ShedPace(perSecond: 10, deadline: 2_000, now: 0)
        var left = 1_000
        for now in stride(from: Int64(20), to: 2_000, by: 20) { left -= pace.take(of: left, now: now) }
        #expect(left < 60)
        #expect(pace.take(of: left, now: 2_000) == left)
    }

    @Test func shardsThatShareASlowPaceTakeTurns() {
        let shards = 8
        var paces = (0..<shards).map {
            ShedPace(perSecond: 10.0 / Double(shards), deadline: nil, now: 0, phase: Double($0) / Double(shards))
        }
        var taken: [(time: Int64, count: Int)] = []
        for now in stride(from: Int64(0), to: 10_000, by: 20) {
            for index in paces.indices { taken.append((now, paces[index].take(of: 5, now: now))) }
        }
        for end in taken {
            let second = taken.filter { $0.time <= end.time && $0.time > end.time - 1_000 }.reduce(0) { $0 + $1.count }
            #expect(second <= 10)
        }
    }

    @Test func partsAddUp() {
        #expect(Hub.parts(of: 10, by: [1, 1, 1]).reduce(0, +) == 3, "no more than there are")
        #expect(Hub.parts(of: 7, by: [10, 0, 30]) == [1, 0, 6])
        #expect(Hub.parts(of: 5, by: [0, 0]) == [0, 0])
    }
}

@Suite struct ShedLimiterTests {
    /// The most in any second that begins with one of them.
    private func most(_ times: [Int64]) -> Int {
        let times = times.sorted()
        var most = 0
        var first = 0
        for (index, time) in times.enumerated() {
            while times[first] <= time - 1_000 { first += 1 }
            most = max(most, index - first + 1)
        }
        return most
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func aSecondCountsWhateverItTouches(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var window = RateWindow(now: 0)
        var times: [Int64] = []
        var now: Int64 = 0
        for _ in 0..<200 {
            now += Int64.random(in: 0..<200, using: &random)
            window.advance(to: now, ahead: 3_000)
            let time = now + Int64.random(in: 0...3_000, using: &random)
            let before = window.most(around: time)
            window.add(at: time)
            // What is taken back leaves no trace.
            if Int.random(in: 0..<3, using: &random) == 0 {
                window.remove(at: time)
                #expect(window.most(around: time) == before, "seed \(seed)")
                continue
            }
            times.append(time)
            let exact =
                times.filter { $0 <= time && $0 > time - 1_000 }.map { first in
                    times.count { $0 >= first && $0 < first + 1_000 }
                }.max() ?? 0
            #expect(before + 1 >= exact, "seed \(seed)")
            // Seconds are half a percent longer, no more.
            #expect(before + 1 <= times.count { abs($0 - time) <= 1_010 }, "seed \(seed)")
        }
        // The second that ends now, and what another loop has noted ahead of this one.
        #expect(window.last(at: now) >= times.count { $0 > now - 1_000 && $0 <= now + 1_000 }, "seed \(seed)")
        window.advance(to: now + 10_000)
        #expect(window.most(around: now + 10_000) == 0, "seed \(seed)")
        window.remove(at: now)
        #expect(window.most(around: now + 10_000) == 0, "what is long ago was forgotten; seed \(seed)")
    }

    @Test(
        arguments: [
            (500, 2, 0), (50, 2, 0), (50, 8, 0), (10, 8, 0), (3, 4, 0), (50, 4, 20), (500, 2, 21), (5_000, 2, 21),
        ], 1...3 as ClosedRange<UInt64>)
    func allLoopsTogetherKeepToTheRate(node: (rate: Int, loops: Int, deadlineSeconds: Int), seed: UInt64) {
        let (rate, loops, deadlineSeconds) = node
        var random = SeededGenerator(seed: seed)
        let limiter = ShedLimiter(spread: Double.random(in: 0..<1, using: &random))
        let seconds = deadlineSeconds == 0 ? 12 : deadlineSeconds
        // A deadline that needs nearly all of the rate.
        let clients = rate * seconds * 92 / 100
        var left = (0..<loops).map { clients * ($0 + 1) / loops - clients * $0 / loops }
        let deadline = deadlineSeconds == 0 ? nil : Int64(deadlineSeconds) * 1_000
        var paces = (0..<loops).map {
            ShedPace(
                perSecond: Double(rate) / Double(loops), deadline: deadline, now: 0,
                phase: Double($0) / Double(loops))
        }
        var next = [Int64](repeating: 0, count: loops)
        var turns: [(loop: Int, end: Int64, told: Int)] = []
        var sent: [Int64] = []
        var back: [Int64] = []
        var raise = 1.0
        for now in 0..<Int64(seconds) * 1_000 {
            for turn in turns where turn.end == now { limiter.told(turn.told, now: now) }
            turns.removeAll { $0.end == now }
            for loop in 0..<loops where next[loop] == now {
                let wanted = paces[loop].take(of: left[loop], now: now)
                let limit = Int(Double(rate) * paces[loop].raise)
                let delays = limiter.take(wanted, limit: limit, delay: 1_000, now: now)
                paces[loop].giveBack(wanted - delays.count)
                left[loop] -= delays.count
                // It is written at some time of the turn, which is long now and then.
                let length = Int64.random(in: 0..<40, using: &random) == 0 ? Int64(60) : 1
                let written = now + Int64.random(in: 0...length, using: &random)
                turns.append((loop, now + length, delays.count))
                sent += delays.map { _ in written }
                back += delays.map { now + Int64($0) }
                next[loop] = now + length + 20
                if left[loop] > 0 { raise = max(raise, paces[loop].raise) }
            }
        }
        #expect(raise == 1, "the deadline needs no more; seed \(seed)")
        #expect(most(sent) <= rate, "seed \(seed)")
        #expect(most(back) <= rate, "seed \(seed)")
        #expect(sent.count >= rate * seconds * 85 / 100 - loops, "it isn't slow either; seed \(seed)")
    }

    @Test func anotherOrderCountsTooAndTheDeadlineEndsIt() {
        let limiter = ShedLimiter()
        let first = limiter.take(20, limit: 10, delay: 0, now: 5_000)
        #expect(first.count == 10)
        #expect(limiter.take(1, limit: 10, delay: 0, now: 5_010).isEmpty, "they are being told")
        limiter.giveBack(first[8...], now: 5_000)
        limiter.told(8, now: 5_020)
        #expect(limiter.take(20, limit: 10, delay: 5_000, now: 5_030).count == 2, "two were gone")
        limiter.told(2, now: 5_030)
        #expect(limiter.take(20, limit: 10, delay: 5_000, now: 6_015).isEmpty)
        #expect(limiter.take(20, limit: 10, delay: 5_000, now: 6_026).count == 8)
        #expect(limiter.take(300, limit: .max, delay: 1_000, now: 6_030).count == 300)
        #expect(limiter.take(0, limit: 10, delay: 0, now: 6_030).isEmpty)
    }

    /// All who are left on a loop may wait for answers.
    @Test func whoDoesNotGoKeepsNoPlaceFromOthers() {
        let limiter = ShedLimiter()
        for now in stride(from: Int64(5_000), to: 5_900, by: 20) {
            let delays = limiter.take(2, limit: 10, delay: 400, now: now)
            #expect(delays.count == 2)
            limiter.giveBack(delays, now: now)
            limiter.told(0, now: now)
        }
        #expect(limiter.take(20, limit: 10, delay: 400, now: 5_900).count == 10)
    }
}

@Suite struct SheddingTests {
    private func order(
        _ count: Int = .max, _ rate: Double = 1_000_000, _ reason: ReconnectReason = .drain
    ) -> ShedOrder {
        ShedOrder(count: count, perSecond: rate, reason: reason, delay: .milliseconds(400))
    }

    private func pass(_ harness: ShardHarness, _ time: TimeAmount) {
        for loop in harness.loops { loop.advanceTime(by: time) }
        harness.turn()
    }

    /// How many were told; `nil` while that isn't over.
    private func result(of shedding: EventLoopFuture<Int>) -> Int? {
        let result = NIOLockedValueBox<Int?>(nil)
        shedding.whenSuccess { told in result.withLockedValue { $0 = told } }
        return result.withLockedValue { $0 }
    }

    @Test func eachIsToldAndWhoWaitsIsServed() throws {
        let harness = try ShardHarness()
        let clients = try (0..<10).map { try harness.connect(user: "u\($0)", subprotocol: "conduit.v1.json") }
        for client in clients { try client.send(#"{"type":"join_room","data":{"room":"x"}}"#) }
        for client in clients { _ = try client.frames() }
        let done = harness.shards[0].shed(order(.max, 10))
        var gone: Set<Int> = []
        var delays: [Int] = []
        for round in 0..<200 where gone.count < 10 {
            pass(harness, .milliseconds(20))
            if let waiting = clients.indices.first(where: { !gone.contains($0) }) {
                try clients[waiting].send(
                    #"{"type":"broadcast","data":{"room":"x","type":"t","payload":\#(round)}}"#)
            }
            for index in clients.indices where !gone.contains(index) {
                let frames = try clients[index].frames()
                guard case .close(let code, _)? = frames.last else { continue }
                #expect(code == 3001)
                gone.insert(index)
                guard case .text(let text)? = frames.dropLast().last else { continue }
                let event = try Envelope(text)
                #expect(event.type == "reconnect")
                delays.append(
                    try #require(Int(String(buffer: text).split(separator: "\"after_ms\":")[1].prefix { $0.isNumber })))
            }
            #expect(gone.count <= 1 + round / 4, "ten a second")
        }
        #expect(gone.count == 10)
        #expect(delays.count == 10 && delays.allSatisfy { (0...400).contains($0) } && Set(delays).count > 8)
        pass(harness, .milliseconds(20))
        #expect(result(of: done) == 10)
        #expect(harness.shards[0].statistics.shed == ["drain": 10, "rebalance": 0])
        let away = harness.relay.all.count { if case .sentAway = $0 { true } else { false } }
        #expect(away == 10)
        #expect(!harness.roomEvents.contains { $0.hasPrefix("left") })
        #expect(harness.roomEvents.contains { $0.hasPrefix("broadcast") })
    }

    @Test func shardsTogetherKeepToTheRateAndDelaysToo() throws {
        let harness = try ShardHarness(shards: 4)
        let clients = try (0..<60).map { try harness.connect(shard: $0 % 4, subprotocol: "conduit.v1.json") }
        let whole = order(.max, 10)
        let done = harness.shards.enumerated().map { index, shard in
            shard.shed(whole.share(15, of: 60, count: .max, phase: Double(index) / 4))
        }
        var sent: [Int: Int] = [:]
        var back: [Int] = []
        for round in 0..<500 where sent.count < clients.count {
            pass(harness, .milliseconds(20))
            for index in clients.indices where sent[index] == nil {
                let frames = try clients[index].frames()
                guard case .close(3001, _)? = frames.last, case .text(let text)? = frames.dropLast().last else {
                    continue
                }
                sent[index] = round * 20
                let delay = String(buffer: text).split(separator: "\"after_ms\":")[1].prefix { $0.isNumber }
                back.append(round * 20 + (try #require(Int(delay))))
            }
        }
        #expect(sent.count == 60)
        for times in [Array(sent.values), back] {
            for first in times { #expect(times.count { $0 >= first && $0 < first + 1_000 } <= 10) }
        }
        pass(harness, .milliseconds(20))
        #expect(done.map { result(of: $0) } == [15, 15, 15, 15])
    }

    @Test func youngClientsStayWhileThereAreOthers() throws {
        let harness = try ShardHarness()
        let old = try (0..<3).map { _ in try harness.connect() }
        pass(harness, .seconds(59))
        for client in old { try client.sendFrame(0x8A) }
        let young = try (0..<3).map { _ in try harness.connect() }
        pass(harness, .seconds(2))
        func shed(_ count: Int) throws {
            let done = harness.shards[0].shed(order(count, 1_000_000, .rebalance))
            pass(harness, .milliseconds(100))
            #expect(result(of: done) == count)
        }
        try shed(2)
        for client in young { #expect(try client.closeCode == nil) }
        #expect(try old.count { try $0.closeCode == 3001 } == 2)
        try shed(3)
        #expect(harness.shards[0].statistics.shed["rebalance"] == 5)
    }

    @Test func aDrainTakesThePlaceOfARebalanceAndNothingTakesThatOfADrain() throws {
        let harness = try ShardHarness()
        for _ in 0..<5 { _ = try harness.connect() }
        let first = harness.shards[0].shed(order(3, 0.1, .rebalance))
        #expect(result(of: harness.shards[0].shed(order(1, 1, .rebalance))) == 0)
        let drain = harness.shards[0].shed(order(.max, 20))
        #expect(result(of: first) == 0)
        #expect(result(of: harness.shards[0].shed(order(1, 1, .rebalance))) == 0)
        for _ in 0..<40 { pass(harness, .milliseconds(20)) }
        pass(harness, .milliseconds(20))
        #expect(result(of: drain) == 5)
    }

    @Test func whoWaitsForAnswersKeepsNoPlaceFromOtherShards() throws {
        var log = RoomPolicy()
        log.mode = .ordered
        var configuration = HubConfiguration()
        configuration.rooms = RoomPolicies(namespaces: ["log": log])
        let harness = try ShardHarness(configuration: configuration)
        let clients = try (0..<5).map { _ in try harness.connect() }
        // The bridge never answers.
        for client in clients { try client.send(#"{"type":"broadcast","id":1,"data":{"room":"log:a","type":"t"}}"#) }
        let order = order(.max, 10)
        _ = harness.shards[0].shed(order)
        for _ in 0..<40 { pass(harness, .milliseconds(20)) }
        for client in clients { #expect(try client.closeCode == nil) }
        let now = Int64(harness.loops[0].now.uptimeNanoseconds / 1_000_000)
        #expect(order.limiter.take(20, limit: 10, delay: 400, now: now).count == 10)
    }

    @Test func aStopEndsIt() throws {
        let harness = try ShardHarness()
        let client = try harness.connect()
        let done = harness.shards[0].shed(order(.max, 0.1))
        harness.shards[0].beginShutdown(.shutdown, spreadMilliseconds: 100)
        harness.turn()
        #expect(try client.closeCode == 3001)
        #expect(result(of: done) == 0)
        #expect(result(of: harness.shards[0].shed(order())) == 0)
    }
}
