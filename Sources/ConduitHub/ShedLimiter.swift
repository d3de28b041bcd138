import NIOConcurrencyHelpers

/// What all loops of a node together let go: never more in any second than the pace, and never more who are told to be back
/// in any second.
///
/// Each loop has its own ``ShedPace``, which is even but knows nothing of the others: their fractions of a client add up.
/// Here they are counted together. The lock is taken some times a second while clients are sent away, never for a message.
final class ShedLimiter: Sendable {
    /// The part of the pace that returns leave free, one in so many: a client that is told late comes back late.
    private static let spare = 50
    /// Places that are tried for one client's return.
    private static let attempts = 24

    private struct State {
        /// When those who were told had been told at the latest.
        var departures = RateWindow(now: 0)
        /// Those who are being told: when is known behind the write.
        var leaving = 0
        /// When those who were told shall be back.
        var returns = RateWindow(now: 0)
        /// Delays are spread by the golden ratio, not by chance.
        var spread = Double.random(in: 0..<1)

        mutating func delay(upTo most: Int64, limit: Int, now: Int64) -> Int? {
            for _ in 0..<ShedLimiter.attempts {
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
    private let state = NIOLockedValueBox(State())

    /// How many of `wanted` may be told to go now: the delay of each, in milliseconds. ``told(_:of:now:)`` must follow.
    ///
    /// - Parameters:
    ///   - limit: how many may go in any second; `Int.max` where nothing holds them back any more.
    ///   - delay: the longest time that a client is asked to wait, in milliseconds.
    ///   - now: monotonic milliseconds, not later than what is told is written.
    func take(_ wanted: Int, limit: Int, delay: Int64, now: Int64) -> [Int] {
        guard wanted > 0 else { return [] }
        return state.withLockedValue { state in
            state.departures.advance(to: now)
            state.returns.advance(to: now, ahead: delay)
            let free = limit == .max ? wanted : limit - state.leaving - state.departures.last(at: now)
            var delays: [Int] = []
            while delays.count < min(wanted, free),
                let next = state.delay(upTo: delay, limit: limit, now: now)
            {
                delays.append(next)
            }
            state.leaving += delays.count
            return delays
        }
    }

    /// So many of those who were let go have been told by now; the others aren't there any more.
    func told(_ count: Int, of taken: Int, now: Int64) {
        guard taken > 0 else { return }
        state.withLockedValue { state in
            state.leaving -= taken
            state.departures.advance(to: now)
            state.departures.add(count, at: now)
        }
    }
}
