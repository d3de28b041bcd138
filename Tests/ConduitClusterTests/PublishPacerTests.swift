import Testing

@testable import ConduitCluster

@Suite struct PublishPacerTests {
    /// One message each `gap` microseconds, each in a turn of its own. Returns the times at which a flush left.
    private func run(_ pacer: inout PublishPacer, from start: Int64, gap: Int64, for duration: Int64) -> [Int64] {
        var flushes: [Int64] = []
        var due: Int64?
        var waiting = 0
        for now in stride(from: start, to: start + duration, by: 1) {
            let isMessage = (now - start) % gap == 0
            if isMessage {
                pacer.collected(1, now: now)
                waiting += 1
            }
            guard waiting > 0, isMessage || due == now else { continue }
            switch pacer.decide(bytes: waiting * 200, now: now) {
            case .send:
                flushes.append(now)
                waiting = 0
                due = nil
            case .hold(let until):
                #expect(until > now && until - now <= 500)
                due = until
            }
        }
        return flushes
    }

    @Test func whatIsRareLeavesAtOnce() {
        var pacer = PublishPacer(longestHold: 500)
        let flushes = run(&pacer, from: 0, gap: 1_000, for: 100_000)
        #expect(flushes == Array(stride(from: 0, to: 100_000, by: 1_000)))
        #expect(pacer.hold == 0)
    }

    @Test(arguments: [(50, 250), (100, 500), (20, 200), (5, 200)] as [(gap: Int64, hold: Int64)])
    func whatIsFrequentLeavesByTheHandful(gap: Int64, hold: Int64) {
        var pacer = PublishPacer(longestHold: 500)
        _ = run(&pacer, from: 0, gap: gap, for: 20_000)
        let flushes = run(&pacer, from: 20_000, gap: gap, for: 100_000)
        #expect((hold - hold / 50...hold).contains(pacer.hold))
        // A flush a hold, and the gap until the message that begins the next one.
        let expected = 100_000 / Int(hold + gap)
        #expect((expected * 9 / 10...expected * 12 / 10).contains(flushes.count), "\(flushes.count)")
    }

    @Test func aRateInBetweenChangesNothing() {
        var pacer = PublishPacer(longestHold: 500)
        // 6,250 a second: not enough to begin, enough to go on.
        _ = run(&pacer, from: 0, gap: 160, for: 50_000)
        #expect(pacer.hold == 0)
        _ = run(&pacer, from: 50_000, gap: 50, for: 50_000)
        #expect(pacer.hold > 0)
        _ = run(&pacer, from: 100_000, gap: 160, for: 50_000)
        #expect(pacer.hold == 500)
        _ = run(&pacer, from: 150_000, gap: 250, for: 50_000)
        #expect(pacer.hold == 0)
    }

    @Test func whatIsLargeOrReleasedWaitsForNobody() {
        var pacer = PublishPacer(longestHold: 500)
        _ = run(&pacer, from: 0, gap: 50, for: 20_000)
        pacer.released()
        let first = pacer.decide(bytes: 100, now: 30_000)
        #expect(first == .hold(until: 30_000 + pacer.hold))
        let large = pacer.decide(bytes: PublishPacer.byteLimit, now: 30_001)
        #expect(large == .send)
        let held = pacer.decide(bytes: 100, now: 30_010)
        #expect(held == .hold(until: 30_010 + pacer.hold))
        pacer.released()
        let anew = pacer.decide(bytes: 100, now: 40_000)
        #expect(anew == .hold(until: 40_000 + pacer.hold))
    }

    @Test func zeroSwitchesItOff() {
        var pacer = PublishPacer(longestHold: 0)
        let flushes = run(&pacer, from: 0, gap: 10, for: 50_000)
        #expect(flushes.count == 5_000)
    }

    @Test func aPauseEndsTheWaiting() {
        var pacer = PublishPacer(longestHold: 500)
        _ = run(&pacer, from: 0, gap: 20, for: 50_000)
        #expect(pacer.hold > 0)
        pacer.collected(1, now: 10_000_000)
        #expect(pacer.hold == 0)
        pacer.released()
        let next = pacer.decide(bytes: 100, now: 10_000_000)
        #expect(next == .send)
    }
}
