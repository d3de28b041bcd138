package import ConduitCore

/// The types of the protocol itself, which no application message may carry: nobody can forge a server's event.
package enum ReservedTypes {
    /// Whether `type` belongs to the protocol. Strings that mean the same are the same, however they were escaped.
    package static func contains(_ type: String) -> Bool {
        var type = type
        return type.withUTF8 { raw in unsafe contains(raw.span) }
    }

    /// Whether the type that is written with `bytes` belongs to the protocol.
    package static func contains(_ bytes: Span<UInt8>) -> Bool {
        switch bytes.count {
        case 3: bytes.equals("ack")
        case 4: bytes.equals("ping") || bytes.equals("pong") || bytes.equals("echo") || bytes.equals("send")
        case 5: bytes.equals("error")
        case 6: bytes.equals("status")
        case 7: bytes.equals("history") || bytes.equals("refresh")
        case 8: bytes.equals("presence")
        case 9:
            bytes.equals("join_room") || bytes.equals("room_left") || bytes.equals("broadcast")
                || bytes.equals("refreshed") || bytes.equals("reconnect")
        case 10: bytes.equals("leave_room") || bytes.equals("room_state")
        case 11: bytes.equals("room_joined")
        case 13: bytes.equals("presence_diff")
        default: false
        }
    }

    /// Checks the type of an application's event: 1–255 bytes and not reserved.
    package static func check(eventType type: String) throws(RequestError) {
        var type = type
        let outcome = type.withUTF8 { raw in
            Result { () throws(RequestError) in try unsafe check(raw.span) }
        }
        try outcome.get()
    }

    /// As ``check(eventType:)``, by bytes.
    static func check(_ bytes: Span<UInt8>) throws(RequestError) {
        guard (1...CommandDecoder.maximumTypeBytes).contains(bytes.count) else {
            throw RequestError(.badRequest, "data.type is not 1 to \(CommandDecoder.maximumTypeBytes) bytes")
        }
        guard contains(bytes) else { return }
        throw RequestError(.reservedType, "the type \(String(copying: bytes)) is the protocol's own")
    }
}
