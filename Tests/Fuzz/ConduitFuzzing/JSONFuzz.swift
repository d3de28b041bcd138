import ConduitCore
import ConduitWire
import Foundation
import NIOCore

/// What the scanner accepts and the decoder finds must be what ``ReferenceJSON`` says, and Foundation where it is as
/// strict.
///
/// Differences with Foundation that are meant: it knows depths up to 512 where we stop at 64, refuses numbers that no
/// Double holds, takes a comma behind the last element, and takes UTF-16 and a byte order mark; such inputs are not
/// compared.
enum JSONFuzz {
    static func run(_ input: FuzzInput) -> String? {
        // The frame parser lets nothing else through.
        guard String(validating: input.bytes, as: UTF8.self) != nil else { return nil }
        let whole = input.whole
        let reference = ReferenceJSON.document(input.bytes)
        var token: JSONToken?
        var failure: JSONError?
        do throws(JSONError) {
            token = try JSONScanner.document(whole.readableBytesUInt8Span)
        } catch {
            failure = error
        }
        if let failure, !(0...input.bytes.count).contains(failure.offset) { return "an error at \(failure.offset)" }
        guard (token != nil) == (reference != nil) else {
            return "the scanner says \(failure?.message ?? "yes"), the reference \(reference == nil ? "no" : "yes")"
        }
        if let problem = foundation(input.bytes, accepted: reference) { return problem }
        if let problem = decoding(whole, reference) { return problem }
        return nil
    }

    private static func foundation(_ bytes: [UInt8], accepted reference: ReferenceJSON?) -> String? {
        guard !bytes.contains(0), !bytes.starts(with: [0xEF, 0xBB, 0xBF]) else { return nil }
        if let reference {
            guard !reference.hasLongNumber else { return nil }
        } else if ReferenceJSON.document(bytes, maximumDepth: 512, takesLastComma: true) != nil {
            return nil
        }
        let theirs = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
        guard (theirs != nil) == (reference != nil) else {
            return "Foundation says \(theirs == nil ? "no" : "yes"), we say \(reference == nil ? "no" : "yes")"
        }
        return nil
    }

    private static func decoding(_ message: ByteBuffer, _ reference: ReferenceJSON?) -> String? {
        let expected = ReferenceCommand(reference)
        let command: Command
        do throws(CommandError) {
            command = try CommandDecoder.decode(message)
        } catch {
            if let expected { return "\(expected) refused: \(error.error)" }
            return nil
        }
        guard let expected else { return "accepted: \(command.type)" }
        let found = (
            type: command.type, id: command.id.map { String(buffer: $0.json) },
            data: command.data.map { String(buffer: $0) }, room: command.room
        )
        guard same(found.type, expected.type), found.id == expected.id, found.data == expected.data,
            found.room == expected.room, command.kind == CommandKind(type: expected.type)
        else { return "\(found) instead of \(expected)" }
        requests(command)
        return nil
    }

    /// Every reading of `data`: they must end.
    private static func requests(_ command: Command) {
        _ = try? command.joinRoom()
        _ = try? command.leaveRoom()
        _ = try? command.broadcast()
        _ = try? command.send()
        _ = try? command.presence()
        _ = try? command.history()
        let bytes = command.dataJSON.readableBytesUInt8Span
        _ = try? CommandDecoder.decode(bytes)
    }

    private static func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
}

/// The envelope by its documentation.
private struct ReferenceCommand: CustomStringConvertible {
    var type = ""
    var id: String?
    var data: String?
    var room: String?

    init?(_ document: ReferenceJSON?) {
        guard let document, case .object(let members) = document.value else { return nil }
        let known = members.filter { ["type", "id", "data", "room"].contains($0.key) }
        guard Set(known.map(\.key)).count == known.count else { return nil }
        func member(_ key: String) -> ReferenceJSON? { known.first { $0.key == key }?.value }
        guard case .string(let type)? = member("type")?.value, (1...255).contains(type.utf8.count) else { return nil }
        self.type = type
        switch member("id")?.value {
        case nil, .null?: id = nil
        case .string?, .number?:
            guard let raw = member("id")?.raw, raw.utf8.count <= 255 else { return nil }
            id = raw
        default: return nil
        }
        switch member("room")?.value {
        case nil, .null?: room = nil
        case .string(let name)?: room = name
        default: return nil
        }
        data = member("data")?.raw
    }

    var description: String {
        "\(type.debugDescription) id \(id ?? "-") data \(data ?? "-") room \(room?.debugDescription ?? "-")"
    }
}

/// RFC 8259 by recursion over an array: slow, builds everything, and shares nothing with the scanner.
struct ReferenceJSON {
    indirect enum Value {
        case object([(key: String, value: ReferenceJSON)])
        case array([ReferenceJSON])
        case string(String)
        case number
        case bool
        case null
    }

    let value: Value
    /// Its text in the document.
    let raw: String
    /// Whether it holds a number that a Double may not hold.
    let hasLongNumber: Bool

    static func document(
        _ bytes: [UInt8], maximumDepth: Int = 64, takesLastComma: Bool = false
    ) -> ReferenceJSON? {
        var reader = Reader(bytes: bytes, maximumDepth: maximumDepth, takesLastComma: takesLastComma)
        guard let value = reader.value(depth: 0) else { return nil }
        reader.skipSpace()
        return reader.position == bytes.count ? value : nil
    }

    private struct Reader {
        let bytes: [UInt8]
        let maximumDepth: Int
        let takesLastComma: Bool
        var position = 0

        init(bytes: [UInt8], maximumDepth: Int, takesLastComma: Bool) {
            self.bytes = bytes
            self.maximumDepth = maximumDepth
            self.takesLastComma = takesLastComma
        }

        var next: UInt8? { position < bytes.count ? bytes[position] : nil }

        mutating func skipSpace() {
            while let byte = next, [0x20, 9, 10, 13].contains(byte) { position += 1 }
        }

        mutating func take(_ text: String) -> Bool {
            guard bytes[position...].starts(with: text.utf8) else { return false }
            position += text.utf8.count
            return true
        }

        mutating func value(depth: Int) -> ReferenceJSON? {
            skipSpace()
            let start = position
            var long = false
            let value: Value
            switch next {
            case UInt8(ascii: "{"):
                guard depth < maximumDepth, let members = object(depth, &long) else { return nil }
                value = .object(members)
            case UInt8(ascii: "["):
                guard depth < maximumDepth, let elements = array(depth, &long) else { return nil }
                value = .array(elements)
            case UInt8(ascii: "\""):
                guard let text = string() else { return nil }
                value = .string(text)
            case UInt8(ascii: "t"):
                guard take("true") else { return nil }
                value = .bool
            case UInt8(ascii: "f"):
                guard take("false") else { return nil }
                value = .bool
            case UInt8(ascii: "n"):
                guard take("null") else { return nil }
                value = .null
            default:
                guard number() else { return nil }
                long = position - start > 15 || bytes[start..<position].contains { $0 | 0x20 == UInt8(ascii: "e") }
                value = .number
            }
            return ReferenceJSON(
                value: value, raw: String(decoding: bytes[start..<position], as: UTF8.self), hasLongNumber: long)
        }

        mutating func object(_ depth: Int, _ long: inout Bool) -> [(key: String, value: ReferenceJSON)]? {
            position += 1
            var members: [(key: String, value: ReferenceJSON)] = []
            skipSpace()
            if take("}") { return [] }
            while true {
                skipSpace()
                guard next == UInt8(ascii: "\""), let key = string() else { return nil }
                skipSpace()
                guard take(":"), let member = value(depth: depth + 1) else { return nil }
                long = long || member.hasLongNumber
                members.append((key, member))
                skipSpace()
                if take("}") { return members }
                guard take(",") else { return nil }
                skipSpace()
                if takesLastComma, take("}") { return members }
            }
        }

        mutating func array(_ depth: Int, _ long: inout Bool) -> [ReferenceJSON]? {
            position += 1
            var elements: [ReferenceJSON] = []
            skipSpace()
            if take("]") { return [] }
            while true {
                guard let element = value(depth: depth + 1) else { return nil }
                long = long || element.hasLongNumber
                elements.append(element)
                skipSpace()
                if take("]") { return elements }
                guard take(",") else { return nil }
                skipSpace()
                if takesLastComma, take("]") { return elements }
            }
        }

        mutating func number() -> Bool {
            _ = take("-")
            if !take("0") { guard digits() else { return false } }
            if take(".") { guard digits() else { return false } }
            if take("e") || take("E") {
                if !take("+") { _ = take("-") }
                return digits()
            }
            return true
        }

        mutating func digits() -> Bool {
            let start = position
            while let byte = next, (0x30...0x39).contains(byte) { position += 1 }
            return position > start
        }

        mutating func string() -> String? {
            position += 1
            var units: [UInt8] = []
            while let byte = next {
                position += 1
                switch byte {
                case UInt8(ascii: "\""): return String(validating: units, as: UTF8.self)
                case 0..<0x20: return nil
                case UInt8(ascii: "\\"):
                    guard let scalar = escape() else { return nil }
                    units += Array(String(scalar).utf8)
                default: units.append(byte)
                }
            }
            return nil
        }

        mutating func escape() -> Unicode.Scalar? {
            let plain: [Character: Unicode.Scalar] = [
                "\"": "\"", "\\": "\\", "/": "/", "b": "\u{8}", "f": "\u{C}", "n": "\n", "r": "\r", "t": "\t",
            ]
            guard let byte = next else { return nil }
            position += 1
            guard byte == UInt8(ascii: "u") else { return plain[Character(Unicode.Scalar(byte))] }
            guard let unit = hexadecimal() else { return nil }
            guard (0xD800...0xDBFF).contains(unit) else { return Unicode.Scalar(unit) }
            guard take("\\u"), let low = hexadecimal(), (0xDC00...0xDFFF).contains(low) else { return nil }
            return Unicode.Scalar(0x10000 + (unit - 0xD800) * 0x400 + (low - 0xDC00))
        }

        mutating func hexadecimal() -> UInt32? {
            guard position + 4 <= bytes.count else { return nil }
            let digits = bytes[position..<position + 4]
            guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 }) else { return nil }
            position += 4
            return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        }
    }
}
