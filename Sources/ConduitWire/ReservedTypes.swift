package import ConduitCore

/// The types of the protocol itself, which no application message may carry: nobody can forge a server's event.
package enum ReservedTypes {
    private static let names: Set<String> = [
        "ping", "pong", "echo", "status", "join_room", "room_joined", "leave_room", "room_left", "broadcast", "ack",
        "send", "presence", "presence_diff", "history", "refresh", "refreshed", "room_state", "reconnect", "error",
    ]

    /// Whether `type` belongs to the protocol. Strings that mean the same are the same, however they were escaped.
    package static func contains(_ type: String) -> Bool { names.contains(type) }

    /// Checks the type of an application's event: 1–255 bytes and not reserved.
    package static func check(eventType type: String) throws(RequestError) {
        guard (1...CommandDecoder.maximumTypeBytes).contains(type.utf8.count) else {
            throw RequestError(.badRequest, "data.type is not 1 to \(CommandDecoder.maximumTypeBytes) bytes")
        }
        guard !contains(type) else { throw RequestError(.reservedType, "the type \(type) is the protocol's own") }
    }
}
