import ConduitCore

/// One setting: its name, what values it takes, its default and a sentence on it.
///
/// The table ``all`` is the only list of settings: reading, checks, the sample file and Docs/configuration.md come
/// from it. A pattern in it stands for a setting of each namespace of rooms.
package struct ConfigurationKey: Sendable {
    /// What values a setting takes.
    package enum Kind: Sendable {
        /// A whole number.
        case integer(ClosedRange<Int>)
        /// A duration such as `250ms`, `30s`, `5m` or `1h`; the range is in milliseconds.
        case duration(ClosedRange<Int>)
        /// `true` or `false`.
        case boolean
        /// One of a few words.
        case choice([String])
        /// Text; `allowed` says which, `check` knows it.
        case text(allowed: String, check: @Sendable (String) -> Bool)
        /// Several texts: a list in a file, separated by commas elsewhere.
        case list(allowed: String, check: @Sendable (String) -> Bool)
    }

    /// `http.max-header-bytes`: group, dot, name.
    package let name: String
    /// What values it takes.
    package let kind: Kind
    /// The default as one would write it.
    package let defaultText: String
    /// What it does, in one sentence.
    package let summary: String
    /// Whether its value may never be printed.
    package let isSecret: Bool
    /// The namespace of rooms that it is for, when a pattern stands for it.
    package let namespace: String?

    package init(
        _ name: String, _ kind: Kind, default defaultText: String, secret: Bool = false, namespace: String? = nil,
        _ summary: String
    ) {
        self.name = name
        self.kind = kind
        self.defaultText = defaultText
        self.summary = summary
        self.isSecret = secret
        self.namespace = namespace
    }

    /// The parts between dots, as files nest them.
    package var components: [String] { name.split(separator: ".").map(String.init) }

    /// `CONDUIT_HTTP_MAX_HEADER_BYTES`.
    package var environmentName: String {
        "CONDUIT_" + components.map(Self.environmentPart).joined(separator: "_")
    }

    private static func environmentPart(_ part: String) -> String {
        part == placeholder ? "<NAMESPACE>" : String(decoding: part.utf8.map(environmentByte), as: UTF8.self)
    }

    private static func environmentByte(_ byte: UInt8) -> UInt8 {
        switch byte {
        case 0x61...0x7A: byte - 0x20
        case 0x30...0x39, 0x41...0x5A: byte
        default: 0x5F
        }
    }

    /// What values it takes, in words.
    package var allowed: String {
        switch kind {
        case .integer(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .duration(let range):
            "a duration from \(DurationText.write(range.lowerBound)) to \(DurationText.write(range.upperBound)), "
                + "such as 250ms, 30s, 5m or 1h"
        case .boolean: "true or false"
        case .choice(let words): words.joined(separator: ", ")
        case .text(let allowed, _): allowed
        case .list(let allowed, _): "a list of " + allowed
        }
    }
}

/// What was read for a key, checked.
package enum ConfigurationValue: Hashable, Sendable {
    case integer(Int)
    case milliseconds(Int)
    case boolean(Bool)
    case text(String)
    case list([String])
}

/// What a source says, before it is checked.
package enum RawValue: Hashable, Sendable {
    case text(String)
    case list([String])
}

extension ConfigurationKey {
    /// The value that `raw` means; `nil` when it isn't allowed.
    package func parse(_ raw: RawValue) -> ConfigurationValue? {
        switch (kind, raw) {
        case (.integer(let range), .text(let text)):
            return Int(text).flatMap { range.contains($0) ? .integer($0) : nil }
        case (.duration(let range), .text(let text)):
            return DurationText.read(text).flatMap { range.contains($0) ? .milliseconds($0) : nil }
        case (.boolean, .text(let text)):
            switch text {
            case "true": return .boolean(true)
            case "false": return .boolean(false)
            default: return nil
            }
        case (.choice(let words), .text(let text)): return words.contains(text) ? .text(text) : nil
        case (.text(_, let check), .text(let text)): return check(text) ? .text(text) : nil
        case (.text, .list(let items)) where name == "redis.url": return parse(.text(items.joined(separator: ",")))
        case (.list(_, let check), .list(let items)): return items.allSatisfy(check) ? .list(items) : nil
        case (.list, .text(let text)):
            let items = text.split(separator: ",").map { $0.trimmed }.filter { !$0.isEmpty }
            return parse(.list(items))
        case (.integer, .list), (.duration, .list), (.boolean, .list), (.choice, .list), (.text, .list): return nil
        }
    }
}

/// Durations as people write them.
package enum DurationText {
    /// Milliseconds; `nil` when the text is no duration. A unit is needed, but for `0`.
    package static func read(_ text: String) -> Int? {
        let digits = text.prefix { ("0"..."9").contains($0) }
        guard !digits.isEmpty, let number = Int(digits) else { return nil }
        let unit: Int
        switch text.dropFirst(digits.count) {
        case "ms": unit = 1
        case "s": unit = 1000
        case "m": unit = 60_000
        case "h": unit = 3_600_000
        case "" where number == 0: unit = 1
        default: return nil
        }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit)
        return overflow ? nil : product
    }

    /// The shortest way to write it.
    package static func write(_ milliseconds: Int) -> String {
        for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")]
        where milliseconds != 0 && milliseconds % unit == 0 {
            return "\(milliseconds / unit)\(name)"
        }
        return "\(milliseconds)ms"
    }
}

extension StringProtocol {
    /// Without spaces and tabs at its ends.
    package var trimmed: String {
        func blank(_ character: Character) -> Bool { character == " " || character == "\t" }
        return String(drop(while: blank).reversed().drop(while: blank).reversed())
    }
}
