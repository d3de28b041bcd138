/// Numbers as people read them.
package enum Figure {
    /// `1,234,567`
    package static func text(_ number: some BinaryInteger) -> String {
        let digits = Array(String(number.magnitude))
        var text = number < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// With up to three decimals.
    package static func text(_ number: Double, digits: Int) -> String {
        guard number.isFinite, abs(number) < 1e15 else { return "-" }
        let scale: [Double] = [1, 10, 100, 1000]
        let factor = scale[min(max(digits, 0), 3)]
        let scaled = (abs(number) * factor).rounded()
        let whole = Int64(scaled / factor)
        var text = (number < 0 && scaled > 0 ? "-" : "") + self.text(whole)
        guard factor > 1 else { return text }
        let rest = String(Int64(scaled) - whole * Int64(factor))
        text += "." + String(repeating: "0", count: digits - rest.count) + rest
        return text
    }

    /// Microseconds with the unit that fits: `840 us`, `1.25 ms`, `3.40 s`.
    package static func duration(_ microseconds: Double) -> String {
        switch microseconds {
        case ..<1000: "\(text(microseconds, digits: 0)) us"
        case ..<1_000_000: "\(text(microseconds / 1000, digits: 2)) ms"
        default: "\(text(microseconds / 1_000_000, digits: 2)) s"
        }
    }
}
