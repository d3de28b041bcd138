/// Lets a few lines of each kind through in a while and counts the others: what peers can cause must not fill a disk.
///
/// A value without a clock. Bounded: when more kinds are about than may be, those that have nothing to tell are forgotten,
/// and if that isn't enough, new ones share the place of the first.
package struct LogLimiter<Kind: Hashable & Sendable>: Sendable {
    /// What becomes of a line.
    package enum Verdict: Hashable, Sendable {
        /// It is written, with how many like it were not since the last one.
        case write(repeated: Int)
        /// It is only counted. `isFirst`: nothing was counted before, so somebody has to come back for it.
        case count(isFirst: Bool)
    }

    private struct Window {
        var began: Int64
        var written = 0
        var counted = 0
    }

    private let lines: Int
    private let period: Int64
    private let kinds: Int
    private var windows: [Kind: Window] = [:]

    /// - Parameters:
    ///   - lines: how many lines of a kind are written in a period.
    ///   - milliseconds: how long a period is.
    ///   - kinds: how many kinds are told apart.
    package init(lines: Int = 1, per milliseconds: Int64 = 10_000, kinds: Int = 64) {
        self.lines = max(1, lines)
        self.period = max(1, milliseconds)
        self.kinds = max(1, kinds)
    }

    /// A line of this kind is to be written.
    package mutating func admit(_ kind: Kind, now: Int64) -> Verdict {
        var kind = kind
        if windows[kind] == nil, windows.count >= kinds {
            windows = windows.filter { $0.value.counted > 0 || now - $0.value.began < period }
            if windows.count >= kinds, let other = windows.keys.first { kind = other }
        }
        var window = windows[kind] ?? Window(began: now)
        let counted = window.counted
        if now - window.began >= period { window = Window(began: now) }
        if window.written < lines {
            window.written += 1
            windows[kind] = window
            return .write(repeated: counted)
        }
        window.counted += 1
        windows[kind] = window
        return .count(isFirst: window.counted == 1)
    }

    /// How many lines of this kind were only counted, and counts from 0 again.
    package mutating func takeCounted(_ kind: Kind) -> Int {
        guard let window = windows[kind] else { return 0 }
        windows[kind]?.counted = 0
        return window.counted
    }

    /// How many kinds are remembered.
    package var count: Int { windows.count }
}
