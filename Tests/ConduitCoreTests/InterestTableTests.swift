import ConduitCore
import ConduitTesting
import Testing

@Suite struct InterestTableTests {
    static func room(_ name: String) throws -> BusTopic { .room(try #require(RoomName(name))) }

    @Test func firstMemberSubscribesAndLastLingers() throws {
        let a = try Self.room("a")
        var table = InterestTable(lingerMilliseconds: 2_000)
        check(table.joined(a, shard: 3))
        check(!table.joined(a, shard: 5))
        #expect(table.shards(of: a) == 0b101000)
        check(table.takeSubscriptions(limit: 10).isEmpty, "nothing is subscribed without a connection")
        table.connectionReady()
        check(table.takeSubscriptions(limit: 10) == [a])
        #expect(table.unconfirmed == 1)
        check(table.confirmed(a, now: 0))
        #expect(table.unconfirmed == 0)
        #expect(table.state(of: a) == .live)
        check(!table.left(a, shard: 3, now: 10))
        #expect(table.shards(of: a) == 0b100000)
        check(table.left(a, shard: 5, now: 100))
        #expect(table.state(of: a) == .lingering(until: 2_100))
        check(table.takeUnsubscriptions(now: 2_099).isEmpty)
        check(table.takeUnsubscriptions(now: 2_100) == [a])
        #expect(table.count == 0)
    }

    @Test func singleSubscriptionsCanBeLost() throws {
        let a = try Self.room("a"), b = try Self.room("b"), c = try Self.room("c")
        var table = InterestTable(lingerMilliseconds: 1_000)
        table.connectionReady()
        for topic in [a, b, c] { table.joined(topic, shard: 0) }
        _ = table.takeSubscriptions(limit: 10)
        for topic in [a, b] { table.confirmed(topic, now: 7) }
        table.left(b, shard: 0, now: 10)
        check(table.lost([a, b, c, try Self.room("unknown")]) == [b], "nobody is in there any more")
        #expect(table.unconfirmed == 2)
        check(table.lost([a]) == [])
        #expect(table.followedSince(a) == 7)
        #expect(table.followedSince(c) == nil)
        check(table.takeSubscriptions(limit: 10) == [a, c])
        check(table.confirmed(a, now: 20))
        check(table.confirmed(c, now: 20))
        #expect(table.unconfirmed == 0)
        #expect(table.followedSince(a) == 7, "it was followed before, so what came meanwhile is missing")
        #expect(table.followedSince(c) == 20)
        check(table.takeUnsubscriptions(now: 5_000).isEmpty)
        #expect(table.state(of: a) == .live)
    }

    @Test func flappingCausesNoCommand() throws {
        let a = try Self.room("a")
        var table = InterestTable(lingerMilliseconds: 1_000)
        table.connectionReady()
        table.joined(a, shard: 0)
        _ = table.takeSubscriptions(limit: 1)
        table.confirmed(a, now: 0)
        for now in stride(from: Int64(0), to: 50_000, by: 500) {
            table.left(a, shard: 0, now: now)
            check(table.takeUnsubscriptions(now: now + 400).isEmpty)
            table.joined(a, shard: 0)
            check(table.takeSubscriptions(limit: 1).isEmpty)
        }
    }

    @Test func lingerIsAtLeastASecond() throws {
        let a = try Self.room("a")
        var table = InterestTable(lingerMilliseconds: 0)
        table.connectionReady()
        table.joined(a, shard: 0)
        _ = table.takeSubscriptions(limit: 1)
        table.confirmed(a, now: 0)
        table.left(a, shard: 0, now: 0)
        check(table.takeUnsubscriptions(now: 999).isEmpty)
        check(table.takeUnsubscriptions(now: 1_000) == [a])
    }

    @Test func whatIsRefusedIsTriedAgainAndHoldsUpNothing() throws {
        let a = try Self.room("a"), b = try Self.room("b"), c = try Self.room("c")
        var table = InterestTable()
        table.connectionReady()
        for topic in [a, b, c] { table.joined(topic, shard: 0) }
        check(table.takeSubscriptions(limit: 10).count == 3)
        table.left(c, shard: 0, now: 0)
        for topic in [a, b, c] { table.refused(topic, now: 0) }
        #expect(table.unconfirmed == 0, "nobody waits for confirmations that won't come")
        #expect(table.state(of: c) == nil, "without members it is forgotten")
        check(table.left(b, shard: 0, now: 1))
        #expect(table.state(of: b) == nil)
        table.retryRefused(now: 4_999)
        check(table.takeSubscriptions(limit: 10).isEmpty)
        table.retryRefused(now: 5_000)
        #expect(table.unconfirmed == 1)
        check(table.takeSubscriptions(limit: 10) == [a])
        table.refused(a, now: 5_000)
        check(table.connectionLost().isEmpty)
        table.connectionReady()
        check(table.takeSubscriptions(limit: 10) == [a], "a new connection doesn't wait")
        check(table.confirmed(a, now: 0))
        #expect(table.unconfirmed == 0)
        table.retryRefused(now: 20_000)
        #expect(table.unconfirmed == 0)
        table.left(a, shard: 0, now: 20_000)
        check(table.connectionLost() == [a], "what lingers is given up")
    }

    @Test func lossMakesWhatHasMembersWantedAgain() throws {
        let a = try Self.room("a"), b = try Self.room("b")
        var table = InterestTable()
        table.connectionReady()
        table.joined(a, shard: 0)
        table.joined(b, shard: 1)
        _ = table.takeSubscriptions(limit: 10)
        table.confirmed(a, now: 0)
        table.confirmed(b, now: 0)
        table.left(b, shard: 1, now: 5)
        table.connectionLost()
        #expect(table.state(of: b) == nil)
        #expect(table.unconfirmed == 1)
        check(table.takeSubscriptions(limit: 10).isEmpty)
        table.connectionReady()
        check(table.takeSubscriptions(limit: 10) == [a])
        check(!table.confirmed(b, now: 9), "a late confirmation of the old connection means nothing")
    }

    @Test func comingAndGoingWithoutConnectionLeavesNothing() throws {
        var table = InterestTable()
        for number in 0..<10_000 {
            let topic = try Self.room("r\(number)")
            table.joined(topic, shard: 0)
            table.left(topic, shard: 0, now: 0)
        }
        #expect(table.count == 0)
        #expect(table.unconfirmed == 0)
        table.connectionReady()
        check(table.takeSubscriptions(limit: 100).isEmpty)
    }

    @Test func shardsBeyondTheMaskAreRefused() throws {
        let a = try Self.room("a")
        var table = InterestTable()
        check(!table.joined(a, shard: 64))
        check(!table.joined(a, shard: -1))
        #expect(table.count == 0)
    }

    /// The model: who is a member where, and what Redis believes that we subscribe.
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func randomWalkKeepsRedisInStepWithTheMembers(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let topics = try (0..<6).map { try Self.room("room \($0)") }
        var table = InterestTable(lingerMilliseconds: 1_500)
        var members: [BusTopic: [Int: Int]] = [:]
        var redis: Set<BusTopic> = []
        var unconfirmed: [BusTopic] = []
        var emptySince: [BusTopic: Int64] = [:]
        var connected = false
        var now: Int64 = 0
        for step in 0..<4_000 {
            let topic = topics[Int.random(in: 0..<6, using: &random)]
            let shard = Int.random(in: 0..<4, using: &random)
            switch Int.random(in: 0..<12, using: &random) {
            case 0...3:
                table.joined(topic, shard: shard)
                members[topic, default: [:]][shard, default: 0] += 1
                emptySince[topic] = nil
            case 4...7:
                let had = (members[topic]?[shard] ?? 0) > 0
                let last = table.left(topic, shard: shard, now: now)
                if had {
                    members[topic]?[shard]? -= 1
                    let empty = (members[topic] ?? [:]).values.allSatisfy { $0 == 0 }
                    #expect(last == empty, "seed \(seed) step \(step)")
                    if empty { emptySince[topic] = now }
                } else {
                    #expect(!last)
                }
            case 8:
                now += Int64.random(in: 0..<1_000, using: &random)
                for gone in table.takeUnsubscriptions(now: now) {
                    #expect((members[gone] ?? [:]).values.allSatisfy { $0 == 0 }, "seed \(seed) step \(step)")
                    #expect(now - (emptySince[gone] ?? now) >= 1_500, "seed \(seed) step \(step)")
                    redis.remove(gone)
                }
            case 9:
                if !unconfirmed.isEmpty { table.confirmed(unconfirmed.removeFirst(), now: now) }
            case 10:
                for new in table.takeSubscriptions(limit: 2) {
                    #expect(connected)
                    redis.insert(new)
                    unconfirmed.append(new)
                }
            default:
                if connected, Bool.random(using: &random) {
                    table.connectionLost()
                    connected = false
                    redis = []
                    unconfirmed = []
                } else if !connected {
                    table.connectionReady()
                    connected = true
                }
            }
            for topic in topics {
                var mask: UInt64 = 0
                for (shard, count) in members[topic] ?? [:] where count > 0 { mask |= 1 << UInt64(shard) }
                #expect(table.shards(of: topic) == mask, "seed \(seed) step \(step)")
                if table.isConfirmed(topic) { #expect(redis.contains(topic), "seed \(seed) step \(step)") }
            }
        }
        table.connectionReady()
        while true {
            let new = table.takeSubscriptions(limit: 3)
            if new.isEmpty { break }
            redis.formUnion(new)
            unconfirmed += new
        }
        for topic in unconfirmed { table.confirmed(topic, now: now) }
        #expect(table.unconfirmed == 0)
        for gone in table.takeUnsubscriptions(now: now + 1_500) { redis.remove(gone) }
        let wanted = Set(topics.filter { (members[$0] ?? [:]).values.contains { $0 > 0 } })
        #expect(redis == wanted, "seed \(seed)")
        #expect(table.nextDeadline == nil)
    }
}
