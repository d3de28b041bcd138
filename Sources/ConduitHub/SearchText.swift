/// A text that names are searched for: it is part of one, in small or capital letters.
///
/// Every byte or character of a name is looked at twice at most, whatever clients have called their rooms.
struct SearchText: Sendable {
    private enum Pattern: Sendable {
        case bytes(PatternSearch<UInt8>)
        case characters(PatternSearch<Character>)
    }

    private let pattern: Pattern
    /// Whether everything holds it.
    let isEmpty: Bool

    init(_ text: String) {
        let small = text.lowercased()
        isEmpty = small.isEmpty
        let isPlain = small.utf8.allSatisfy { $0 < 0x80 }
        pattern = isPlain ? .bytes(PatternSearch(small.utf8)) : .characters(PatternSearch(small))
    }

    /// Whether the text is part of this one.
    func isPart(of text: String) -> Bool {
        switch pattern {
        // Bytes tell the same for plain ones, without a copy of every name: others begin with a byte of 0x80 or more. Only
        // İ and the Kelvin sign have a plain small letter, and are worth no copy.
        case .bytes(let search):
            search.isPart(of: text.utf8.lazy.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 })
        case .characters(let search): search.isPart(of: text.lowercased())
        }
    }
}

/// Finds a sequence in others in linear time, as Knuth, Morris and Pratt do.
struct PatternSearch<Element: Equatable & Sendable>: Sendable {
    private let pattern: [Element]
    /// Where a match of so many elements and one more breaks off: how many of its last ones are a beginning still.
    private let fallback: [Int]

    init(_ elements: some Sequence<Element>) {
        let pattern = Array(elements)
        var fallback = Array(repeating: 0, count: pattern.count)
        var length = 0
        for index in pattern.indices.dropFirst() {
            while length > 0, pattern[index] != pattern[length] { length = fallback[length - 1] }
            if pattern[index] == pattern[length] { length += 1 }
            fallback[index] = length
        }
        self.pattern = pattern
        self.fallback = fallback
    }

    /// Whether the pattern is part of a sequence; the empty one is.
    func isPart(of sequence: some Sequence<Element>) -> Bool {
        if pattern.isEmpty { return true }
        var matched = 0
        for element in sequence {
            while matched > 0, element != pattern[matched] { matched = fallback[matched - 1] }
            if element == pattern[matched] { matched += 1 }
            if matched == pattern.count { return true }
        }
        return false
    }
}
