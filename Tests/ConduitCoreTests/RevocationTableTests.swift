import Testing

@testable import ConduitCore

struct RevocationTableTests {
    private let ann = UserID(literal: "ann")

    @Test func aUsersTokensAreRevokedThatWereIssuedUntilThenOrDontSay() {
        var table = RevocationTable()
        let isNew = table.insert(Revocation(.user(ann), revokedAt: 1_000, expiresAt: 9_000), now: 1_000)
        #expect(isNew)
        func isRevoked(_ issuedAt: Int64?, now: Int64 = 2_000, user: UserID? = UserID(literal: "ann")) -> Bool {
            table.isRevoked(user: user, tokenID: nil, issuedAt: issuedAt, now: now)
        }
        #expect(isRevoked(999) && isRevoked(1_000) && isRevoked(nil))
        #expect(!isRevoked(1_001))
        #expect(!isRevoked(999, now: 9_000))
        #expect(!isRevoked(999, user: UserID(literal: "bob")) && !isRevoked(999, user: nil))
    }

    @Test func ofTwoForOneTargetTheLaterTimesCount() {
        var table = RevocationTable()
        let token = Revocation.Target.token("a")
        let news = [(5, 100), (4, 90), (4, 200)].map { revokedAt, expiresAt in
            table.insert(Revocation(token, revokedAt: Int64(revokedAt), expiresAt: Int64(expiresAt)), now: 0)
        }
        #expect(news == [true, false, true])
        #expect(table.all == [Revocation(token, revokedAt: 5, expiresAt: 200)])
        let late = table.insert(Revocation(.token("b"), revokedAt: 0, expiresAt: 150), now: 150)
        #expect(!late)
        #expect(table.isRevoked(user: nil, tokenID: "a", issuedAt: 999, now: 150))
    }

    @Test func aTokenThatLivesLongerLengthensWhatRevokesIt() {
        var table = RevocationTable()
        for target in [Revocation.Target.user(ann), .token("a"), .token("b")] {
            _ = table.insert(Revocation(target, revokedAt: 1_000, expiresAt: 9_000), now: 1_000)
        }
        func lengthen(_ user: UserID?, _ id: String?, issuedAt: Int64?, to end: Int64) -> [Revocation] {
            table.lengthen(user: user, tokenID: id, issuedAt: issuedAt, ifBefore: end, to: end, now: 2_000)
        }
        // Issued later, or nobody knows: a new token of the user mustn't keep it out for good.
        #expect(lengthen(ann, nil, issuedAt: 1_001, to: 20_000).isEmpty)
        #expect(lengthen(ann, nil, issuedAt: nil, to: 20_000).isEmpty)
        #expect(lengthen(ann, nil, issuedAt: 1_000, to: 9_000).isEmpty)
        #expect(lengthen(UserID(literal: "bob"), "c", issuedAt: 1, to: 20_000).isEmpty)
        let longer = [Revocation.Target.user(ann), .token("a")].map {
            Revocation($0, revokedAt: 1_000, expiresAt: 20_000)
        }
        #expect(lengthen(ann, "a", issuedAt: 1_000, to: 20_000) == longer)
        #expect(lengthen(ann, "a", issuedAt: 1_000, to: 19_999).isEmpty)
        #expect(table.isRevoked(user: ann, tokenID: nil, issuedAt: 5, now: 19_999))
        #expect(table[.token("a")] == longer[1] && table[.token("b")]?.expiresAt == 9_000)
        #expect(table.count == 3)
    }

    @Test func slicesAreOfTheTableAsItWas() {
        var table = RevocationTable()
        let all = (0..<25).map { Revocation(.token("\($0)"), revokedAt: 0, expiresAt: 1_000 + $0) }
        for revocation in all { _ = table.insert(revocation, now: 0) }
        var slices = table.slices
        _ = table.insert(Revocation(.token("late"), revokedAt: 0, expiresAt: 5_000), now: 2_000)
        #expect(table.count == 1)
        let parts = [slices.take(10), slices.take(10), slices.take(10), slices.take(10)]
        #expect(parts.map(\.count) == [10, 10, 5, 0])
        #expect(Set(parts.joined()) == Set(all))
    }

    @Test func revokingTheSameAgainAndAgainTakesNoMemory() {
        var table = RevocationTable(limit: 10)
        for time in Int64(1)...5_000 {
            _ = table.insert(Revocation(.token("a"), revokedAt: 0, expiresAt: 10_000 + time), now: 0)
        }
        #expect(table.count == 1 && table.dropped == 0)
        #expect(table.isRevoked(user: nil, tokenID: "a", issuedAt: nil, now: 14_999))
        #expect(!table.isRevoked(user: nil, tokenID: "a", issuedAt: nil, now: 15_000))
    }

    /// A full table forgets what would run out first, as a list does that is sorted each time.
    @Test(arguments: [UInt64(1), 2, 3]) func agreesWithAListThatIsSorted(seed: UInt64) {
        var generator = Generator(state: seed)
        var table = RevocationTable(limit: 50)
        var model: [Int: Int64] = [:]
        var dropped: UInt64 = 0
        for now in Int64(0)..<3_000 {
            let name = Int.random(in: 0..<200, using: &generator)
            // Ends differ, so that it is clear which one is first.
            let end = now + Int64.random(in: 1...400, using: &generator) * 10_000 + now
            model = model.filter { $0.value > now }
            if model[name] == nil, model.count >= 50, let first = model.min(by: { $0.value < $1.value }) {
                model[first.key] = nil
                dropped += 1
            }
            model[name] = max(model[name] ?? 0, end)
            _ = table.insert(Revocation(.token("\(name)"), revokedAt: 0, expiresAt: end), now: now)
            #expect(table.count == model.count && table.dropped == dropped)
        }
        #expect(Set(table.all) == Set(model.map { Revocation(.token("\($0)"), revokedAt: 0, expiresAt: $1) }))
    }

    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }
}
