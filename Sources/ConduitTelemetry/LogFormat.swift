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
        Self.appendEscaped(message, quote: false, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " "
            Self.appendEscaped(key, quote: false, to: &line)
            line += "="
            let text = shown(key, value)
            let bare = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D }
            if bare, !text.utf8.contains(0x5C) {
                line += text
            } else {
                line += "\""
                Self.appendEscaped(text, quote: true, to: &line)
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
        appendEscaped(key, quote: true, to: &line)
        line += "\":\""
        appendEscaped(value, quote: true, to: &line)
        line += "\""
    }

    /// A peer's text must neither start a new line nor reach the terminal as a command: control characters (C0,
    /// DEL, C1, and Unicode's line separators and direction marks) are written as escapes that JSON understands too.
    private static func appendEscaped(_ text: String, quote: Bool, to line: inout String) {
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x0A: line += "\\n"
            case 0x0D: line += "\\r"
            case 0x09: line += "\\t"
            case 0x22 where quote: line += "\\\""
            case 0x5C where quote: line += "\\\\"
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069:
                let digits = String(scalar.value, radix: 16)
                line += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: line.unicodeScalars.append(scalar)
            }
        }
    }
}
