import Foundation

/// An HTTP answer, taken apart as a test needs it.
package struct TestHTTPResponse: Error, Sendable, CustomStringConvertible {
    package let status: Int
    /// Names in lower case.
    package let headers: [(name: String, value: String)]
    package let body: String

    /// Reads the head of `text`; what follows is the body. `nil` while the head is not whole.
    package init?(_ text: String) {
        guard let end = text.range(of: "\r\n\r\n") else { return nil }
        let lines = text[..<end.lowerBound].split(separator: "\r\n", omittingEmptySubsequences: false)
        let words = lines.first?.split(separator: " ", maxSplits: 2) ?? []
        guard words.count >= 2, words[0] == "HTTP/1.1", let status = Int(words[1]) else { return nil }
        self.status = status
        self.headers = lines.dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            return (line[..<colon].lowercased(), String(value))
        }
        self.body = String(text[end.upperBound...])
    }

    /// The first value of a header.
    package subscript(_ name: String) -> String? {
        headers.first { $0.name == name.lowercased() }?.value
    }

    package var description: String { "HTTP \(status) \(headers) \(body.prefix(200))" }
}
