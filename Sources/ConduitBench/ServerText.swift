/// The few things that a run wants to know of a server's envelope that is no delivery.
package struct ServerText: Sendable, Hashable {
    package let text: String

    package init(_ text: String) { self.text = text }

    /// Its `type`.
    package var type: String? { string("type") }

    /// The text behind the first `"name":"`, without escapes: ids and codes have none.
    package func string(_ name: String) -> String? {
        let bytes = Array(text.utf8)
        let key = Array("\"\(name)\":\"".utf8)
        guard bytes.count > key.count else { return nil }
        for index in 0..<bytes.count - key.count where bytes[index] == key[0] {
            guard bytes[index..<index + key.count].elementsEqual(key) else { continue }
            let rest = bytes[(index + key.count)...]
            guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            return String(decoding: rest[..<end], as: UTF8.self)
        }
        return nil
    }

    /// `code: message` of an `error`.
    package var error: String {
        let code = string("code") ?? "error"
        return string("message").map { "\(code): \($0)" } ?? code
    }
}
