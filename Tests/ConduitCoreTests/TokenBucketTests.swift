import ConduitCore
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

    @Test func noClockAndNoNumberTraps() {
        var bucket = TokenBucket(perSecond: .max, burst: .max, now: .min / 2)
        let (all, none) = (bucket.take(.max, now: .max / 4), bucket.take(-1, now: 0))
        #expect(all && none)
        _ = bucket.wait(for: .max, now: .max / 4)
    }
}
