import ConduitCore
import ConduitTesting
import Testing

@Suite struct PresenceDiffCoalescerTests {
    private let room = RoomName(literal: "r")

    private func member(_ id: String, user: String? = nil, at time: Int64 = 1) throws -> Member {
        let client = try #require(ClientID(id))
        return Member(
            client: client, user: user.flatMap { UserID($0) }, node: try #require(client.node), joinedAt: time)
    }

    private func take(
        _ diffs: inout PresenceDiffCoalescer, at now: Int64 = 0, members: Int = 0, _ users: [UserID: Int] = [:]
    ) -> PresenceDiffCoalescer.Diff? {
        diffs.take(room, now: now, members: members) { users[$0] ?? 0 }
    }

    @Test func comingAndGoingCancelOut() throws {
        let a = try member("n.a"), b = try member("n.b")
        var diffs = PresenceDiffCoalescer()
        diffs.add(.joined(a), to: room, named: true, now: 0)
        diffs.add(.left(a, .left), to: room, named: true, now: 0)
        diffs.add(.left(b, .disconnected), to: room, named: true, now: 0)
        diffs.add(.joined(b), to: room, named: true, now: 0)
        check(take(&diffs) == nil)
        diffs.add(.left(b, .disconnected), to: room, named: true, now: 0)
        diffs.add(.joined(try member("n.b", at: 2)), to: room, named: true, now: 0)
        check(take(&diffs)?.joined == [try member("n.b", at: 2)])
    }

    @Test func theFirstChangeIsToldSoonAndTheNextOnesMoreSlowly() throws {
        var diffs = PresenceDiffCoalescer(intervalMilliseconds: 100)
        diffs.add(.joined(try member("n.a")), to: room, named: true, now: 1_000)
        check(diffs.due(now: 1_099) == [])
        check(diffs.due(now: 1_100) == [room])
        check(take(&diffs, at: 1_100, members: 10) != nil)
        diffs.add(.joined(try member("n.b")), to: room, named: true, now: 1_110)
        check(diffs.due(now: 1_359) == [])
        check(diffs.due(now: 1_360) == [room])
        check(take(&diffs, at: 1_360, members: 5_000) != nil)
        diffs.add(.joined(try member("n.c")), to: room, named: true, now: 1_400)
        check(diffs.due(now: 2_359) == [])
        check(diffs.due(now: 2_360) == [room])
        check(take(&diffs, at: 2_360) != nil)
        check(diffs.due(now: 2_609) == [])
        #expect(!diffs.isEmpty)
        // Quiet for long enough: as if nothing had been.
        check(diffs.due(now: 2_610) == [])
        #expect(diffs.isEmpty)
    }

    @Test func howeverManyJoinAMemberReadsFewDiffs() throws {
        var diffs = PresenceDiffCoalescer(intervalMilliseconds: 100)
        var told: [Int64] = []
        for now in Int64(0)..<5_000 {
            for number in 0..<2 {
                diffs.add(.joined(try member("n.c\(now)x\(number)")), to: room, named: true, now: now)
            }
            for room in diffs.due(now: now) {
                told.append(now)
                _ = diffs.take(room, now: now, members: Int(now) * 2) { _ in 0 }
            }
        }
        #expect(told.first == 100)
        for second in Int64(0)..<5 {
            #expect(told.count { $0 / 1_000 == second } <= 4, "\(told)")
        }
    }

    @Test func whatOneDiffCannotHoldComesWithTheNext() throws {
        var diffs = PresenceDiffCoalescer(intervalMilliseconds: 100, nameLimit: 2)
        for name in ["a", "b", "c"] {
            diffs.add(.joined(try member("n." + name, user: "u")), to: room, named: true, now: 0)
        }
        let user = UserID(literal: "u")
        let first = take(&diffs, at: 100, [user: 3])
        #expect(first?.joined.count == 2 && first?.usersJoined == [user])
        check(diffs.due(now: 349) == [])
        check(diffs.due(now: 350) == [room])
        let second = take(&diffs, at: 350, [user: 3])
        #expect(second?.joined.count == 1 && second?.usersJoined == [])
    }

    @Test func usersComeWithTheFirstConnectionAndGoWithTheLast() throws {
        var diffs = PresenceDiffCoalescer()
        let user = UserID(literal: "u")
        let tab = try member("n.a", user: "u"), other = try member("m.b", user: "u")
        diffs.add(.joined(tab), to: room, named: true, now: 0)
        #expect(take(&diffs, [user: 1])?.usersJoined == [user])
        diffs.add(.joined(other), to: room, named: true, now: 0)
        #expect(take(&diffs, [user: 2])?.usersJoined == [])
        // One tab for the other: nobody came or went.
        diffs.add(.left(tab, .disconnected), to: room, named: true, now: 0)
        diffs.add(.joined(try member("n.c", user: "u")), to: room, named: true, now: 0)
        let swap = take(&diffs, [user: 2])
        #expect(swap?.joined.count == 1 && swap?.left.count == 1)
        #expect(swap?.usersJoined == [] && swap?.usersLeft == [])
        diffs.add(.left(other, .left), to: room, named: true, now: 0)
        diffs.add(.left(try member("n.c", user: "u"), .left), to: room, named: true, now: 0)
        #expect(take(&diffs)?.usersLeft == [user])
    }

    @Test func changesWithoutNamesAreToldAsNumbers() throws {
        var diffs = PresenceDiffCoalescer()
        diffs.add(.joined(try member("n.a")), to: room, named: false, now: 0)
        let diff = take(&diffs)
        #expect(diff != nil && diff?.isEmpty == true)
        check(take(&diffs) == nil)
        diffs.add(.joined(try member("n.a")), to: room, named: true, now: 0)
        check(diffs.takeCounts(room, now: 0, members: 1))
        check(!diffs.takeCounts(room, now: 0, members: 1))
        check(take(&diffs) == nil, "the name is not told later")
    }

    /// Whoever applies the diffs knows exactly who is there, and which users are.
    @Test(arguments: [51, 52, 53, 54] as [UInt64], [3, 1_000])
    func randomWalkOfDiffsRebuildsTheRoster(seed: UInt64, limit: Int) throws {
        var random = SeededGenerator(seed: seed)
        var diffs = PresenceDiffCoalescer(nameLimit: limit)
        var truth: [ClientID: Member] = [:]
        var seen: [ClientID: Member] = [:]
        var users: Set<UserID> = []
        func connections(_ user: UserID) -> Int { truth.values.count { $0.user == user } }
        func apply(_ step: Int) -> Bool {
            guard let diff = diffs.take(room, now: 0, members: 0, connections: connections) else { return false }
            #expect(!diff.isEmpty && diff.joined.count + diff.left.count <= limit)
            for departure in diff.left {
                check(seen.removeValue(forKey: departure.member.client) != nil, "seed \(seed) step \(step)")
            }
            for member in diff.joined { seen[member.client] = member }
            for user in diff.usersJoined { check(users.insert(user).inserted, "seed \(seed) step \(step)") }
            for user in diff.usersLeft { check(users.remove(user) != nil, "seed \(seed) step \(step)") }
            #expect(users == Set(seen.values.compactMap(\.user)), "seed \(seed) step \(step)")
            return true
        }
        for step in 0..<3_000 {
            let number = Int.random(in: 0..<8, using: &random)
            let user = Int.random(in: 0..<4, using: &random)
            let new = try member("n.c\(number)", user: user == 0 ? nil : "u\(user)", at: Int64(step))
            switch Int.random(in: 0..<10, using: &random) {
            case 0...3:
                let old = truth.updateValue(new, forKey: new.client)
                diffs.add(old.map { .changed(new, from: $0) } ?? .joined(new), to: room, named: true, now: 0)
            case 4...7:
                guard let old = truth.removeValue(forKey: new.client) else { continue }
                diffs.add(.left(old, .left), to: room, named: true, now: 0)
            case 8: _ = apply(step)
            default:
                while apply(step) {}
                #expect(seen == truth, "seed \(seed) step \(step)")
            }
        }
    }
}
