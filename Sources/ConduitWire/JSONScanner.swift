/// Why bytes are not one JSON document.
package struct JSONError: Error, Hashable, Sendable {
    /// What is wrong, for the developer of a client.
    package let message: String
    /// The byte where it shows.
    package let offset: Int

    package init(message: String, offset: Int) {
        self.message = message
        self.offset = offset
    }

    /// The message about too many levels: the one that is said of good JSON too.
    static let tooDeep = "nested too deeply"
}

/// What a JSON value is.
package enum JSONKind: UInt8, Sendable, Hashable {
    case object, array, string, number, bool, null
}

/// A JSON value or key found in a document: where it stands, nothing of what it holds.
package struct JSONToken: Sendable, Hashable {
    package let kind: JSONKind
    /// Whether a string has a backslash in it.
    package let isEscaped: Bool
    private let start: UInt32
    private let end: UInt32

    init(kind: JSONKind, range: Range<Int>, isEscaped: Bool) {
        self.kind = kind
        self.isEscaped = isEscaped
        self.start = UInt32(truncatingIfNeeded: range.lowerBound)
        self.end = UInt32(truncatingIfNeeded: range.upperBound)
    }

    /// Its bytes; a string's include the quotes.
    package var range: Range<Int> { Int(start)..<Int(end) }
    /// How many bytes those are.
    package var byteCount: Int { Int(end &- start) }
    /// A string's bytes between the quotes.
    var inner: Range<Int> { Int(start) + 1..<Int(end) - 1 }
}

/// Walks over JSON (RFC 8259, strict) and says where values begin and end, without building any.
///
/// Strict: no comments, trailing commas, leading zeros, control characters in strings, lone surrogates in `\u` escapes,
/// or byte order mark. It doesn't check UTF-8: text frames are checked when they arrive. The walk is a loop with a
/// bit per level, so no depth of nesting can exhaust the stack; ``maximumDepth`` bounds it for others who parse later.
package struct JSONScanner: Sendable {
    /// Most objects and arrays inside each other.
    package static let maximumDepth = 64

    /// The next byte to look at.
    package private(set) var offset: Int
    /// Most levels of this document.
    private let deepest: Int

    /// A scanner that stands at a byte. No limit above ``maximumDepth`` can be had.
    package init(offset: Int = 0, maximumDepth: Int = Self.maximumDepth) {
        self.offset = offset
        self.deepest = min(maximumDepth, Self.maximumDepth)
    }

    /// Checks that `bytes` are one document, and says what it is.
    package static func document(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        var scanner = JSONScanner()
        let token = try scanner.value(bytes)
        try scanner.end(bytes)
        return token
    }

    /// Takes one value, all that is in it too. `depth` is how deep the caller stands already.
    package mutating func value(_ bytes: Span<UInt8>, depth: Int = 0) throws(JSONError) -> JSONToken {
        skipWhitespace(bytes)
        let start = offset
        let first = try scalarOrOpening(bytes)
        guard first.kind == .object || first.kind == .array else { return first }

        // One bit a level, lowest is innermost: 1 object, 0 array.
        var levels: UInt64 = first.kind == .object ? 1 : 0
        var level = 1
        var opened = true
        guard depth + level <= deepest else { throw failure(JSONError.tooDeep, at: start) }
        while level > 0 {
            let isObject = levels & 1 == 1
            skipWhitespace(bytes)
            guard offset < bytes.count else { throw failure("unexpected end") }
            let byte = bytes[offset]
            if byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                offset += 1
                levels >>= 1
                level -= 1
                opened = false
                continue
            }
            if !opened {
                guard byte == UInt8(ascii: ",") else { throw failure("expected , or the end of a container") }
                offset += 1
            }
            if isObject { _ = try keyAndColon(bytes) }
            skipWhitespace(bytes)
            let token = try scalarOrOpening(bytes)
            opened = token.kind == .object || token.kind == .array
            if opened {
                levels = levels << 1 | (token.kind == .object ? 1 : 0)
                level += 1
                guard depth + level <= deepest else { throw failure(JSONError.tooDeep, at: token.range.lowerBound) }
            }
        }
        return JSONToken(kind: first.kind, range: start..<offset, isEscaped: false)
    }

    /// Steps into an object; take its members with ``nextKey(_:isFirst:)`` and ``value(_:depth:)`` in turn.
    package mutating func enterObject(_ bytes: Span<UInt8>) throws(JSONError) {
        skipWhitespace(bytes)
        guard offset < bytes.count else { throw failure("unexpected end") }
        guard bytes[offset] == UInt8(ascii: "{") else { throw failure("expected an object") }
        offset += 1
    }

    /// Takes the next key and its colon; `nil` behind the last member.
    package mutating func nextKey(_ bytes: Span<UInt8>, isFirst: Bool) throws(JSONError) -> JSONToken? {
        skipWhitespace(bytes)
        guard offset < bytes.count else { throw failure("unexpected end") }
        if bytes[offset] == UInt8(ascii: "}") {
            offset += 1
            return nil
        }
        if !isFirst {
            guard bytes[offset] == UInt8(ascii: ",") else { throw failure("expected , or }") }
            offset += 1
        }
        return try keyAndColon(bytes)
    }

    /// Checks that nothing but white space follows.
    package mutating func end(_ bytes: Span<UInt8>) throws(JSONError) {
        skipWhitespace(bytes)
        guard offset == bytes.count else { throw failure("something follows the document") }
    }

    // MARK: Pieces

    private func failure(_ message: String, at place: Int? = nil) -> JSONError {
        JSONError(message: message, offset: place ?? offset)
    }

    private mutating func skipWhitespace(_ bytes: Span<UInt8>) {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset &+= 1
            default: return
            }
        }
    }

    private mutating func keyAndColon(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        skipWhitespace(bytes)
        guard offset < bytes.count else { throw failure("unexpected end") }
        guard bytes[offset] == UInt8(ascii: "\"") else { throw failure("expected a key") }
        let key = try string(bytes)
        skipWhitespace(bytes)
        guard offset < bytes.count else { throw failure("unexpected end") }
        guard bytes[offset] == UInt8(ascii: ":") else { throw failure("expected :") }
        offset += 1
        return key
    }

    /// Takes a string, number or word, or only the opening bracket of a container.
    private mutating func scalarOrOpening(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        guard offset < bytes.count else { throw failure("unexpected end") }
        let start = offset
        switch bytes[offset] {
        case UInt8(ascii: "{"):
            offset += 1
            return JSONToken(kind: .object, range: start..<offset, isEscaped: false)
        case UInt8(ascii: "["):
            offset += 1
            return JSONToken(kind: .array, range: start..<offset, isEscaped: false)
        case UInt8(ascii: "\""):
            return try string(bytes)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return try number(bytes)
        case UInt8(ascii: "t"):
            return try word(bytes, "true", .bool)
        case UInt8(ascii: "f"):
            return try word(bytes, "false", .bool)
        case UInt8(ascii: "n"):
            return try word(bytes, "null", .null)
        default:
            throw failure("expected a value")
        }
    }

    private mutating func word(
        _ bytes: Span<UInt8>, _ word: String, _ kind: JSONKind
    ) throws(JSONError) -> JSONToken {
        let start = offset
        for byte in word.utf8 {
            guard offset < bytes.count, bytes[offset] == byte else { throw failure("expected \(word)", at: start) }
            offset += 1
        }
        return JSONToken(kind: kind, range: start..<offset, isEscaped: false)
    }

    private mutating func number(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        let start = offset
        if bytes[offset] == UInt8(ascii: "-") { offset += 1 }
        if offset < bytes.count, bytes[offset] == UInt8(ascii: "0") {
            offset += 1
            if offset < bytes.count, (0x30...0x39).contains(bytes[offset]) {
                throw failure("number with a leading zero", at: start)
            }
        } else {
            try digits(bytes)
        }
        if offset < bytes.count, bytes[offset] == UInt8(ascii: ".") {
            offset += 1
            try digits(bytes)
        }
        if offset < bytes.count, bytes[offset] | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if offset < bytes.count, bytes[offset] == UInt8(ascii: "+") || bytes[offset] == UInt8(ascii: "-") {
                offset += 1
            }
            try digits(bytes)
        }
        return JSONToken(kind: .number, range: start..<offset, isEscaped: false)
    }

    private mutating func digits(_ bytes: Span<UInt8>) throws(JSONError) {
        let start = offset
        while offset < bytes.count, (0x30...0x39).contains(bytes[offset]) { offset += 1 }
        guard offset > start else { throw failure("expected a digit") }
    }

    private mutating func string(_ bytes: Span<UInt8>) throws(JSONError) -> JSONToken {
        // Bytes of a Span<UInt8> are always initialised, so the raw view of them is as good.
        let raw = unsafe bytes.bytes
        let count = bytes.count
        let start = offset
        var isEscaped = false
        var index = offset &+ 1
        while index < count {
            // Eight bytes at a time up to a quote, a backslash or a control character. The load is bounds-checked; any
            // bits make a UInt64.
            while index &+ 8 <= count {
                let word = unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
                let special = Self.specialBytes(UInt64(littleEndian: word))
                // Predicted, where counting the bits would make each step wait for the one before.
                if special == 0 {
                    index &+= 8
                    continue
                }
                index &+= special.trailingZeroBitCount >> 3
                break
            }
            guard index < count else { break }
            switch bytes[index] {
            case UInt8(ascii: "\""):
                offset = index &+ 1
                return JSONToken(kind: .string, range: start..<offset, isEscaped: isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                index = try escape(bytes, at: index)
            case 0x00...0x1F:
                throw failure("control character in a string", at: index)
            default:
                index &+= 1
            }
        }
        throw failure("unexpected end of a string", at: count)
    }

    /// The top bit of each byte of `word` that is below 0x20, a quote or a backslash. Of what is above the first such
    /// byte (counted from the lowest) nothing is said; 0 means none.
    static func specialBytes(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        let quotes = word ^ (ones &* 0x22)
        let backslashes = word ^ (ones &* 0x5C)
        let controls = (word &- (ones &* 0x20)) & ~word
        return (controls | ((quotes &- ones) & ~quotes) | ((backslashes &- ones) & ~backslashes)) & tops
    }

    /// Checks the escape at `index` and returns where it ends.
    private func escape(_ bytes: Span<UInt8>, at index: Int) throws(JSONError) -> Int {
        guard index + 1 < bytes.count else { throw failure("unexpected end of a string", at: bytes.count) }
        switch bytes[index + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return index + 2
        case UInt8(ascii: "u"):
            guard let unit = Self.codeUnit(bytes, at: index + 2) else {
                throw failure("\\u needs four hexadecimal digits", at: index)
            }
            switch unit {
            case 0xD800...0xDBFF:
                guard index + 7 < bytes.count, bytes[index + 6] == UInt8(ascii: "\\"),
                    bytes[index + 7] == UInt8(ascii: "u"), let low = Self.codeUnit(bytes, at: index + 8),
                    (0xDC00...0xDFFF).contains(low)
                else { throw failure("lone surrogate", at: index) }
                return index + 12
            case 0xDC00...0xDFFF:
                throw failure("lone surrogate", at: index)
            default:
                return index + 6
            }
        default:
            throw failure("unknown escape", at: index)
        }
    }

    /// The four hexadecimal digits at `index`; `nil` when there are none.
    static func codeUnit(_ bytes: Span<UInt8>, at index: Int) -> UInt16? {
        guard index + 4 <= bytes.count else { return nil }
        var unit: UInt16 = 0
        for place in index..<index + 4 {
            let byte = bytes[place]
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x41 + 10
            case 0x61...0x66: digit = byte - 0x61 + 10
            default: return nil
            }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }
}
