import ConduitTelemetry
import Testing

/// A generator with a known seed, so that a failure can be repeated.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct LatencyHistogramTests {
    @Test func emptyHistogramAnswersZero() {
        let histogram = LatencyHistogram()
        #expect(histogram.count == 0)
        #expect(histogram.percentile(50) == 0)
        #expect(histogram.percentile(100) == 0)
        #expect(histogram.mean == 0)
        #expect(histogram.cumulativeCounts(upTo: [1, 100]) == [0, 0])
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func percentilesAgreeWithSortingWithinOnePercent(seed: UInt64) {
        var random = SplitMix(state: seed)
        var histogram = LatencyHistogram()
        var values: [Int64] = []
        for _ in 0..<Int.random(in: 1...3000, using: &random) {
            // Spread over all magnitudes, as latencies are.
            let value = Int64.random(in: 0...(1 << Int64.random(in: 0...25, using: &random)), using: &random)
            values.append(value)
            histogram.record(microseconds: value)
        }
        values.sort()
        for percent in [0, 1, 10, 25, 50, 75, 90, 99, 99.9, 100] {
            let rank = max(1, Int((percent / 100 * Double(values.count)).rounded(.up)))
            let exact = Double(values[rank - 1])
            let got = Double(histogram.percentile(percent))
            #expect(abs(got - exact) <= max(1, exact * 0.01), "seed \(seed), \(percent) %: \(got) for \(exact)")
        }
        #expect(histogram.sum == UInt64(values.reduce(0, +)))
    }

    @Test func mergingIsTheSameAsRecordingAll() {
        var random = SplitMix(state: 7)
        var parts = [LatencyHistogram](repeating: LatencyHistogram(), count: 4)
        var whole = LatencyHistogram()
        for _ in 0..<5000 {
            let value = Int64.random(in: 0...2_000_000, using: &random)
            parts[Int.random(in: 0..<4, using: &random)].record(microseconds: value)
            whole.record(microseconds: value)
        }
        var merged = LatencyHistogram()
        for part in parts { merged.merge(part) }
        merged.merge(LatencyHistogram())
        #expect(merged.count == whole.count)
        #expect(merged.sum == whole.sum)
        for percent in stride(from: 0.0, through: 100, by: 2.5) {
            #expect(merged.percentile(percent) == whole.percentile(percent))
        }
    }

    @Test func valuesOutOfRangeAreClamped() {
        var histogram = LatencyHistogram()
        histogram.record(microseconds: -5)
        histogram.record(microseconds: .max)
        #expect(histogram.count == 2)
        #expect(histogram.percentile(0) == 0)
        #expect(histogram.percentile(100) == 60_000_000)
        #expect(histogram.percentile(-3) == 0)
        #expect(histogram.percentile(500) == 60_000_000)
        #expect(histogram.percentile(.nan) == 0)
    }

    @Test func cumulativeCountsRiseAndEndAtTheTotal() {
        var histogram = LatencyHistogram()
        for (value, count) in [(10, 3), (100, 2), (5_000, 4), (1_000_000, 1)] as [(Int64, UInt64)] {
            histogram.record(microseconds: value, count: count)
        }
        #expect(histogram.cumulativeCounts(upTo: [5, 50, 250, 10_000, 60_000_000, .max]) == [0, 3, 5, 9, 10, 10])
    }
}
