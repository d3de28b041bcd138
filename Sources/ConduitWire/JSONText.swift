package import NIOCore

extension ByteBuffer {
    /// A slice by offsets from the first readable byte, as ``JSONScanner`` counts them; empty when out of bounds.
    package func slice(_ range: Range<Int>) -> ByteBuffer {
        getSlice(at: readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
    }

    /// What the JSON string at `token` means. The scanner has accepted it before.
    package func text(of token: JSONToken) -> String { token.text(in: readableBytesUInt8Span) }

    // MARK: Writing

    /// Appends `text` as a JSON string: quoted, with `"`, `\` and control characters escaped.
    package mutating func writeJSONString(_ text: String) {
        writeInteger(UInt8(ascii: "\""))
        if text.utf8.contains(where: Self.needsEscape) {
            for byte in text.utf8 { writeEscaped(byte) }
        } else {
            writeString(text)
        }
        writeInteger(UInt8(ascii: "\""))
    }

    /// Appends a figure that stands in Redis, where anybody may have written: what is no plain number is a string.
    package mutating func writeJSONFigure(_ text: String) {
        if let number = Int64(text), String(number) == text {
            writeString(text)
        } else if let number = Double(text), number.isFinite, text.contains("."), abs(number) < 1e15 {
            writeString(number.description)
        } else {
            writeJSONString(text)
        }
    }

    /// Appends bytes of UTF-8 as a JSON string.
    package mutating func writeJSONString(_ bytes: ByteBuffer) {
        let span = bytes.readableBytesUInt8Span
        // Unsafe: the writer is used inside of the closure only.
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: RawWriter.escapedCount(span) + 8) { memory in
            var writer = unsafe RawWriter(memory)
            writer.writeJSONString(span)
            return writer.count
        }
    }

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }

    private mutating func writeEscaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): writeStaticString("\\\"")
        case UInt8(ascii: "\\"): writeStaticString("\\\\")
        case 0x0A: writeStaticString("\\n")
        case 0x0D: writeStaticString("\\r")
        case 0x09: writeStaticString("\\t")
        case ..<0x20:
            writeStaticString(byte < 0x10 ? "\\u000" : "\\u001")
            let digit = byte & 0x0F
            writeInteger(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
        default: writeInteger(byte)
        }
    }

    /// Appends a whole number in decimal.
    package mutating func writeDecimal(_ number: some BinaryInteger) {
        writeString(String(number))
    }
}

extension JSONToken {
    /// What the string at this place means. The scanner has accepted it before.
    package func text(in bytes: Span<UInt8>) -> String {
        guard kind == .string, byteCount >= 2, range.upperBound <= bytes.count else { return "" }
        let inner = bytes.extracting(self.inner)
        return isEscaped ? String(decoding: Self.unescape(inner), as: UTF8.self) : String(copying: inner)
    }

    static func unescape(_ bytes: Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "\\"), index + 1 < bytes.count else {
                result.append(bytes[index])
                index += 1
                continue
            }
            let escape = bytes[index + 1]
            index += 2
            switch escape {
            case UInt8(ascii: "b"): result.append(0x08)
            case UInt8(ascii: "f"): result.append(0x0C)
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "r"): result.append(0x0D)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "u"):
                guard let unit = JSONScanner.codeUnit(bytes, at: index) else { continue }
                index += 4
                var scalar = UInt32(unit)
                if (0xD800...0xDBFF).contains(unit), let low = JSONScanner.codeUnit(bytes, at: index + 2) {
                    index += 6
                    scalar = 0x10000 + (scalar & 0x3FF) << 10 + UInt32(low & 0x3FF)
                }
                let character = Unicode.Scalar(scalar) ?? "\u{FFFD}"
                result.append(contentsOf: UTF8.encode(character) ?? UTF8.encodedReplacementCharacter)
            default: result.append(escape)
            }
        }
        return result
    }
}
