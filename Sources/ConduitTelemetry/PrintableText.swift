/// Text of others for a log or a terminal: what could end a line, command a terminal, or hide or turn around what
/// stands beside it is written as an escape that JSON understands too.
package enum PrintableText {
    /// The text with escapes; itself when nothing has to be escaped.
    package static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: mustBeEscaped) else { return text }
        var result = ""
        append(text, quotes: false, to: &result)
        return result
    }

    /// Appends text with escapes, quotes and backslashes too where it stands between quotes.
    static func append(_ text: String, quotes: Bool, to line: inout String) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case "\"" where quotes: line += "\\\""
            case "\\" where quotes: line += "\\\\"
            case _ where mustBeEscaped(scalar):
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    line += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
                }
            default: line.unicodeScalars.append(scalar)
            }
        }
    }

    /// Control characters (C0, DEL, C1), line and paragraph separators, and format characters: marks of direction, what
    /// has no width, tags.
    private static func mustBeEscaped(_ scalar: Unicode.Scalar) -> Bool {
        guard scalar.value >= 0x7F else { return scalar.value < 0x20 }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}
