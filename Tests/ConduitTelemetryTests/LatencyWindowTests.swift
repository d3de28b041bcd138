import ConduitTelemetry
import Testing

@Suite struct LatencyWindowTests {
    @Test func whatIsOlderThanAMinuteIsForgotten() {
        var all = LatencyHistogram()
        var window = LatencyWindow()
        all.record(microseconds: 1_000_000, count: 50)
        #expect(window.update(all, now: 5_000).percentile(99) / 10_000 == 100)
        // A heartbeat a second; one fast delivery in each.
        for second in 6...54 {
            all.record(microseconds: 100)
            let recent = window.update(all, now: Int64(second) * 1_000)
            #expect(recent.percentile(99) >= 1_000_000, "after \(second) s")
        }
        for second in 55...70 {
            all.record(microseconds: 100)
            let recent = window.update(all, now: Int64(second) * 1_000)
            if second >= 66 { #expect(recent.percentile(99) == 100, "after \(second) s") }
            #expect(recent.count <= 110)
        }
        #expect(all.count == 50 + 65)
    }

    @Test func aCalmMinuteEndsInNothing() {
        var all = LatencyHistogram()
        var window = LatencyWindow()
        all.record(microseconds: 77)
        #expect(window.update(all, now: 0).percentile(50) == 77)
        #expect(window.update(all, now: 9_999).count == 1)
        #expect(window.update(all, now: 49_000).count == 1)
        #expect(window.update(all, now: 500_000).count == 0)
        #expect(window.update(all, now: 500_001).percentile(99) == 0)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func itHoldsExactlyTheLastSteps(seed: UInt64) {
        var state = seed
        func random(_ bound: UInt64) -> Int64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int64((state >> 33) % bound)
        }
        var all = LatencyHistogram()
        var window = LatencyWindow()
        var recorded: [(time: Int64, value: Int64)] = []
        var now: Int64 = 0
        var start: Int64?
        for _ in 0..<2_000 {
            now += random(900)
            let value = random(2_000_000)
            all.record(microseconds: value)
            recorded.append((now, value))
            let recent = window.update(all, now: now)
            // What came within the step that was closed last but five is out as a whole.
            let first = start ?? now
            start = first
            let begin = first + (now - first) / 10_000 * 10_000 - 50_000
            let sure = recorded.filter { $0.time > begin + 900 }.count
            let most = recorded.filter { $0.time >= begin - 900 }.count
            #expect((sure...most).contains(Int(recent.count)), "seed \(seed) at \(now)")
        }
    }
}
