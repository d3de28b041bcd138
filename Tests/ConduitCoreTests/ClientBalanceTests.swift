import ConduitCore
import Testing

@Suite struct ClientBalanceTests {
    /// Nodes that each decide by themselves; who is sent away comes to the node that has the fewest.
    private func settle(_ counts: [Int], share: Int = 10, seconds: Double = 5, minutes: Int) -> (
        counts: [Int], moved: Int
    ) {
        var counts = counts
        var balances = counts.map { _ in ClientBalance(share: share, tolerance: 5) }
        var moved = 0
        for _ in 0..<Int(Double(minutes) * 60 / seconds) {
            let before = counts
            for node in counts.indices {
                var others = before
                others.remove(at: node)
                let count = balances[node].step(own: before[node], others: others, seconds: seconds)
                counts[node] -= count
                moved += count
                for _ in 0..<count {
                    if let fewest = counts.indices.min(by: { counts[$0] < counts[$1] }) { counts[fewest] += 1 }
                }
            }
        }
        return (counts, moved)
    }

    @Test func aFourthNodeGetsItsShareWithoutADetour() {
        let (counts, moved) = settle([1_000, 1_000, 1_000, 0], minutes: 5)
        #expect(counts.allSatisfy { (675...788).contains($0) }, "\(counts)")
        #expect(moved <= 750)
        #expect(settle(counts, minutes: 5).moved == 0, "near is near enough")
    }

    @Test func noMoreThanItsShareIsSentAwayAMinute() {
        var balance = ClientBalance(share: 10, tolerance: 5)
        var own = 1_000
        for _ in 0..<12 { own -= balance.step(own: own, others: [0, 0], seconds: 5) }
        #expect((900...905).contains(own))
    }

    @Test(arguments: [
        ([1], [0]), ([2], [1]), ([1_000], [1_000, 1_000]), ([104], [100, 100]), ([0], [9, 9]), ([5], []),
    ])
    func whoIsNearTheMeanKeepsItsClients(own: [Int], others: [Int]) {
        var balance = ClientBalance(share: 100, tolerance: 5)
        for own in own { #expect(balance.step(own: own, others: others, seconds: 60) == 0) }
        #expect(!balance.isShedding)
    }

    @Test func itNeverGoesBelowTheMeanAndEndsNearIt() {
        var balance = ClientBalance(share: 100, tolerance: 10)
        #expect(balance.step(own: 100, others: [0], seconds: 600) == 50)
        #expect(balance.isShedding)
        #expect(balance.step(own: 54, others: [46], seconds: 60) == 4, "begun, it goes on to half of the tolerance")
        #expect(balance.step(own: 52, others: [48], seconds: 60) == 0)
        #expect(!balance.isShedding)
        #expect(balance.step(own: 54, others: [46], seconds: 60) == 0, "and begins again above the whole")
    }

    /// The others' counts are as old as their last heartbeat.
    @Test func whoIsOnTheWayCounts() {
        var balance = ClientBalance(share: 100, tolerance: 5)
        let first = balance.step(own: 30, others: [0], seconds: 15)
        #expect(first == 7)
        let second = balance.step(own: 30 - first, others: [0], inFlight: first, seconds: 60)
        #expect(second == 8)
        #expect(balance.step(own: 15, others: [first], inFlight: second, seconds: 60) == 0)
        #expect(balance.isShedding, "what is on its way may have been counted twice")
        #expect(balance.step(own: 15, others: [15], seconds: 60) == 0)
        #expect(!balance.isShedding)
    }

    @Test func chanceDoesNotSendClientsToAndFro() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let counts = (0..<Int.random(in: 2...8, using: &random)).map { _ in Int.random(in: 0...300, using: &random)
            }
            let (after, _) = settle(counts, share: 100, minutes: 10)
            #expect(settle(after, share: 100, minutes: 10).moved == 0, "\(counts) \(after)")
        }
    }
}
