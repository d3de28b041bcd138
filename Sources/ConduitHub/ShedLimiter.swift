import NIOConcurrencyHelpers

/// What all loops of a node together let go: never more in any second than the pace, and never more who are told to be back
/// in any second.
///
/// Each loop has its own ``ShedPace``, which is even but knows nothing of the others: their fractions of a client add up.
/// Here they are counted together. The lock is taken some times a second while clients are sent away, never for a message.
final class ShedLimiter: Sendable {
    /// The part of the pace that returns leave free, one in so many: a client that is told late comes back late.
    private static let spare = 50
    /// Places that are tried for returns: so many, and for each client so many more. Where there is room a delay of the golden
    /// ratio mostly finds it at once; the rest may try again.
    private static let attempts = 24
    private static let attemptsEach = 2
    /// Clients that are counted without letting go of the lock: some hundredths of a millisecond.
    private static let batch = 256

    private struct State {
        /// When those who were told had been told at the latest.
        var departures = RateWindow(now: 0)
        /// Those who are being told: when is known behind the write.
        var leaving = 0
        /// When those who were told shall be back.
        var returns = RateWindow(now: 0)
        /// Delays are spread by the golden ratio, not by chance.
        var spread: Double

        mutating func delay(upTo most: Int64, limit: Int, now: Int64, attempts: inout Int) -> Int? {
            while attempts > 0 {
                attempts -= 1
                spread += 0.618_033_988_749_895
                spread -= spread.rounded(.down)
                let delay = Int64(spread * Double(most))
                guard limit == .max || returns.most(around: now + delay) < limit - limit / ShedLimiter.spare else {
                    continue
                }
                returns.add(at: now + delay)
                return Int(delay)
            }
            return nil
        }
    }
    /// Not a `Mutex`, whose futex the thread sanitizer doesn't see on Linux (swiftlang/swift#88440).
    private let state: NIOLockedValueBox<State>

    /// `spread`: where the delays begin, 0 to 1.
    init(spread: Double = .random(in: 0..<1)) { state = NIOLockedValueBox(State(spread: spread)) }

    /// How many of `wanted` may be told to go now: the delay of each, in milliseconds. ``told(_:now:)`` must follow, and
    /// ``giveBack(_:now:)`` before it for those who don't go.
    ///
    /// - Parameters:
    ///   - limit: how many may go in any second; `Int.max` where nothing holds them back any more.
    ///   - delay: the longest time that a client is asked to wait, in milliseconds.
    ///   - now: monotonic milliseconds, not later than what is told is written.
    func take(_ wanted: Int, limit: Int, delay: Int64, now: Int64) -> [Int] {
        var delays: [Int] = []
        while delays.count < wanted {
            let more = takeSome(min(wanted - delays.count, Self.batch), limit: limit, delay: delay, now: now)
            delays += more
            if more.count < Self.batch { break }
        }
        return delays
    }

    private func takeSome(_ wanted: Int, limit: Int, delay: Int64, now: Int64) -> [Int] {
        state.withLockedValue { state in
            state.departures.advance(to: now)
            state.returns.advance(to: now, ahead: delay)
            let free = limit == .max ? wanted : limit - state.leaving - state.departures.last(at: now)
            var attempts = Self.attempts + Self.attemptsEach * wanted
            var delays: [Int] = []
            while delays.count < min(wanted, free),
                let next = state.delay(upTo: delay, limit: limit, now: now, attempts: &attempts)
            {
                delays.append(next)
            }
            state.leaving += delays.count
            return delays
        }
    }

    /// Nobody goes with these delays, which were taken at `now`: their places are others'.
    func giveBack(_ delays: some Collection<Int>, now: Int64) {
        guard !delays.isEmpty else { return }
        state.withLockedValue { state in
            state.leaving -= delays.count
            for delay in delays { state.returns.remove(at: now + Int64(delay)) }
        }
    }

    /// So many who were let go have been told by now.
    func told(_ count: Int, now: Int64) {
        guard count > 0 else { return }
        state.withLockedValue { state in
            state.leaving -= count
            state.departures.advance(to: now)
            state.departures.add(count, at: now)
        }
    }
}
