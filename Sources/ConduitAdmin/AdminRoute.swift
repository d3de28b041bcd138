import ConduitCore

/// What a request is for, with what its path says, decoded and checked. ``AdminOperation`` has the paths.
enum AdminRoute: Hashable, Sendable {
    /// The dashboard.
    case page
    case metrics
    case live
    case ready
    case document
    case cluster
    case nodes
    case node(NodeID)
    case rooms
    case room(RoomName)
    case presence(RoomName)
    case series
    case events
    case history(RoomName)
    case clients
    case client(ClientID)
    case user(UserID)
    case publish
    case broadcast
    case send
    case disconnect
    case kick(RoomName)
    case revoke
    case drain(NodeID)
    case rebalance

    // MARK: Parts of a path

    static func node(_ text: String) throws(AdminError) -> NodeID {
        guard let node = percentDecoded(text).flatMap({ NodeID($0) }) else {
            throw AdminError.badRequest("the node's name is not well-formed")
        }
        return node
    }

    static func room(_ text: String) throws(AdminError) -> RoomName {
        guard let room = percentDecoded(text).flatMap({ RoomName($0) }) else {
            throw AdminError.badRequest(
                "a room's name is 1 to 255 bytes of UTF-8 without control characters, percent-encoded in a path")
        }
        return room
    }

    static func client(_ text: String) throws(AdminError) -> ClientID {
        guard let client = percentDecoded(text).flatMap({ ClientID($0) }) else {
            throw AdminError.badRequest("the client's id is not well-formed")
        }
        return client
    }

    static func user(_ text: String) throws(AdminError) -> UserID {
        guard let user = percentDecoded(text).flatMap({ UserID($0) }) else {
            throw AdminError.badRequest(
                "a user's id is 1 to 255 bytes of UTF-8 without control characters, percent-encoded in a path")
        }
        return user
    }

    /// `nil` when a `%` has no two digits behind it or the result is not UTF-8.
    static func percentDecoded(_ text: some StringProtocol) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst()?.hexDigitValue, let low = rest.popFirst()?.hexDigitValue else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
