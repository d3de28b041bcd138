package import ConduitWire
package import NIOCore

/// A small JSON document as a tree: claims, key sets, a hook's answers. Never a message.
///
/// As strict as the scanner, and a name that stands twice in an object is an error: two readers of one token must not
/// see two users.
package struct JSONValue: Sendable {
    package enum Content: Sendable {
        case object([String: JSONValue])
        case array([JSONValue])
        case string(String)
        case number(Double)
        case bool(Bool)
        case null
    }

    package let content: Content
    /// The text as it was written.
    package let raw: ByteBuffer

    /// Reads one document.
    package init(document bytes: ByteBuffer) throws(JSONError) {
        guard String(validating: bytes.readableBytesView, as: UTF8.self) != nil else {
            throw JSONError(message: "not UTF-8", offset: 0)
        }
        let token = try JSONScanner.document(bytes.readableBytesUInt8Span)
        try self.init(token.kind, bytes.slice(token.range))
    }

    /// `raw` is one value that the scanner has taken, so its depth is bounded.
    private init(_ kind: JSONKind, _ raw: ByteBuffer) throws(JSONError) {
        self.raw = raw
        switch kind {
        case .object: content = .object(try Self.members(raw))
        case .array: content = .array(try Self.elements(raw))
        case .string:
            var scanner = JSONScanner()
            content = .string(raw.text(of: try scanner.value(raw.readableBytesUInt8Span)))
        case .number: content = .number(Double(String(buffer: raw)) ?? .nan)
        case .bool: content = .bool(raw.readableBytes == 4)
        case .null: content = .null
        }
    }

    private static func members(_ raw: ByteBuffer) throws(JSONError) -> [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        var scanner = JSONScanner()
        try scanner.enterObject(raw.readableBytesUInt8Span)
        var isFirst = true
        while let key = try scanner.nextKey(raw.readableBytesUInt8Span, isFirst: isFirst) {
            isFirst = false
            let token = try scanner.value(raw.readableBytesUInt8Span)
            let value = try JSONValue(token.kind, raw.slice(token.range))
            guard members.updateValue(value, forKey: raw.text(of: key)) == nil else {
                throw JSONError(message: "a name stands twice", offset: key.range.lowerBound)
            }
        }
        return members
    }

    private static func elements(_ raw: ByteBuffer) throws(JSONError) -> [JSONValue] {
        var elements: [JSONValue] = []
        let bytes = raw.readableBytesView
        var offset = 1
        while true {
            // Between elements stand commas and white space only: the scanner has seen to that.
            while offset < bytes.count, " \t\r\n,".utf8.contains(bytes[bytes.startIndex + offset]) { offset += 1 }
            guard offset < bytes.count, bytes[bytes.startIndex + offset] != UInt8(ascii: "]") else { return elements }
            var scanner = JSONScanner(offset: offset)
            let token = try scanner.value(raw.readableBytesUInt8Span)
            elements.append(try JSONValue(token.kind, raw.slice(token.range)))
            offset = scanner.offset
        }
    }

    /// The members of an object; `nil` for anything else.
    package var object: [String: JSONValue]? {
        if case .object(let members) = content { members } else { nil }
    }

    /// A string; `nil` for anything else.
    package var string: String? { if case .string(let text) = content { text } else { nil } }

    package var isNull: Bool { if case .null = content { true } else { false } }
}
