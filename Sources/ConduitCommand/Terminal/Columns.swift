import ConduitTelemetry

/// How much room text takes on a terminal, and how it is made to fit. Names come from anybody: what would command the
/// terminal is written as an escape before it is measured.
package enum Columns {
    /// Columns that printable text takes.
    package static func width(_ text: String) -> Int {
        text.unicodeScalars.reduce(0) { $0 + width($1) }
    }

    /// The text as a terminal may show it, at most `limit` columns; `…` stands for what is left out at the end.
    package static func fit(_ text: String, _ limit: Int) -> String {
        let text = printable(text, limit)
        return width(text) <= limit ? text : limit > 0 ? prefix(text.unicodeScalars, limit - 1) + "…" : ""
    }

    /// The same for names that differ at their end: what is left out stands in the middle.
    package static func fitMiddle(_ text: String, _ limit: Int) -> String {
        let text = printable(text, limit)
        guard width(text) > limit else { return text }
        guard limit >= 5 else { return fit(text, limit) }
        let tail = (limit - 1) / 2
        let end = prefix(text.unicodeScalars.reversed(), tail)
        return prefix(text.unicodeScalars, limit - 1 - tail) + "…"
            + String(String.UnicodeScalarView(end.unicodeScalars.reversed()))
    }

    /// Exactly `width` columns: cut where it is longer, filled with spaces where it is shorter.
    package static func pad(_ text: String, _ limit: Int, right: Bool = false) -> String {
        let text = fit(text, limit)
        let space = String(repeating: " ", count: max(0, limit - width(text)))
        return right ? space + text : text + space
    }

    /// What has more letters than columns can't be shown whole: marks that stand on a letter take no column, so a name of
    /// thousands of them must be cut by number, too.
    private static func printable(_ text: String, _ limit: Int) -> String {
        let most = 4 * max(0, limit) + 8
        let scalars = text.unicodeScalars.prefix(most + 1)
        guard scalars.count > most else { return PrintableText.escaped(text) }
        return PrintableText.escaped(String(String.UnicodeScalarView(scalars.prefix(most))) + "…")
    }

    private static func prefix(_ scalars: some Sequence<Unicode.Scalar>, _ limit: Int) -> String {
        var result = String.UnicodeScalarView()
        var used = 0
        for scalar in scalars {
            used += width(scalar)
            guard used <= limit else { break }
            result.append(scalar)
        }
        return String(result)
    }

    /// As terminals count: nothing for marks, two for East Asian wide letters and for emoji.
    private static func width(_ scalar: Unicode.Scalar) -> Int {
        guard scalar.value >= 0x300 else { return 1 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: return 0
        default: break
        }
        switch scalar.value {
        case 0x1160...0x11FF: return 0
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x4DBF, 0x4E00...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3,
            0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD:
            return 2
        default: return scalar.properties.isEmojiPresentation ? 2 : 1
        }
    }
}
