import Glibc
public import Logging

/// Writes log lines to standard error, as text or JSON; one `write` a line, so that lines of threads don't mix.
public struct ConduitLogHandler: LogHandler {
    private let label: String
    private let json: Bool
    private let sink: @Sendable (String) -> Void

    /// The least level that is written.
    public var logLevel: Logger.Level
    /// Written with every line.
    public var metadata: Logger.Metadata = [:]
    /// Adds metadata of the task.
    public var metadataProvider: Logger.MetadataProvider?

    /// Makes a handler that writes to standard error.
    public init(label: String, level: Logger.Level, format: LogFormat) {
        self.init(label: label, level: level, format: format, sink: Self.writeToStandardError)
    }

    package init(
        label: String, level: Logger.Level, format: LogFormat, sink: @escaping @Sendable (String) -> Void
    ) {
        self.label = label
        self.logLevel = level
        self.json =
            switch format {
            case .auto: isatty(STDERR_FILENO) == 0
            case .text: false
            case .json: true
            }
        self.sink = sink
    }

    /// Reads or sets one entry of ``metadata``.
    public subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes a line.
    public func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        if let error = event.error, all[LogKey.error] == nil { all[LogKey.error] = "\(error)" }
        let line = LogLine(
            milliseconds: WallClock.milliseconds, level: event.level, label: label,
            message: event.message.description, metadata: all)
        sink(json ? line.json : line.text)
    }

    private static func writeToStandardError(_ line: String) {
        var rest = Array(line.utf8)[...]
        while !rest.isEmpty {
            // Unsafe for the pointer, which lives for the call only; the kernel gets the slice's own size.
            let written = unsafe rest.withUnsafeBytes { bytes in
                unsafe write(STDERR_FILENO, bytes.baseAddress, bytes.count)
            }
            if written < 0, errno == EINTR { continue }
            // A log that can't be written must not stop the node.
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}
