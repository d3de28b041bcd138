import ConduitCore
import ConduitTesting
import Testing

/// Rights and buckets against models that are too simple to be wrong.
@Suite struct ModelTests {
    /// Whether a name fits a pattern, by trying everything.
    private static func fits(_ pattern: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        if first == UInt8(ascii: "*") {
            return fits(pattern.dropFirst(), name) || (!name.isEmpty && fits(pattern, name.dropFirst()))
        }
        // A `\` at the end stands for itself.
        let isEscape = first == UInt8(ascii: "\\") && pattern.count > 1
        let literal = isEscape ? pattern.dropFirst() : pattern
        return name.first == literal.first && fits(literal.dropFirst(), name.dropFirst())
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func rightsMatchAsTryingEverythingDoes(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let letters = Array("ab*\\:é")
        func text(_ most: Int) -> String {
            String(
                (0..<Int.random(in: 0...most, using: &generator)).compactMap { _ in
                    letters.randomElement(using: &generator)
                })
        }
        for round in 0..<4_000 {
            let grants = (0..<Int.random(in: 0...3, using: &generator)).map { _ in
                RoomRights.Grant(text(7), RoomRights.Rights(rawValue: UInt8.random(in: 0...15, using: &generator)))
            }
            guard let room = RoomName(text(9)) else { continue }
            let asked = RoomRights.Rights(rawValue: UInt8.random(in: 0...15, using: &generator))
            let granted = grants.filter { Self.fits(Array($0.pattern.utf8)[...], Array(room.rawValue.utf8)[...]) }
                .reduce(RoomRights.Rights()) { $0.union($1.rights) }
            #expect(
                RoomRights(grants).allows(asked, in: room) == granted.isSuperset(of: asked),
                "seed \(seed), round \(round): \(room) by \(grants.map(\.pattern))")
        }
    }

    /// Exact fractions: everything is counted in thousandths of a unit times units a second.
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func aBucketGivesWhatItsRateSays(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        func number(_ least: Int, _ most: [Int]) -> Int {
            Int.random(in: least...(most.randomElement(using: &generator) ?? least), using: &generator)
        }
        for _ in 0..<40 {
            let rate = number(1, [3, 100, 100_000])
            let burst = number(1, [1, 20, 1_000_000])
            var now = Int64.random(in: -1_000_000...1_000_000, using: &generator)
            var bucket = TokenBucket(perSecond: rate, burst: burst, now: now)
            // Thousandths of units.
            var level = burst * 1_000
            for step in 0..<300 {
                let passed = number(0, [0, 3, 2_000])
                now += Int64(passed)
                level = min(burst * 1_000, level + passed * rate)
                let units = Int.random(in: 0...max(3, burst / 2), using: &generator)
                let needed = min(units * 1_000, burst * 1_000)
                let wait = level >= needed ? 0 : (needed - level + rate - 1) / rate
                #expect(bucket.wait(for: units, now: now) == Int64(wait), "seed \(seed), step \(step)")
                #expect(bucket.isFull(now: now) == (level == burst * 1_000), "seed \(seed), step \(step)")
                let taken = bucket.take(units, now: now)
                #expect(taken == (level >= needed), "seed \(seed), step \(step)")
                if taken { level -= units * 1_000 }
            }
        }
    }
}
