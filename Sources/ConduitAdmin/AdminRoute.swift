import ConduitCore

/// What a request is for: the method and path of the admin port's API, taken apart and checked.
enum AdminRoute: Hashable, Sendable {
    case metrics
    case live
    case ready
    case cluster
    case nodes
    case node(NodeID)
    case presence(RoomName)
    case publish
    case broadcast
    case send
    case disconnect
    case revoke
    case drain(NodeID)
    case rebalance

    var isHealth: Bool { self == .live || self == .ready }

    /// Finds the route of a path. Segments are split first and decoded after, so that a room's name may hold a `/`.
    static func find(method: String, path: String) throws(AdminError) -> AdminRoute {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        switch (parts.count, parts.first, parts.dropFirst().first) {
        case (1, "metrics", nil): return try get(method, .metrics)
        case (2, "health", "live"): return try get(method, .live)
        case (2, "health", "ready"): return try get(method, .ready)
        case (3..., "api", "v1"): return try api(method, Array(parts.dropFirst(2)))
        default: throw AdminError.notFound
        }
    }

    private static func api(_ method: String, _ parts: [String]) throws(AdminError) -> AdminRoute {
        switch (parts.count, parts[0]) {
        case (1, "cluster"): return try get(method, .cluster)
        case (1, "nodes"): return try get(method, .nodes)
        case (2, "nodes"):
            guard let text = percentDecoded(parts[1]), let id = NodeID(text) else {
                throw AdminError.badRequest("the node's name is not well-formed")
            }
            return try get(method, .node(id))
        case (3, "nodes") where parts[2] == "drain":
            guard let text = percentDecoded(parts[1]), let id = NodeID(text) else {
                throw AdminError.badRequest("the node's name is not well-formed")
            }
            return try post(method, .drain(id))
        case (3, "rooms") where parts[2] == "presence":
            guard let text = percentDecoded(parts[1]), let room = RoomName(text) else {
                throw AdminError.badRequest(
                    "a room's name is 1 to 255 bytes of UTF-8 without control characters, percent-encoded in a path")
            }
            return try get(method, .presence(room))
        case (1, "publish"): return try post(method, .publish)
        case (1, "broadcast"): return try post(method, .broadcast)
        case (1, "send"): return try post(method, .send)
        case (1, "disconnect"): return try post(method, .disconnect)
        case (1, "revoke"): return try post(method, .revoke)
        case (1, "rebalance"): return try post(method, .rebalance)
        default: throw AdminError.notFound
        }
    }

    private static func get(_ method: String, _ route: AdminRoute) throws(AdminError) -> AdminRoute {
        guard method == "GET" || method == "HEAD" else { throw AdminError.methodNotAllowed("GET, HEAD") }
        return route
    }

    private static func post(_ method: String, _ route: AdminRoute) throws(AdminError) -> AdminRoute {
        guard method == "POST" else { throw AdminError.methodNotAllowed("POST") }
        return route
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
            guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    /// The values of a query; the first of several counts.
    static func query(_ text: String?) throws(AdminError) -> [String: String] {
        var values: [String: String] = [:]
        for pair in (text ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = percentDecoded(parts[0]), let value = percentDecoded(parts.count > 1 ? parts[1] : "")
            else { throw AdminError.badRequest("the query is not well-formed") }
            if values[name] == nil { values[name] = value }
        }
        return values
    }
}
