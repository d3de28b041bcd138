import ConduitCore

/// What a tracing node looks for in a request beside what everybody reads.
private enum TraceKey: UInt8, JSONKey {
    case traceparent, room

    var name: StaticString {
        switch self {
        case .traceparent: "traceparent"
        case .room: "room"
        }
    }

    static func named(_ bytes: Span<UInt8>) -> TraceKey? {
        switch bytes.count {
        case 4: TraceKey.room.ifNamed(bytes)
        case 11: TraceKey.traceparent.ifNamed(bytes)
        default: nil
        }
    }
}

// Read by a second look at `data`, so that who doesn't trace pays nothing. What is no text is as if it weren't there.
extension CommandTokens {
    /// Longest `traceparent` that is looked at, in bytes.
    private static let maximumTraceBytes = 256

    /// The `traceparent` in `data`, whatever it says.
    package func traceparent(in bytes: Span<UInt8>) -> String? { text(.traceparent, Self.maximumTraceBytes, bytes) }

    /// The room that the request is for, as it is written there: it may be no room's name.
    package func dataRoom(in bytes: Span<UInt8>) -> String? {
        text(.room, 6 * 255, bytes) ?? room.map { $0.text(in: bytes) }
    }

    private func text(_ key: TraceKey, _ most: Int, _ bytes: Span<UInt8>) -> String? {
        guard let data else { return nil }
        var fields = JSONFields<TraceKey>()
        guard (try? fields.readObject(data, in: bytes)) != nil, let token = fields[key], token.kind == .string,
            token.byteCount <= most + 2
        else { return nil }
        return token.text(in: bytes)
    }
}
