/// A text that names are searched for: it is part of one, in small or capital letters.
struct SearchText: Sendable {
    private let small: String
    private let isPlain: Bool

    init(_ text: String) {
        small = text.lowercased()
        isPlain = small.utf8.allSatisfy { $0 < 0x80 }
    }

    var isEmpty: Bool { small.isEmpty }

    /// Whether the text is part of this one.
    func isPart(of text: String) -> Bool {
        if small.isEmpty { return true }
        let (needle, hay) = (small.utf8, text.utf8)
        // Bytes tell the same for plain ones, without a copy of every name: others begin with a byte of 0x80 or more. Only
        // İ and the Kelvin sign have a plain small letter, and are worth no copy.
        guard isPlain else { return text.lowercased().contains(small) }
        guard hay.count >= needle.count else { return false }
        var start = hay.startIndex
        for _ in 0...(hay.count - needle.count) {
            var (at, matches) = (start, true)
            for byte in needle {
                let own = hay[at]
                guard (0x41...0x5A).contains(own) ? own + 0x20 == byte : own == byte else {
                    matches = false
                    break
                }
                at = hay.index(after: at)
            }
            if matches { return true }
            start = hay.index(after: start)
        }
        return false
    }
}
