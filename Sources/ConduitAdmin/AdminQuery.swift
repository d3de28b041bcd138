import ConduitCore
import ConduitWire

/// The query of a request, taken apart and checked: only what the operation knows, each once.
struct AdminQuery {
    private(set) var values: [String: String] = [:]

    /// Reads `text`, what stands behind the `?`.
    init(_ text: Substring?, of operation: AdminOperation) throws(AdminError) {
        for pair in (text ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(parts[0]), let value = Self.decoded(parts.count > 1 ? parts[1] : "") else {
                throw AdminError.badRequest("the query is not well-formed")
            }
            let known = operation.parameters.map(\.name)
            guard known.contains(name) else {
                let allowed = known.isEmpty ? "nothing" : known.joined(separator: ", ")
                throw AdminError.badRequest("the query has something that is not known here; allowed: \(allowed)")
            }
            guard values.updateValue(value, forKey: name) == nil else {
                throw AdminError.badRequest("\(name) stands twice in the query")
            }
        }
    }

    /// As forms write it: `+` is a space.
    private static func decoded(_ text: Substring) -> String? {
        AdminRoute.percentDecoded(String(decoding: text.utf8.map { $0 == 0x2B ? 0x20 : $0 }, as: UTF8.self))
    }

    subscript(name: String) -> String? { values[name] }

    func limit() throws(AdminError) -> Int {
        guard let text = values["limit"] else { return 100 }
        guard let limit = Int(text), (1...1000).contains(limit), !text.hasPrefix("+") else {
            throw AdminError.badRequest("limit is not a whole number from 1 to 1000")
        }
        return limit
    }

    /// A text that is searched for.
    func text(_ name: String) throws(AdminError) -> String? {
        guard let text = values[name] else { return nil }
        guard text.unicodeScalars.count <= 255 else {
            throw AdminError.badRequest("\(name) is longer than 255 characters")
        }
        return text
    }

    /// A value that `make` accepts, or nothing.
    func value<Value>(_ name: String, _ make: (String) -> Value?) throws(AdminError) -> Value? {
        guard let text = values[name] else { return nil }
        guard let value = make(text) else { throw AdminError.badRequest("\(name) is not well-formed") }
        return value
    }

    func rooms() throws(AdminError) -> RoomSearch {
        var search = RoomSearch()
        search.text = try text("search") ?? ""
        search.namespace = try text("namespace")
        search.limit = try limit()
        switch values["sort"] {
        case nil, "name": break
        case "members": search.byMembers = true
        default: throw AdminError.badRequest("sort is neither name nor members")
        }
        search.after = try value("cursor", RoomPlace.init(cursor:))
        return search
    }

    func clients() throws(AdminError) -> ClientSearch {
        var search = ClientSearch()
        search.text = try text("search") ?? ""
        search.user = try value("user") { UserID($0) }
        search.room = try value("room") { RoomName($0) }
        search.limit = try limit()
        search.after = try value("cursor") { ClientID($0) }
        return search
    }

    /// Behind which message of a log to read: of the log as it is now where no epoch is named, from the beginning of an
    /// epoch where only that is.
    func since() throws(AdminError) -> RecoveryPoint? {
        let epoch = values["epoch"]
        if let epoch, !(1...64).contains(epoch.unicodeScalars.count) {
            throw AdminError.badRequest("epoch is not 1 to 64 characters")
        }
        guard let text = values["offset"] else { return epoch.map { RecoveryPoint(epoch: $0, offset: 0) } }
        guard let offset = UInt64(text), offset <= 9_007_199_254_740_991, !text.hasPrefix("+") else {
            throw AdminError.badRequest("offset is not a whole number up to 9007199254740991")
        }
        return RecoveryPoint(epoch: epoch ?? "", offset: offset)
    }
}

extension RoomPlace {
    /// As answers show it: the key, `:`, the room.
    package var cursor: String { "\(key):\(room.rawValue)" }

    /// Reads what ``cursor`` wrote.
    package init?(cursor: String) {
        let digits = cursor.utf8.prefix { (0x30...0x39).contains($0) }
        let rest = cursor.utf8.dropFirst(digits.count)
        guard (1...9).contains(digits.count), let key = Int(Substring(digits)), rest.first == UInt8(ascii: ":"),
            let room = RoomName(Substring(rest.dropFirst()))
        else { return nil }
        self.init(key: key, room: room)
    }
}
