import ConduitCore
import ConduitTesting
import ConduitWire
import NIOCore
import Testing

@testable import ConduitHub

/// What is left out of what waits for a slow client, exactly.
@Suite struct BacklogTests {
    private static func rules() throws -> SlowRules {
        func policy(_ slow: RoomPolicy.Slow) -> RoomPolicy {
            var policy = RoomPolicy()
            policy.slow = slow
            return policy
        }
        return try #require(
            SlowRules(
                RoomPolicies(
                    namespaces: [
                        "old": policy(.dropOldest), "new": policy(.dropNewest), "last": policy(.conflate),
                    ], rest: RoomPolicy())))
    }

    private static func event(_ number: Int, room: String, key: String? = nil, size: Int = 100) throws -> ByteBuffer {
        let payload = ByteBuffer(string: "{\"n\":\(number),\"x\":\"\(String(repeating: "x", count: size))\"}")
        return EventEncoder.event(type: "m", payload: payload, room: try RoomName(checking: room), key: key).frame
    }

    private static func numbers(_ backlog: Backlog, atMost most: Int = 1_000) throws -> [Int] {
        var all: [Int] = []
        while let next = backlog.next(atMost: most) {
            var parser = WebSocketFrameParser(maximumMessageBytes: 1 << 24, role: .client)
            var bytes = next.bytes
            var messages = 0
            while let event = try parser.next(from: &bytes) {
                messages += 1
                guard case .text(let text) = event else { continue }
                all.append(try #require(try Envelope(text).data["n"] as? Int))
            }
            #expect(messages == next.messages && bytes.readableBytes == 0)
        }
        return all
    }

    @Test func withoutRulesThereIsNone() {
        #expect(SlowRules(RoomPolicies()) == nil)
    }

    @Test func theOldestMakeRoom() throws {
        let backlog = Backlog(rules: try Self.rules(), limit: 10_000)
        for number in 0..<500 {
            #expect(backlog.add(try Self.event(number, room: "old:1"), before: 1_000) == 0)
            #expect(backlog.bytes + 1_000 <= 10_000)
        }
        let dropped = backlog.takeDrops()
        #expect(dropped.oldest == 500 - backlog.count && dropped.newest == 0 && backlog.count > 30)
        #expect(backlog.takeGaps() == [Backlog.Gap(room: Array("old:1".utf8), missed: UInt64(dropped.oldest))])
        #expect(try Self.numbers(backlog) == Array(dropped.oldest..<500))
        #expect(backlog.isEmpty && backlog.bytes == 0)
    }

    @Test func theNewestAreLeftOut() throws {
        let backlog = Backlog(rules: try Self.rules(), limit: 10_000)
        for number in 0..<500 { #expect(backlog.add(try Self.event(number, room: "new:1"), before: 0) == 0) }
        let count = backlog.count
        #expect(backlog.takeDrops() == Backlog.Drops(newest: 500 - count))
        #expect(try Self.numbers(backlog) == Array(0..<count))
        // Room again: what comes from now on is taken.
        #expect(backlog.add(try Self.event(500, room: "new:1"), before: 0) == 0)
        #expect(try Self.numbers(backlog) == [500])
    }

    @Test func ofEachKeyTheNewestWaitsInItsPlace() throws {
        let backlog = Backlog(rules: try Self.rules(), limit: 10_000)
        for number in 0..<10_000 {
            let room = number % 2 == 0 ? "last:1" : "last:2"
            #expect(backlog.add(try Self.event(number, room: room, key: "k\(number % 5)"), before: 0) == 0)
            #expect(backlog.count <= 10)
        }
        #expect(backlog.takeDrops() == Backlog.Drops(conflated: 9_990))
        #expect(backlog.takeGaps().isEmpty)
        #expect(try Self.numbers(backlog) == Array(9_990..<10_000))
    }

    @Test func withoutKeyConflatingIsDroppingTheOldest() throws {
        let backlog = Backlog(rules: try Self.rules(), limit: 10_000)
        #expect(backlog.add(try Self.event(-1, room: "last:1", key: "k"), before: 0) == 0)
        for number in 0..<500 { #expect(backlog.add(try Self.event(number, room: "last:1"), before: 0) == 0) }
        let drops = backlog.takeDrops()
        #expect(drops.conflated == 0 && drops.oldest == 501 - backlog.count)
        #expect(try Self.numbers(backlog) == Array(drops.oldest - 1..<500))
    }

    @Test func othersAreNeverLeftOut() throws {
        let backlog = Backlog(rules: try Self.rules(), limit: 10_000)
        for number in 0..<200 { #expect(backlog.add(try Self.event(number, room: "old:1"), before: 0) == 0) }
        for number in 0..<200 { #expect(backlog.add(try Self.event(number, room: "new:1"), before: 0) == 0) }
        let before = backlog.count
        // Answers and other rooms' messages: they take what was left for them, then the place of the oldest.
        var kept = 0
        while backlog.add(try Self.event(1_000 + kept, room: "chat:1"), before: 0) == 0 { kept += 1 }
        #expect(kept > before / 2 && backlog.bytes <= 10_000)
        let all = try Self.numbers(backlog)
        #expect(all.filter { $0 >= 1_000 } == Array(1_000..<1_000 + kept))
        // What is one frame too many is counted with all behind it.
        let full = Backlog(rules: try Self.rules(), limit: 1_000)
        var run = ByteBuffer()
        for number in 0..<20 { run.writeImmutableBuffer(try Self.event(number, room: "chat:1")) }
        let lost = full.add(run, before: 0)
        #expect(lost > 0 && lost == 20 - full.count)
    }

    @Test func whatIsTooLargeByItselfIsLeftOutToo() throws {
        let backlog = Backlog(rules: try Self.rules(), limit: 1_000)
        #expect(backlog.add(try Self.event(1, room: "old:1", size: 2_000), before: 0) == 0)
        #expect(backlog.isEmpty && backlog.hasGaps)
        #expect(backlog.next(atMost: 10) == nil)
    }

    /// Against a plain model: any mix of rooms, keys and reads.
    @Test(arguments: 0..<20) func itIsWhatAListWouldBe(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let backlog = Backlog(rules: try Self.rules(), limit: 1 << 30)
        var model: [(number: Int, name: String)] = []
        for number in 0..<2_000 {
            let room = ["old:1", "new:1", "last:1", "last:2", "chat"].randomElement(using: &generator) ?? ""
            let key = Bool.random(using: &generator) ? "k\(Int.random(in: 0..<4, using: &generator))" : nil
            let name = key.map { "\(room) \($0)" } ?? ""
            if room.hasPrefix("last"), !name.isEmpty { model.removeAll { $0.name == name } }
            model.append((number, name))
            let size = Int.random(in: 0...300, using: &generator)
            #expect(backlog.add(try Self.event(number, room: room, key: key, size: size), before: 0) == 0)
            #expect(backlog.count == model.count)
            guard Int.random(in: 0..<100, using: &generator) == 0 else { continue }
            let next = try #require(backlog.next(atMost: Int.random(in: 0...5_000, using: &generator)))
            model.removeFirst(next.messages)
        }
        #expect(try Self.numbers(backlog) == model.map(\.number))
    }
}
