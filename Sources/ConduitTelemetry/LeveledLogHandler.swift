package import Logging
import Synchronization

/// The least level of all lines of a node, which may change while it runs. Cheap to read from any thread.
package final class LogLevelCell: Sendable {
    private let number: Atomic<Int>

    package init(_ level: Logger.Level) { number = Atomic(Self.levels.firstIndex(of: level) ?? 0) }

    private static let levels = Logger.Level.allCases

    package var level: Logger.Level {
        get { Self.levels[number.load(ordering: .relaxed)] }
        set { number.store(Self.levels.firstIndex(of: newValue) ?? 0, ordering: .relaxed) }
    }
}

/// Another handler with the level of a ``LogLevelCell``, so that loggers that were copied long ago follow it. Where a
/// logger was given a level of its own, that one counts.
package struct LeveledLogHandler: LogHandler {
    private var base: any LogHandler
    private let cell: LogLevelCell
    private var own: Logger.Level?

    package init(_ base: any LogHandler, _ cell: LogLevelCell) {
        self.base = base
        self.cell = cell
        // What is let through here must not be held back there by somebody who asks again.
        self.base.logLevel = .trace
    }

    package var logLevel: Logger.Level {
        get { own ?? cell.level }
        set { own = newValue }
    }

    package var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    package var metadataProvider: Logger.MetadataProvider? {
        get { base.metadataProvider }
        set { base.metadataProvider = newValue }
    }

    package subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    package func log(event: LogEvent) { base.log(event: event) }
}
