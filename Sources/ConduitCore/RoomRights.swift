/// What a client may do with rooms, by patterns of their names: the rights that a token grants.
///
/// A pattern is a room's name in which `*` stands for any run of bytes, none too; `\` before a character takes it
/// literally. Rights of all patterns that match add up.
public struct RoomRights: Hashable, Sendable {
    /// Things to do with a room.
    public struct Rights: OptionSet, Hashable, Sendable {
        /// One bit a right.
        public let rawValue: UInt8

        /// From bits.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Be a member.
        public static let join = Rights(rawValue: 1)
        /// Send to it, as far as the namespace's `publish` lets its kind of client.
        public static let publish = Rights(rawValue: 2)
        /// Read its roster, and be told of changes.
        public static let presence = Rights(rawValue: 4)
        /// Read what it has kept, and resume.
        public static let history = Rights(rawValue: 8)
        /// All of them.
        public static let all: Rights = [.join, .publish, .presence, .history]

        /// The right of a name: `join`, `publish`, `presence`, `history`; `nil` for others.
        public init?(name: String) {
            switch name {
            case "join": self = .join
            case "publish": self = .publish
            case "presence": self = .presence
            case "history": self = .history
            default: return nil
            }
        }
    }

    /// One pattern and what it grants.
    public struct Grant: Hashable, Sendable {
        /// The pattern, as it was written.
        public let pattern: String
        /// What it grants.
        public let rights: Rights

        /// A grant.
        /// Grants rights in the rooms that fit a pattern.
        public init(_ pattern: String, _ rights: Rights) {
            self.pattern = pattern
            self.rights = rights
        }
    }

    /// The grants, in no order that matters.
    public let grants: [Grant]

    /// Only what the grants say.
    public init(_ grants: [Grant]) { self.grants = grants }

    /// Everything in every room.
    public static let all = RoomRights([Grant("*", .all)])
    /// Nothing.
    public static let none = RoomRights([])

    /// Whether all of `rights` are granted for a room.
    public func allows(_ rights: Rights, in room: RoomName) -> Bool { granted(in: room).isSuperset(of: rights) }

    /// What is granted for a room. Looks at every pattern: remember the answer where it is asked often.
    public func granted(in room: RoomName) -> Rights {
        var granted: Rights = []
        for grant in grants where !grant.rights.isSubset(of: granted) {
            if grant.pattern == "*" || Self.matches(grant.pattern.utf8, room.rawValue.utf8) {
                granted.formUnion(grant.rights)
            }
        }
        return granted
    }

    /// Whether a name fits a pattern. Walks back to the last `*` only, so no pattern takes more than length × length
    /// steps.
    static func matches(_ pattern: String.UTF8View, _ name: String.UTF8View) -> Bool {
        let (star, escape) = (UInt8(ascii: "*"), UInt8(ascii: "\\"))
        var (place, position) = (pattern.startIndex, name.startIndex)
        var retry: (pattern: String.Index, name: String.Index)?
        while true {
            if place < pattern.endIndex, pattern[place] == star {
                place = pattern.index(after: place)
                if place == pattern.endIndex { return true }
                retry = (place, position)
                continue
            }
            if position == name.endIndex {
                if place == pattern.endIndex { return true }
            } else if place < pattern.endIndex {
                var literal = place
                if pattern[place] == escape, pattern.index(after: place) < pattern.endIndex {
                    literal = pattern.index(after: place)
                }
                if pattern[literal] == name[position] {
                    place = pattern.index(after: literal)
                    position = name.index(after: position)
                    continue
                }
            }
            guard let back = retry, back.name < name.endIndex else { return false }
            let next = name.index(after: back.name)
            retry = (back.pattern, next)
            (place, position) = (back.pattern, next)
        }
    }
}
