import ConduitCore
import ConduitHub
import ConduitWire
import NIOCore

/// The body of a POST, taken apart and checked. The payload's bytes are passed on as they came.
struct AdminCommand: Sendable {
    let target: AdminTarget
    let type: String
    let payload: RawJSON

    /// Reads the body of a route.
    init(_ body: ByteBuffer, for route: AdminRoute) throws(AdminError) {
        let fields = try Self.fields(body)
        for (name, _) in fields where !Self.names(of: route).contains(name) {
            throw AdminError.badRequest(
                "\(name) is not known here; allowed: \(Self.names(of: route).joined(separator: ", "))")
        }
        func text(_ name: String) throws(AdminError) -> String? {
            guard let token = fields[name] else { return nil }
            guard token.kind == .string else { throw AdminError.badRequest("\(name) is not a string") }
            return body.text(of: token)
        }
        switch route {
        case .publish:
            guard let name = try text("room") else { throw AdminError.badRequest("room is missing") }
            guard let room = RoomName(name) else { throw AdminError.badRequest("room is not a room's name") }
            target = .room(room)
        case .send, .disconnect, .kick:
            switch (try text("user"), try text("client")) {
            case (let name?, nil):
                guard let user = UserID(name) else { throw AdminError.badRequest("user is not a user's id") }
                target = .user(user)
            case (nil, let name?):
                guard let client = ClientID(name) else { throw AdminError.badRequest("client is not a client's id") }
                target = .client(client)
            case (nil, nil), (.some, .some): throw AdminError.badRequest("give either user or client")
            }
        default: target = .everybody
        }
        payload = fields["payload"].map { RawJSON(validated: body.slice($0.range)) } ?? .null
        switch route {
        case .disconnect, .kick:
            type = ""
            return
        default: break
        }
        guard let name = try text("type") else { throw AdminError.badRequest("type is missing") }
        do {
            try ReservedTypes.check(eventType: name)
        } catch {
            throw AdminError(status: 400, code: error.code.rawValue, message: error.message)
        }
        type = name
    }

    private static func names(of route: AdminRoute) -> [String] {
        switch route {
        case .publish: ["room", "type", "payload"]
        case .send: ["user", "client", "type", "payload"]
        case .disconnect, .kick: ["user", "client"]
        default: ["type", "payload"]
        }
    }

    /// The members of the one JSON object that the body must be.
    static func fields(_ body: ByteBuffer) throws(AdminError) -> [String: JSONToken] {
        let bytes = body.readableBytesUInt8Span
        guard UTF8Validator.isValid(bytes) else { throw AdminError.badRequest("the body is not UTF-8") }
        var scanner = JSONScanner()
        var fields: [String: JSONToken] = [:]
        do throws(JSONError) {
            try scanner.enterObject(bytes)
            while let key = try scanner.nextKey(bytes, isFirst: fields.isEmpty) {
                let name = body.text(of: key)
                guard fields.count < 16, fields[name] == nil else {
                    throw JSONError(message: "a field stands twice, or there are too many", offset: scanner.offset)
                }
                fields[name] = try scanner.value(bytes, depth: 1)
            }
            try scanner.end(bytes)
        } catch {
            throw AdminError.badRequest("the body is not a JSON object: \(error.message) at byte \(error.offset)")
        }
        return fields
    }
}
