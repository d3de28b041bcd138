import ConduitGateway
import NIOCore

/// A head read whole and in slices must be the same and what ``ReferenceHead`` says; nothing of it may get into the
/// answer to an upgrade but what the server chose.
enum HTTPFuzz {
    private static let limits = [(8_192, 64), (128, 8)]

    static func run(_ input: FuzzInput) -> String? {
        let (bytes, fields) = limits[Int(input.options & 1)]
        let whole = RequestProbe.read([input.whole], maxBytes: bytes, maxFields: fields)
        let sliced = RequestProbe.read(input.slices, maxBytes: bytes, maxFields: fields)
        let reference = ReferenceHead(input.bytes, maxBytes: bytes, maxFields: fields)
        guard case .complete(let head) = whole else {
            if case .complete = sliced { return "complete in slices only" }
            if reference != nil { return "refused: \(whole)" }
            return nil
        }
        guard let reference else { return "accepted: \(head)" }
        guard reference.agrees(with: head) else { return "\(head) instead of \(reference)" }
        // What can't be a method is refused as soon as that shows, which is before the head's end comes.
        if reference.methodBytes > 31, case .malformed = sliced { return answer(head) }
        guard case .complete(let other) = sliced else { return "in slices: \(sliced)" }
        guard other == head else { return "whole: \(head), in slices: \(other)" }
        return answer(head)
    }

    private static func answer(_ head: RequestProbe.Head) -> String? {
        guard head.description.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            return "the description has more than a path: \(head.description)"
        }
        guard let answer = head.answer else { return nil }
        let lines = answer.split(separator: "\r\n", omittingEmptySubsequences: false)
        let protocols = lines.filter { $0.hasPrefix("Sec-WebSocket-Protocol:") }
        guard lines.first == "HTTP/1.1 101 Switching Protocols", lines.suffix(2) == ["", ""],
            lines.count == 6 + protocols.count, protocols.allSatisfy({ $0.hasSuffix(" conduit.v1.json") }),
            answer.utf8.allSatisfy({ $0 >= 0x20 || $0 == 0x0D || $0 == 0x0A })
        else { return "an answer of another shape: \(answer)" }
        return nil
    }
}

/// RFC 9112 sections 2 to 5 for a request's head, by splitting lines and words: slow and short.
private struct ReferenceHead {
    let methodBytes: Int
    let isGet: Bool
    let target: [UInt8]
    let fields: [(name: [UInt8], value: [UInt8])]
    let leftover: Int

    init?(_ input: [UInt8], maxBytes: Int, maxFields: Int) {
        var bytes = input[...]
        while bytes.starts(with: [13, 10]) { bytes = bytes.dropFirst(2) }
        bytes = Array(bytes)[...]
        guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: [13, 10, 13, 10]) }), end <= maxBytes
        else { return nil }
        leftover = bytes.count - end - 4
        var lines: [[UInt8]] = [[]]
        for byte in bytes[..<end] {
            if byte == 10, lines[lines.count - 1].last == 13 {
                lines[lines.count - 1].removeLast()
                lines.append([])
            } else {
                lines[lines.count - 1].append(byte)
            }
        }
        guard lines.count - 1 <= maxFields, !lines.contains(where: { $0.contains(13) }) else { return nil }
        let words = lines[0].split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(Self.isToken), !words[1].isEmpty,
            words[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            words[2].elementsEqual("HTTP/1.1".utf8) || words[2].elementsEqual("HTTP/1.0".utf8)
        else { return nil }
        methodBytes = words[0].count
        isGet = words[0].elementsEqual("GET".utf8)
        target = Array(words[1])
        var fields: [(name: [UInt8], value: [UInt8])] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: 0x3A), colon > 0, line[..<colon].allSatisfy(Self.isToken) else {
                return nil
            }
            var value = Array(line[(colon + 1)...])
            while let first = value.first, first == 0x20 || first == 9 { value.removeFirst() }
            while let last = value.last, last == 0x20 || last == 9 { value.removeLast() }
            guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 9 }) else { return nil }
            fields.append((Array(line[..<colon]), value))
        }
        self.fields = fields
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8.contains(byte)
    }

    func agrees(with head: RequestProbe.Head) -> Bool {
        func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
        return head.isGet == isGet && head.target == text(target) && head.leftoverBytes == leftover
            && head.fields.map(\.name) == fields.map { text($0.name) }
            && head.fields.map(\.value) == fields.map { text($0.value) }
    }
}
