import ConduitCore
import ConduitTesting
import Testing

struct TokenBucketTests {
    @Test func aBurstGoesAtOnceAndTheRestAtItsRate() {
        var bucket = TokenBucket(perSecond: 10, burst: 3, now: 0)
        let taken = (0..<4).map { _ in bucket.take(now: 0) }
        #expect(taken == [true, true, true, false])
        #expect(bucket.wait(now: 0) == 100)
        let (early, inTime) = (bucket.take(now: 99), bucket.take(now: 100))
        #expect(!early && inTime)
        #expect(!bucket.isFull(now: 399) && bucket.isFull(now: 400))
    }

    @Test func whatIsLargerThanTheBurstIsLateAndNotImpossible() {
        var bucket = TokenBucket(perSecond: 1_000, burst: 500, now: 0)
        let large = bucket.take(2_000, now: 0)
        #expect(large && bucket.wait(now: 0) == 1_501)
        let (early, inTime) = (bucket.take(now: 1_500), bucket.take(now: 1_501))
        #expect(!early && inTime)
    }

    /// A large burst at a slow rate takes hours to come back.
    @Test func whoWaitsForHoursGetsWhatItWasTold() {
        var bucket = TokenBucket(perSecond: 1, burst: 10_000, now: 0)
        let all = bucket.take(10_000, now: 0)
        #expect(all && bucket.wait(for: 10_000, now: 0) == 10_000_000)
        let (early, inTime) = (bucket.take(10_000, now: 9_999_999), bucket.take(10_000, now: 10_000_000))
        #expect(!early && inTime && bucket.wait(for: 1, now: 10_000_000) == 1_000)
    }

    /// Over any time no more goes than the burst and the rate allow, and no less than that is had by who waits as told.
    @Test(arguments: [UInt64.random(in: 0...UInt64.max), 1, 2])
    func theRateHoldsWhateverComesWhen(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let rate = Int.random(in: 1...5_000, using: &generator)
            let burst = Int.random(in: 1...5_000, using: &generator)
            var bucket = TokenBucket(perSecond: rate, burst: burst, now: 0)
            var (now, taken) = (Int64(0), 0)
            for _ in 0..<500 {
                now += Int64.random(in: 0...50, using: &generator)
                let wanted = Int.random(in: 1...burst, using: &generator)
                let wait = bucket.wait(for: wanted, now: now)
                let isTaken = bucket.take(wanted, now: now)
                #expect(isTaken == (wait == 0))
                if isTaken { taken += wanted }
                #expect(Double(taken) <= Double(burst) + Double(rate) * Double(now) / 1_000 + 0.001)
                if wait > 0 {
                    now += wait
                    let isTakenAsTold = bucket.take(wanted, now: now)
                    #expect(isTakenAsTold)
                    if isTakenAsTold { taken += wanted }
                }
            }
        }
    }

    @Test func noClockAndNoNumberTraps() {
        var bucket = TokenBucket(perSecond: .max, burst: .max, now: .min / 2)
        let (all, none) = (bucket.take(.max, now: .max / 4), bucket.take(-1, now: 0))
        #expect(all && none)
        _ = bucket.wait(for: 1, now: .min)
        var oldest = TokenBucket(perSecond: 1, burst: 5, now: .min)
        let (five, six) = (oldest.take(5, now: .min), oldest.take(5, now: .max))
        #expect(five && six)
        _ = bucket.wait(for: .max, now: .max / 4)
    }
}
