package import NIOCore

/// Reads the answer to a handshake; a value that is fed bytes until it knows.
package struct HandshakeAnswer: Sendable {
    package enum Result: Sendable, Hashable {
        case incomplete
        /// A WebSocket; the bytes behind the answer are its first.
        case accepted(rest: ByteBuffer)
        /// In words: the status and what the server wrote beside it.
        case refused(String)
    }

    /// Heads and the texts of refusals are short.
    private static let limit = 16_384
    private var bytes = ByteBuffer()

    package init() {}

    /// Takes bytes that came.
    package mutating func feed(_ input: ByteBuffer) -> Result {
        bytes.writeImmutableBuffer(input)
        return result(atEnd: false)
    }

    /// The server has closed.
    package func end() -> Result {
        bytes.readableBytes == 0 ? .refused("closed without an answer") : result(atEnd: true)
    }

    private func result(atEnd: Bool) -> Result {
        guard let end = headEnd else {
            if bytes.readableBytes > Self.limit { return .refused("the answer has no end") }
            return atEnd ? .refused("closed within its answer: \(Self.short(String(buffer: bytes)))") : .incomplete
        }
        let head = String(decoding: bytes.readableBytesView.prefix(end), as: UTF8.self)
        let lines = head.split(whereSeparator: \.isNewline)
        let words = (lines.first ?? "").split(separator: " ", maxSplits: 2)
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            return .refused("not HTTP: \(Self.short(String(buffer: bytes)))")
        }
        if status == 101 {
            guard Self.value("sec-websocket-accept", lines) == HandshakeRequest.accept else {
                return .refused("101, but without the right Sec-WebSocket-Accept")
            }
            return .accepted(
                rest: bytes.getSlice(at: bytes.readerIndex + end, length: bytes.readableBytes - end) ?? ByteBuffer())
        }
        let body = String(decoding: bytes.readableBytesView.dropFirst(end), as: UTF8.self)
        let length = Self.value("content-length", lines).flatMap { Int($0) }
        if !atEnd, bytes.readableBytes <= Self.limit, length.map({ body.utf8.count < $0 }) ?? true {
            return .incomplete
        }
        let reason = words.count > 2 ? " \(words[2])" : ""
        let text = Self.short(body)
        return .refused(Self.short("\(status)\(reason)") + (text.isEmpty ? "" : ": \(text)"))
    }

    /// Offset of the first byte behind the empty line.
    private var headEnd: Int? {
        let span = bytes.readableBytesUInt8Span
        guard span.count >= 4 else { return nil }
        for index in 3..<span.count where span[index] == 0x0A && span[index - 2] == 0x0A && span[index - 1] == 0x0D {
            return index + 1
        }
        return nil
    }

    private static func value(_ name: String, _ lines: [Substring]) -> String? {
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name else { continue }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return nil
    }

    /// One line that any terminal bears.
    private static func short(_ text: String) -> String {
        let scalars = text.unicodeScalars.prefix(200).map {
            $0.value < 0x20 || (0x7F...0x9F).contains($0.value) ? " " : $0
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view).split(separator: " ").joined(separator: " ")
    }
}
