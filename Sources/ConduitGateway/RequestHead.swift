/// The head of an HTTP/1 request, taken apart in place (RFC 9112, strictly): its fields are ranges of its bytes.
///
/// Most handshakes are decided without making a string of anything.
struct RequestHead: Sendable {
    enum Method: Sendable { case get, head, other }
    enum Version: Sendable { case http1_0, http1_1 }

    /// Why bytes are no head of a request.
    enum Fault: Error, Hashable, Sendable { case malformed, tooManyFields }

    private struct Field: Sendable {
        let name: Range<Int>
        let value: Range<Int>
    }

    let method: Method
    let version: Version
    private let bytes: [UInt8]
    private let targetRange: Range<Int>
    private var fields: ContiguousArray<Field> = []

    /// - Parameter bytes: all lines without the empty one that ends them; the last one's CRLF may be there or not.
    init(parsing bytes: [UInt8], maxFields: Int) throws(Fault) {
        self.bytes = bytes
        var line = try Self.line(from: 0, in: bytes)
        // request-line: method SP target SP version
        guard let first = bytes[line].firstIndex(of: 0x20), let last = bytes[line].lastIndex(of: 0x20), first < last,
            first > line.lowerBound, last > first + 1,
            bytes[line.lowerBound..<first].allSatisfy(Self.isToken),
            bytes[first + 1..<last].allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw .malformed }
        switch bytes[line.lowerBound..<first] {
        case let word where word.elementsEqual("GET".utf8): method = .get
        case let word where word.elementsEqual("HEAD".utf8): method = .head
        default: method = .other
        }
        targetRange = first + 1..<last
        switch bytes[last + 1..<line.upperBound] {
        case let text where text.elementsEqual("HTTP/1.1".utf8): version = .http1_1
        case let text where text.elementsEqual("HTTP/1.0".utf8): version = .http1_0
        default: throw .malformed
        }
        fields.reserveCapacity(16)
        var next = line.upperBound + 2
        while next < bytes.count {
            guard fields.count < maxFields else { throw .tooManyFields }
            line = try Self.line(from: next, in: bytes)
            fields.append(try Self.field(of: line, in: bytes))
            next = line.upperBound + 2
        }
    }

    /// The bytes of a line without its CRLF.
    private static func line(from start: Int, in bytes: [UInt8]) throws(Fault) -> Range<Int> {
        var end = start
        while end < bytes.count, bytes[end] != 0x0D { end += 1 }
        guard end == bytes.count || (end + 1 < bytes.count && bytes[end + 1] == 0x0A) else { throw .malformed }
        return start..<end
    }

    /// `name ":" OWS value OWS`. A line that begins with a space continues another, which is no longer allowed.
    private static func field(of line: Range<Int>, in bytes: [UInt8]) throws(Fault) -> Field {
        var colon = line.lowerBound
        while colon < line.upperBound, isToken(bytes[colon]) { colon += 1 }
        guard colon > line.lowerBound, colon < line.upperBound, bytes[colon] == 0x3A else { throw .malformed }
        var start = colon + 1
        var end = line.upperBound
        while start < end, isBlank(bytes[start]) { start += 1 }
        while end > start, isBlank(bytes[end - 1]) { end -= 1 }
        for index in start..<end where bytes[index] < 0x20 && bytes[index] != 0x09 || bytes[index] == 0x7F {
            throw .malformed
        }
        return Field(name: line.lowerBound..<colon, value: start..<end)
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Whether it may be part of a method or of a field's name.
    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: true
        default: false
        }
    }

    // MARK: What it says. Names of fields are asked for in lower case.

    /// The request target, as sent.
    var target: String { text(targetRange) }

    /// Whether the target's path, without query and fragment, is `path`.
    func hasPath(_ path: String) -> Bool {
        bytes[targetRange].prefix { $0 != 0x3F && $0 != 0x23 }.elementsEqual(path.utf8)
    }

    /// All fields as text, in the order in which they were sent.
    var headers: [(name: String, value: String)] {
        fields.map { (name: text($0.name), value: text($0.value)) }
    }

    func contains(_ name: String) -> Bool { fields.contains { isNamed($0, name) } }

    func count(_ name: String) -> Int {
        var count = 0
        for field in fields where isNamed(field, name) { count += 1 }
        return count
    }

    /// The values of a field, in the order in which they were sent.
    func values(_ name: String) -> [ArraySlice<UInt8>] {
        fields.filter { isNamed($0, name) }.map { bytes[$0.value] }
    }

    /// The value of a field that is there exactly once.
    func only(_ name: String) -> ArraySlice<UInt8>? {
        var found: Field?
        for field in fields where isNamed(field, name) {
            guard found == nil else { return nil }
            found = field
        }
        return found.map { bytes[$0.value] }
    }

    /// Whether every value of a field fulfils a condition; so it does when there is none.
    func allValues(_ name: String, _ condition: (ArraySlice<UInt8>) -> Bool) -> Bool {
        for field in fields where isNamed(field, name) {
            guard condition(bytes[field.value]) else { return false }
        }
        return true
    }

    /// Whether an element of a comma-separated field, over all of its lines, fulfils a condition.
    func hasElement(_ name: String, where condition: (ArraySlice<UInt8>) -> Bool) -> Bool {
        for field in fields where isNamed(field, name) {
            for element in bytes[field.value].split(separator: 0x2C) {
                var element = element
                while let first = element.first, Self.isBlank(first) { element.removeFirst() }
                while let last = element.last, Self.isBlank(last) { element.removeLast() }
                if !element.isEmpty, condition(element) { return true }
            }
        }
        return false
    }

    private func isNamed(_ field: Field, _ name: String) -> Bool {
        field.name.count == name.utf8.count && Self.equals(bytes[field.name], name)
    }

    private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    /// Compares text without regard to case; `lowercased` must be lower case.
    static func equals(_ text: ArraySlice<UInt8>, _ lowercased: String) -> Bool {
        let other = lowercased.utf8
        return text.count == other.count
            && zip(text, other).allSatisfy { ($0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0) == $1 }
    }
}
