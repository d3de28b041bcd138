import ConduitCore

/// A known member of an object: told by its bytes, without building a string.
protocol JSONKey: Sendable, Hashable {
    /// The key's own place, 0..<12.
    var ordinal: Int { get }
    /// As it is written in JSON.
    var name: StaticString { get }
    /// The key of this name; `nil` for a name that means nothing here.
    static func named(_ bytes: Span<UInt8>) -> Self?
}

extension JSONKey where Self: RawRepresentable, RawValue == UInt8 {
    var ordinal: Int { Int(rawValue) }

    /// This key if it is the one that is written with `bytes`.
    func ifNamed(_ bytes: Span<UInt8>) -> Self? { bytes.equals(name) ? self : nil }
}

/// The members of one JSON object that have a known name: a place for each key of `Key`, nothing on the heap.
///
/// Not copyable, since a copy of all places costs as much as reading a small object.
struct JSONFields<Key: JSONKey>: ~Copyable {
    private var tokens = InlineArray<12, JSONToken>(repeating: JSONToken(kind: .null, range: 0..<0, isEscaped: false))
    private var present: UInt16 = 0
    /// A known key that stood twice.
    private(set) var duplicate: Key?
    /// Whether there was an object at all.
    private(set) var isObject = false

    /// The value of `key`, if it stands there.
    subscript(_ key: Key) -> JSONToken? {
        // Inlined here and below, since a call copies all places.
        @inline(__always) get { present & (1 << UInt16(key.ordinal)) == 0 ? nil : tokens[key.ordinal] }
    }

    /// Reads a whole document. All of it is checked; members are found if it is an object.
    mutating func readDocument(
        _ bytes: Span<UInt8>, maximumDepth: Int = JSONScanner.maximumDepth
    ) throws(JSONError) {
        var scanner = JSONScanner(maximumDepth: maximumDepth)
        do throws(JSONError) {
            try scanner.enterObject(bytes)
        } catch {
            // Valid JSON that is no object is told apart from what is no JSON.
            _ = try JSONScanner.document(bytes)
            return
        }
        isObject = true
        try readMembers(bytes, &scanner)
        try scanner.end(bytes)
    }

    /// Reads the members of an object that is part of a document which was checked before.
    mutating func readObject(_ object: JSONToken, in bytes: Span<UInt8>) throws(JSONError) {
        guard object.kind == .object else { return }
        var scanner = JSONScanner(offset: object.range.lowerBound)
        try scanner.enterObject(bytes)
        isObject = true
        try readMembers(bytes, &scanner)
    }

    private mutating func readMembers(_ bytes: Span<UInt8>, _ scanner: inout JSONScanner) throws(JSONError) {
        var isFirst = true
        while let key = try scanner.nextKey(bytes, isFirst: isFirst) {
            isFirst = false
            let value = try scanner.value(bytes, depth: 1)
            guard let known = Self.key(key, bytes) else { continue }
            let bit: UInt16 = 1 << UInt16(known.ordinal)
            if present & bit == 0 {
                present |= bit
                tokens[known.ordinal] = value
            } else {
                duplicate = known
            }
        }
    }

    private static func key(_ token: JSONToken, _ bytes: Span<UInt8>) -> Key? {
        guard token.isEscaped else { return Key.named(bytes.extracting(token.inner)) }
        // Escapes make six bytes of one; no key of ours has more than twelve.
        guard token.byteCount <= 92 else { return nil }
        var name = token.text(in: bytes)
        return name.withUTF8 { raw in unsafe Key.named(raw.span) }
    }

    // MARK: Typed reading; `path` begins the field's name in errors.

    @inline(__always)
    func optionalString(_ key: Key, in bytes: Span<UInt8>, path: String = "data.") throws(RequestError) -> String? {
        guard let token = try optionalStringToken(key, path: path) else { return nil }
        return token.text(in: bytes)
    }

    /// Where a string stands.
    @inline(__always)
    func optionalStringToken(_ key: Key, path: String = "data.") throws(RequestError) -> JSONToken? {
        guard let token = self[key], token.kind != .null else { return nil }
        guard token.kind == .string else { throw Self.problem(key, path, "is not a string") }
        return token
    }

    @inline(__always)
    func flag(_ key: Key, in bytes: Span<UInt8>) throws(RequestError) -> Bool {
        guard let token = self[key], token.kind != .null else { return false }
        guard token.kind == .bool else { throw Self.problem(key, "data.", "is not true or false") }
        return token.byteCount == 4
    }

    /// A whole number that is not negative.
    @inline(__always)
    func optionalNumber(_ key: Key, in bytes: Span<UInt8>, path: String = "data.") throws(RequestError) -> UInt64? {
        guard let token = self[key], token.kind != .null else { return nil }
        guard token.kind == .number, token.byteCount <= 20,
            let number = UInt64(String(copying: bytes.extracting(token.range)))
        else { throw Self.problem(key, path, "is not a whole number from 0") }
        return number
    }

    static func problem(_ key: Key, _ path: String, _ what: String) -> RequestError {
        RequestError(.badRequest, "\(path)\(key.name) \(what)")
    }
}

extension Span<UInt8> {
    /// Whether these are the bytes of `text`.
    func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        // Unsafe: a static string's bytes are there for good, and as many as it says.
        let other = unsafe text.utf8Start
        for index in indices where unsafe self[index] != other[index] { return false }
        return true
    }
}

extension String {
    /// A string of bytes that were checked to be UTF-8; what isn't is replaced.
    init(copying bytes: Span<UInt8>) {
        // Unsafe: the pointer lives for the closure only.
        self = unsafe bytes.withUnsafeBufferPointer { raw in unsafe String(decoding: raw, as: UTF8.self) }
    }
}
