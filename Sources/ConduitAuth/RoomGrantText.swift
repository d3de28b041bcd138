public import ConduitCore

// Rights as people write them in settings and flags.
extension RoomRights.Grant {
    /// Reads `chat:*=join+publish`; a pattern alone grants everything. Commas do for `+` too.
    ///
    /// `nil` when a right is unknown or the pattern can't stand for a room's name.
    public init?(text: String) {
        guard let mark = text.lastIndex(of: "=") else {
            guard Self.isPattern(text) else { return nil }
            self.init(text, .all)
            return
        }
        let pattern = String(text[..<mark])
        var rights: RoomRights.Rights = []
        for name in text[text.index(after: mark)...].split(whereSeparator: { $0 == "+" || $0 == "," }) {
            guard let right = RoomRights.Rights(name: String(name)) else { return nil }
            rights.formUnion(right)
        }
        guard Self.isPattern(pattern) else { return nil }
        self.init(pattern, rights)
    }

    /// Whether `text` can be a pattern: not longer than twice a room's name, without control characters.
    package static func isPattern(_ text: String) -> Bool {
        (1...510).contains(text.utf8.count) && !text.containsControlCharacter
    }
}

extension RoomRights {
    /// The rights of a list of texts as ``Grant/init(text:)`` reads them; `nil` when one is wrong.
    public init?(texts: [String]) {
        var grants: [Grant] = []
        for text in texts {
            guard let grant = Grant(text: text) else { return nil }
            grants.append(grant)
        }
        self.init(grants)
    }

    /// Whether everything in every room is granted, so that nobody need ask.
    package var grantsEverything: Bool { grants.contains { $0.pattern == "*" && $0.rights == .all } }
}
