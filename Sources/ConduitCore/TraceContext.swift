/// Which span of which trace something belongs to: what W3C Trace Context writes as `traceparent`.
public struct TraceContext: Hashable, Sendable {
    /// The first half of the trace's id.
    public let traceHigh: UInt64
    /// The second half of the trace's id.
    public let traceLow: UInt64
    /// The id of the span that what follows is a part of.
    public let span: UInt64
    /// Bit 0 says that somebody records the trace.
    public let flags: UInt8

    /// A place in a trace; `nil` for ids that are 0, which name nothing.
    public init?(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8 = 1) {
        guard traceHigh | traceLow != 0, span != 0 else { return nil }
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = flags
    }

    /// Reads a `traceparent`, strictly; of versions to come only what this one knows. `nil` for anything else.
    public init?(traceparent text: String) {
        let bytes = Array(text.utf8.prefix(Self.byteCount + 1))
        let dash = UInt8(ascii: "-")
        guard bytes.count >= Self.byteCount, bytes[2] == dash, bytes[35] == dash, bytes[52] == dash,
            let version = Self.number(bytes[0..<2]), version != 0xFF,
            bytes.count == Self.byteCount || (version != 0 && bytes[Self.byteCount] == dash),
            let high = Self.number(bytes[3..<19]), let low = Self.number(bytes[19..<35]),
            let span = Self.number(bytes[36..<52]), let flags = Self.number(bytes[53..<55])
        else { return nil }
        self.init(traceHigh: high, traceLow: low, span: span, flags: UInt8(truncatingIfNeeded: flags))
    }

    /// How long a `traceparent` of version 0 is.
    private static let byteCount = 55

    /// As W3C Trace Context writes it.
    public var traceparent: String { "00-\(traceID)-\(spanID)-\(Self.text(UInt64(flags), digits: 2))" }

    /// The trace's id, 32 hexadecimal digits.
    public var traceID: String { Self.text(traceHigh, digits: 16) + Self.text(traceLow, digits: 16) }

    /// The span's id, 16 hexadecimal digits.
    public var spanID: String { Self.text(span, digits: 16) }

    /// Whether somebody records the trace.
    public var isSampled: Bool { flags & 1 == 1 }

    private static func text(_ number: UInt64, digits: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    /// Lower-case hexadecimal digits only.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }
}
