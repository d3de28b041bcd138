package import Logging
import Synchronization

/// Writes lines that others can cause, a few of each message in a period; what was held back is told at its end in one
/// line, so that a log never ends with a lie.
package final class LimitedLogger: Sendable {
    private let logger: Logger
    private let period: Duration
    private let limiter: Mutex<LogLimiter<String>>

    /// One line of each message in `period`, unless said otherwise. A message is a fixed text here: what varies goes into
    /// the metadata.
    package init(_ logger: Logger, lines: Int = 1, per period: Duration = .seconds(10)) {
        self.logger = logger
        self.period = period
        self.limiter = Mutex(LogLimiter(lines: lines, per: Int64(period / .milliseconds(1))))
    }

    /// Writes the line, or counts it.
    package func log(_ level: Logger.Level, _ message: String, _ metadata: @autoclosure () -> Logger.Metadata = [:]) {
        guard logger.logLevel <= level else { return }
        let verdict = limiter.withLock { $0.admit(message, now: WallClock.monotonicMilliseconds) }
        switch verdict {
        case .write(let repeated):
            var metadata = metadata()
            if repeated > 0 { metadata[LogKey.repeated] = "\(repeated)" }
            logger.log(level: level, "\(message)", metadata: metadata)
        case .count(isFirst: false): break
        case .count(isFirst: true):
            Task { [weak self, period] in
                try? await Task.sleep(for: period)
                self?.tellCounted(level, message)
            }
        }
    }

    private func tellCounted(_ level: Logger.Level, _ message: String) {
        let counted = limiter.withLock { $0.takeCounted(message) }
        guard counted > 0 else { return }
        logger.log(level: level, "\(message)", metadata: [LogKey.repeated: "\(counted)"])
    }
}
