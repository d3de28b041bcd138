package import Logging

/// How log lines look.
public enum LogFormat: String, Sendable, CaseIterable {
    /// Text for a terminal, JSON for everything else.
    case auto
    /// One line for people: time, level, message, `key=value`.
    case text
    /// One JSON object a line, for collectors.
    case json
}

/// What a log line is made of, before it is text.
package struct LogLine: Sendable {
    package var milliseconds: Int64
    package var level: Logger.Level
    package var label: String
    package var message: String
    package var metadata: Logger.Metadata

    package init(
        milliseconds: Int64, level: Logger.Level, label: String, message: String, metadata: Logger.Metadata
    ) {
        self.milliseconds = milliseconds
        self.level = level
        self.label = label
        self.message = message
        self.metadata = metadata
    }

    /// Metadata whose value is never written, whoever logs it by mistake.
    private static let secretKeys: Set<String> = ["token", "password", "authorization", "cookie", "secret"]

    private func shown(_ key: String, _ value: Logger.MetadataValue) -> String {
        Self.secretKeys.contains(key.lowercased()) ? "(hidden)" : value.description
    }

    /// `2026-11-23T22:30:00.123Z warning Redis is away address=127.0.0.1:6379 error="connection refused"`
    package var text: String {
        var line = WallClock.rfc3339(milliseconds: milliseconds)
        line += " " + level.rawValue + String(repeating: " ", count: max(1, 9 - level.rawValue.utf8.count))
        PrintableText.append(message, quotes: false, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " "
            PrintableText.append(key, quotes: false, to: &line)
            line += "="
            let text = shown(key, value)
            let bare = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D }
            if bare, !text.utf8.contains(0x5C) {
                line += text
            } else {
                line += "\""
                PrintableText.append(text, quotes: true, to: &line)
                line += "\""
            }
        }
        return line + "\n"
    }

    /// `{"time":"…","level":"warning","logger":"conduit","message":"…","address":"127.0.0.1:6379"}`
    package var json: String {
        var line = "{\"time\":\"\(WallClock.rfc3339(milliseconds: milliseconds))\",\"level\":\"\(level.rawValue)\""
        Self.appendMember("logger", label, to: &line)
        Self.appendMember("message", message, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            let reserved = ["time", "level", "logger", "message"].contains(key)
            Self.appendMember(reserved ? key + "_" : key, shown(key, value), to: &line)
        }
        return line + "}\n"
    }

    private static func appendMember(_ key: String, _ value: String, to line: inout String) {
        line += ",\""
        PrintableText.append(key, quotes: true, to: &line)
        line += "\":\""
        PrintableText.append(value, quotes: true, to: &line)
        line += "\""
    }
}
