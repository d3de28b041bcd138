import ConduitCore
import NIOCore

/// The members of one JSON object that have a known name: a place for each key of `Key`, no dictionary.
struct JSONFields<Key: RawRepresentable & CaseIterable & Hashable & Sendable> where Key.RawValue == String {
    private var tokens: [(key: Key, token: JSONToken)] = []
    /// A known key that stood twice.
    private(set) var duplicate: Key?
    /// Whether there was an object at all.
    private(set) var isObject = false

    /// The value of `key`, if it stands there.
    subscript(_ key: Key) -> JSONToken? {
        for entry in tokens where entry.key == key { return entry.token }
        return nil
    }

    /// Reads a whole document. All of it is checked; members are found if it is an object.
    mutating func readDocument(_ document: ByteBuffer) throws(JSONError) {
        let bytes = document.readableBytesUInt8Span
        var scanner = JSONScanner()
        do throws(JSONError) {
            try scanner.enterObject(bytes)
        } catch {
            // Valid JSON that is no object is told apart from what is no JSON.
            _ = try JSONScanner.document(bytes)
            return
        }
        isObject = true
        var isFirst = true
        while let key = try scanner.nextKey(bytes, isFirst: isFirst) {
            isFirst = false
            let value = try scanner.value(bytes, depth: 1)
            guard let known = Self.key(key, in: document) else { continue }
            if self[known] == nil {
                tokens.append((known, value))
            } else {
                duplicate = known
            }
        }
        try scanner.end(bytes)
    }

    private static func key(_ token: JSONToken, in document: ByteBuffer) -> Key? {
        // Our keys are short, so that their strings need no heap; longer ones are not ours. Escapes make six of one.
        guard token.range.count <= (token.isEscaped ? 92 : 17) else { return nil }
        return Key(rawValue: document.text(of: token))
    }

    // MARK: Typed reading; `path` begins the field's name in errors.

    func optionalString(_ key: Key, in document: ByteBuffer, path: String = "data.") throws(RequestError) -> String? {
        guard let token = self[key], token.kind != .null else { return nil }
        guard token.kind == .string else { throw Self.problem(key, path, "is not a string") }
        return document.text(of: token)
    }

    func flag(_ key: Key, in document: ByteBuffer) throws(RequestError) -> Bool {
        guard let token = self[key], token.kind != .null else { return false }
        guard token.kind == .bool else { throw Self.problem(key, "data.", "is not true or false") }
        return token.range.count == 4
    }

    /// A whole number that is not negative.
    func optionalNumber(_ key: Key, in document: ByteBuffer, path: String = "data.") throws(RequestError) -> UInt64? {
        guard let token = self[key], token.kind != .null else { return nil }
        guard token.kind == .number, token.range.count <= 20,
            let text = document.getString(at: document.readerIndex + token.range.lowerBound, length: token.range.count),
            let number = UInt64(text)
        else { throw Self.problem(key, path, "is not a whole number from 0") }
        return number
    }

    static func problem(_ key: Key, _ path: String, _ what: String) -> RequestError {
        RequestError(.badRequest, "\(path)\(key.rawValue) \(what)")
    }
}
