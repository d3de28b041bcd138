package import ConduitCore

/// One frame among those that wait for a client, as this server has written them: where it ends, and what it belongs to.
///
/// Only looked for once a client's socket has stopped taking bytes: until then frames are bytes that nobody looks at again.
package struct OutgoingFrame: Sendable, Hashable {
    /// Its bytes, header and all.
    package let range: Range<Int>
    /// Where the text behind the header begins.
    private let textStart: Int
    /// Whether it is a text as it was encoded: neither a control frame nor compressed.
    package let isPlainText: Bool

    /// Where the room of an event, and the key that stands behind it, are written: JSON without the quotes.
    package struct Place: Sendable, Hashable {
        package let room: Range<Int>
        package let key: Range<Int>?

        /// Room and key together: the same for two events with the same of both.
        package var whole: Range<Int> { room.lowerBound..<(key?.upperBound ?? room.upperBound) }
    }

    /// Longest name or key in JSON: 255 bytes, each of them escaped.
    private static let longestName = 255 * 6
    private static let plainText: UInt8 = 0x81

    /// The frame that begins at a byte; `nil` when it isn't whole or isn't one of a server.
    package static func next(in bytes: Span<UInt8>, at start: Int) -> OutgoingFrame? {
        guard start >= 0, start + 2 <= bytes.count else { return nil }
        var (length, header) = (Int(bytes[start + 1]), 2)
        switch length {
        case ..<126: break
        case 126:
            guard start + 4 <= bytes.count else { return nil }
            length = Int(bytes[start + 2]) << 8 | Int(bytes[start + 3])
            header = 4
        case 127:
            guard start + 10 <= bytes.count, bytes[start + 2] == 0, bytes[start + 3] == 0 else { return nil }
            length = (start + 4..<start + 10).reduce(0) { $0 << 8 | Int(bytes[$1]) }
            header = 10
        default: return nil
        }
        let end = start + header + length
        guard end <= bytes.count else { return nil }
        return OutgoingFrame(
            range: start..<end, textStart: start + header, isPlainText: bytes[start] == plainText)
    }

    /// Where the frame ends in which `offset` stands (the first one that ends there or behind it), and the how-manieth
    /// that is. All bytes are one frame where there are no whole ones.
    package static func end(in bytes: Span<UInt8>, behind offset: Int) -> (offset: Int, frames: Int) {
        var (end, frames) = (0, 0)
        while end < offset {
            guard let frame = next(in: bytes, at: end) else { return (bytes.count, frames + 1) }
            end = frame.range.upperBound
            frames += 1
        }
        return (end, frames)
    }

    /// The place of an application's event of a fast room; `nil` for everything else: answers, messages to users or
    /// everybody, messages of ordered rooms, what this server tells of a room.
    ///
    /// Reads from the end, where ``EventEncoder`` puts both, so that it costs the same whatever the data. What somebody
    /// else has encoded in another order belongs to no room here.
    package func place(in bytes: Span<UInt8>) -> Place? {
        guard isPlainText, range.upperBound <= bytes.count else { return nil }
        let last = range.upperBound - 1
        guard last > textStart, bytes[last] == UInt8(ascii: "}"), let end = string(in: bytes, endingAt: last - 1),
            !isOfServer(bytes)
        else { return nil }
        if isName(",\"room\":", in: bytes, before: end.lowerBound - 1) { return Place(room: end, key: nil) }
        let comma = end.lowerBound - 1 - Self.keyName.utf8CodeUnitCount
        guard isName(Self.keyName, in: bytes, before: end.lowerBound - 1),
            let room = string(in: bytes, endingAt: comma - 1),
            isName(",\"room\":", in: bytes, before: room.lowerBound - 1)
        else { return nil }
        return Place(room: room, key: end)
    }

    private static let keyName: StaticString = ",\"key\":"

    /// What is between the quotes of the string whose second quote stands at `quote`.
    private func string(in bytes: Span<UInt8>, endingAt quote: Int) -> Range<Int>? {
        guard quote > textStart, bytes[quote] == UInt8(ascii: "\"") else { return nil }
        let farthest = max(textStart, quote - 1 - Self.longestName)
        var index = quote - 1
        while index >= farthest {
            if bytes[index] == UInt8(ascii: "\"") {
                var before = index - 1
                while before >= farthest, bytes[before] == UInt8(ascii: "\\") { before -= 1 }
                // An even number of backslashes escape each other.
                if (index - before) % 2 == 1 { return index + 1..<quote }
            }
            index -= 1
        }
        return nil
    }

    private func isName(_ name: StaticString, in bytes: Span<UInt8>, before end: Int) -> Bool {
        let start = end - name.utf8CodeUnitCount
        guard start > textStart else { return false }
        return bytes.extracting(start..<end).equals(name)
    }

    /// Whether it is told by the server itself. Nobody else's events have these types.
    private func isOfServer(_ bytes: Span<UInt8>) -> Bool {
        begins(with: "{\"type\":\"presence_diff\"", bytes) || begins(with: "{\"type\":\"room_state\"", bytes)
    }

    private func begins(with text: StaticString, _ bytes: Span<UInt8>) -> Bool {
        let end = textStart + text.utf8CodeUnitCount
        return end <= range.upperBound && bytes.extracting(textStart..<end).equals(text)
    }

    /// The name that is written in JSON with these bytes, which stood in one of our events.
    package static func roomName(_ json: Span<UInt8>) -> RoomName? {
        RoomName(String(decoding: JSONToken.unescape(json), as: UTF8.self))
    }
}
