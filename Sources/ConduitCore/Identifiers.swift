// Names of the things that the house deals in. Each is checked once, where it enters.

/// Identifies one node of a cluster: 1–64 bytes of `A–Z a–z 0–9 . _ -`.
///
/// It is part of every ``ClientID`` of that node and of several Redis keys, so its alphabet is small.
public struct NodeID: Hashable, Sendable, CustomStringConvertible {
    /// The name as it is written in configuration, Redis and replies.
    public let rawValue: String

    /// Accepts a well-formed name only.
    public init?(_ text: some StringProtocol) {
        let bytes = text.utf8
        guard (1...64).contains(bytes.count), bytes.allSatisfy(Self.isAllowed) else { return nil }
        self.rawValue = String(text)
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }

    /// A fresh name, `node-` and eight letters or digits.
    public static func random(using generator: inout some RandomNumberGenerator) -> NodeID {
        NodeID(unchecked: "node-" + randomText(8, using: &generator))
    }

    private init(unchecked text: String) { self.rawValue = text }

    /// The name.
    public var description: String { rawValue }
}

/// Identifies one connection in the whole cluster: `<node id>.<20 random letters or digits>`.
///
/// The part before the last dot names the node that holds the client, so any node knows where to
/// relay a message for it; the rest (over 100 bits) can't be guessed.
public struct ClientID: Hashable, Sendable, CustomStringConvertible {
    /// The id as clients see it.
    public let rawValue: String

    /// Makes a new id on `node`.
    public init(node: NodeID, using generator: inout some RandomNumberGenerator) {
        self.rawValue = node.rawValue + "." + randomText(20, using: &generator)
    }

    /// Reads an id that somebody sent; `nil` when it can't be one.
    public init?(_ text: some StringProtocol) {
        guard let dot = text.lastIndex(of: "."), NodeID(text[..<dot]) != nil else { return nil }
        let tail = text[text.index(after: dot)...].utf8
        guard (1...64).contains(tail.count),
            tail.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) })
        else { return nil }
        self.rawValue = String(text)
    }

    /// The node that made this id.
    public var node: NodeID? {
        guard let dot = rawValue.lastIndex(of: ".") else { return nil }
        return NodeID(rawValue[..<dot])
    }

    /// The id.
    public var description: String { rawValue }
}

/// Identifies a user, who may hold several connections: 1–255 bytes without control characters.
public struct UserID: Hashable, Sendable, CustomStringConvertible {
    /// The id as the authentication handler gave it.
    public let rawValue: String

    /// Accepts a well-formed id only.
    public init?(_ text: some StringProtocol) {
        guard (1...255).contains(text.utf8.count), !text.containsControlCharacter else { return nil }
        self.rawValue = String(text)
    }

    /// The id.
    public var description: String { rawValue }
}

/// The name of a room: 1–255 bytes of UTF-8 without control characters; anything else is legal and inert.
public struct RoomName: Hashable, Sendable, CustomStringConvertible {
    /// The name as clients write it.
    public let rawValue: String

    /// Accepts a well-formed name only.
    public init?(_ text: some StringProtocol) {
        guard (1...255).contains(text.utf8.count), !text.containsControlCharacter else { return nil }
        self.rawValue = String(text)
    }

    /// What stands before the first `:`; `nil` when there is none.
    public var namespace: Substring? {
        // By bytes: a `:` and a combining mark behind it are one character, which is another one.
        rawValue.utf8.firstIndex(of: UInt8(ascii: ":")).map { rawValue[..<$0] }
    }

    /// The name.
    public var description: String { rawValue }
}

// Names are bytes: what looks alike and is written differently (é as one or two scalars) is not the same room or
// user, since Redis and the other languages of a cluster compare bytes. They are hashed by their bytes too: `String`
// hashes what looks alike alike, so that a stranger could fill a table with names of one hash.
extension RoomName {
    /// Whether both are written with the same bytes.
    public static func == (a: RoomName, b: RoomName) -> Bool { a.rawValue.hasSameBytes(as: b.rawValue) }

    /// Hashes the bytes.
    public func hash(into hasher: inout Hasher) { rawValue.hashBytes(into: &hasher) }
}

extension UserID {
    /// Whether both are written with the same bytes.
    public static func == (a: UserID, b: UserID) -> Bool { a.rawValue.hasSameBytes(as: b.rawValue) }

    /// Hashes the bytes.
    public func hash(into hasher: inout Hasher) { rawValue.hashBytes(into: &hasher) }
}

extension String {
    fileprivate func hashBytes(into hasher: inout Hasher) {
        var text = self
        // Unsafe for the pointer, which lives for the closure only.
        text.withUTF8 { bytes in unsafe hasher.combine(bytes: UnsafeRawBufferPointer(bytes)) }
        hasher.combine(0xFF as UInt8)
    }

    fileprivate func hasSameBytes(as other: String) -> Bool {
        let (a, b) = (utf8.span, other.utf8.span)
        guard a.count == b.count else { return false }
        for index in a.indices where a[index] != b[index] { return false }
        return true
    }
}

extension RoomName {
    /// A name written in source code. A literal that can't be a room's name is a mistake of the program.
    public init(literal: StaticString) {
        guard let room = RoomName("\(literal)") else { preconditionFailure("\(literal) is not a room's name") }
        self = room
    }
}

extension UserID {
    /// An id written in source code. A literal that can't be a user's id is a mistake of the program.
    public init(literal: StaticString) {
        guard let user = UserID("\(literal)") else { preconditionFailure("\(literal) is not a user's id") }
        self = user
    }
}

extension StringProtocol {
    /// Whether a character of Unicode's category Cc is in here (C0, DEL or C1).
    package var containsControlCharacter: Bool {
        unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
    }
}

/// `count` characters of `0–9 a–z`.
///
/// Eight are taken from one random number: the system's generator costs a system call each time. 36 to the power of 8 is
/// so far below 2 to the power of 64 that no character is likelier than another by a part in a million.
package func randomText(_ count: Int, using generator: inout some RandomNumberGenerator) -> String {
    var bits: UInt64 = 0
    var text: [UInt8] = []
    text.reserveCapacity(count)
    for index in 0..<count {
        if index % 8 == 0 { bits = generator.next() }
        let digit = UInt8(truncatingIfNeeded: bits % 36)
        text.append(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
        bits /= 36
    }
    return String(decoding: text, as: UTF8.self)
}
