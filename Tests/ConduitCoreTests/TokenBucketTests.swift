import ConduitCore
import Testing

struct TokenBucketTests {
    @Test func aBurstGoesAtOnceAndTheRestAtItsRate() {
        var bucket = TokenBucket(perSecond: 10, burst: 3, now: 0)
        #expect((0..<4).map { _ in bucket.take(now: 0) } == [true, true, true, false])
        #expect(bucket.wait(now: 0) == 100)
        #expect(!bucket.take(now: 99))
        #expect(bucket.take(now: 100))
        #expect(!bucket.isFull(now: 399) && bucket.isFull(now: 400))
    }

    @Test func whatIsLargerThanTheBurstIsLateAndNotImpossible() {
        var bucket = TokenBucket(perSecond: 1_000, burst: 500, now: 0)
        #expect(bucket.take(2_000, now: 0))
        #expect(bucket.wait(now: 0) == 1_501)
        #expect(!bucket.take(now: 1_500) && bucket.take(now: 1_501))
    }

    @Test func noClockAndNoNumberTraps() {
        var bucket = TokenBucket(perSecond: .max, burst: .max, now: .min / 2)
        #expect(bucket.take(.max, now: .max / 4))
        #expect(bucket.take(-1, now: 0))
        _ = bucket.wait(for: .max, now: .max / 4)
    }
}
