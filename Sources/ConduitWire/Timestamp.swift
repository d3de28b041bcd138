package import NIOCore

/// Points in time as the protocol writes them: RFC 3339, UTC, milliseconds.
package enum Timestamp {
    /// The last millisecond of the year 9999, the format's end.
    private static let latest: Int64 = 253_402_300_799_999

    /// `2026-11-23T22:30:00.123Z` for milliseconds since 1970; times before 1970 or after 9999 become the nearest one.
    package static func text(_ milliseconds: Int64) -> String {
        var buffer = ByteBuffer()
        buffer.writeTimestamp(milliseconds)
        return String(buffer: buffer)
    }

    /// Reads what ``text(_:)`` writes, and nothing else.
    package static func milliseconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        let pattern = Array("0000-00-00T00:00:00.000Z".utf8)
        guard bytes.count == pattern.count else { return nil }
        for (byte, expected) in zip(bytes, pattern) {
            let isDigit = (0x30...0x39).contains(byte)
            guard expected == 0x30 ? isDigit : byte == expected else { return nil }
        }
        func number(_ range: Range<Int>) -> Int64 { bytes[range].reduce(0) { $0 * 10 + Int64($1 - 0x30) } }
        let (year, month, day) = (number(0..<4), number(5..<7), number(8..<10))
        guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), number(11..<13) < 24,
            number(14..<16) < 60, number(17..<19) < 60
        else { return nil }
        // Days from a civil date, with years that begin in March so that the leap day is last.
        let shifted = month > 2 ? year : year - 1
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        let seconds = ((days * 24 + number(11..<13)) * 60 + number(14..<16)) * 60 + number(17..<19)
        let result = seconds * 1000 + number(20..<23)
        // The 31st of a short month would be another day.
        return self.text(result) == text ? result : nil
    }

    fileprivate static func clamp(_ milliseconds: Int64) -> Int64 { min(max(milliseconds, 0), latest) }
}

extension ByteBuffer {
    /// Appends a time without quotes.
    package mutating func writeTimestamp(_ milliseconds: Int64) {
        let time = Timestamp.clamp(milliseconds)
        let days = time / 86_400_000
        let rest = time % 86_400_000
        // A civil date from days, with years that begin in March so that the leap day is last.
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        writeDigits(year, 4, then: "-")
        writeDigits(month, 2, then: "-")
        writeDigits(day, 2, then: "T")
        writeDigits(rest / 3_600_000, 2, then: ":")
        writeDigits(rest / 60_000 % 60, 2, then: ":")
        writeDigits(rest / 1000 % 60, 2, then: ".")
        writeDigits(rest % 1000, 3, then: "Z")
    }

    private mutating func writeDigits(_ number: Int64, _ count: Int, then separator: Unicode.Scalar) {
        var divisor: Int64 = 1
        for _ in 1..<count { divisor *= 10 }
        for _ in 0..<count {
            writeInteger(UInt8(0x30 + number / divisor % 10))
            divisor /= 10
        }
        writeInteger(UInt8(ascii: separator))
    }
}
