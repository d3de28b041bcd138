import ConduitCore
package import ConduitGateway
import ConduitHub
import ConduitWire
import NIOCore

/// Reads what a token, or the application's server, says of a client. Strict: a claim that is not of its form refuses
/// the whole, since half of somebody's rights may be the wrong half.
package struct ClaimsReader: Sendable {
    /// Most patterns that may be given rights.
    static let maximumGrants = 256
    /// Most rooms that the server joins a client to.
    static let maximumRooms = 128
    /// Most entries of metadata.
    static let maximumMetadata = 64
    /// Largest presence info in bytes.
    static let maximumInfoBytes = 4096
    /// Longest text of a claim, in bytes.
    static let maximumTextBytes = 1024
    /// The last second of the year 9999.
    private static let latest = 253_402_300_799.0

    /// The members of the object.
    private let fields: [String: JSONValue]
    /// What the object is called in errors.
    private let noun: String

    package init(_ value: JSONValue, noun: String = "the token's") throws(AuthenticationError) {
        guard let fields = value.object else { throw AuthenticationError(.badClaims, "\(noun) claims are no object") }
        self.fields = fields
        self.noun = noun
    }

    private func wrong(_ name: String, _ what: String) -> AuthenticationError {
        AuthenticationError(.badClaims, "\(noun) \(name) \(what)")
    }

    private func value(_ name: String) -> JSONValue? {
        guard let value = fields[name], !value.isNull else { return nil }
        return value
    }

    // MARK: Registered claims

    /// A point in time, in milliseconds since 1970. Seconds there, with or without a fraction.
    package func time(_ name: String) throws(AuthenticationError) -> Int64? {
        guard let value = value(name) else { return nil }
        guard case .number(let seconds) = value.content, seconds >= 0, seconds <= Self.latest else {
            throw wrong(name, "is not a time in seconds since 1970")
        }
        return Int64((seconds * 1000).rounded(.down))
    }

    /// A text of 1 to 1024 bytes.
    package func text(_ name: String) throws(AuthenticationError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string, (1...Self.maximumTextBytes).contains(text.utf8.count) else {
            throw wrong(name, "is not a text of 1 to \(Self.maximumTextBytes) bytes")
        }
        return text
    }

    /// One text or several.
    package func texts(_ name: String) throws(AuthenticationError) -> [String] {
        guard let value = value(name) else { return [] }
        if let text = value.string { return [text] }
        guard case .array(let elements) = value.content, elements.count <= 64 else {
            throw wrong(name, "is neither a text nor a list of at most 64")
        }
        return try strings(elements, name)
    }

    private func strings(_ elements: [JSONValue], _ name: String) throws(AuthenticationError) -> [String] {
        var texts: [String] = []
        for element in elements {
            guard let text = element.string else { throw wrong(name, "has an element that is no text") }
            texts.append(text)
        }
        return texts
    }

    // MARK: Who

    /// The client, as the claims make it. `user` and `expiry` are the names of the two claims that a hook calls
    /// otherwise than a token.
    func identity(
        user userName: String, expiry: String, defaultRights: RoomRights?
    ) throws(AuthenticationError) -> Identity {
        var user: UserID?
        if let value = value(userName) {
            guard let text = value.string, let id = UserID(text) else {
                throw wrong(userName, "is not a user: 1 to 255 bytes without control characters")
            }
            user = id
        }
        var identity = Identity(
            user: user, info: try info(), metadata: try metadata(),
            mayBroadcastToEverybody: try flag("broadcast_all"), mayPublishWithoutJoining: try flag("publish_anywhere"),
            maySend: try flag("send", otherwise: true), rights: try rights() ?? defaultRights)
        if identity.rights?.grantsEverything == true { identity.rights = nil }
        identity.rooms = try rooms()
        identity.expiresAt = try time(expiry)
        identity.issuedAt = try time("iat")
        identity.tokenID = try tokenID()
        return identity
    }

    private func flag(_ name: String, otherwise absent: Bool = false) throws(AuthenticationError) -> Bool {
        guard let value = value(name) else { return absent }
        guard case .bool(let flag) = value.content else { throw wrong(name, "is not true or false") }
        return flag
    }

    private func tokenID() throws(AuthenticationError) -> String? {
        guard let id = try text("jti") else { return nil }
        guard id.utf8.count <= 255, !id.containsControlCharacter else {
            throw wrong("jti", "is not 1 to 255 bytes without control characters")
        }
        return id
    }

    private func info() throws(AuthenticationError) -> RawJSON? {
        guard let value = value("info") else { return nil }
        guard value.raw.readableBytes <= Self.maximumInfoBytes else {
            throw wrong("info", "is larger than \(Self.maximumInfoBytes) bytes")
        }
        // A copy: the rest of the token need not live as long as the client.
        return RawJSON(validated: ByteBuffer(bytes: value.raw.readableBytesView))
    }

    private func metadata() throws(AuthenticationError) -> [String: String] {
        guard let value = value("meta") else { return [:] }
        guard let entries = value.object, entries.count <= Self.maximumMetadata else {
            throw wrong("meta", "is not an object of at most \(Self.maximumMetadata) texts")
        }
        var metadata: [String: String] = [:]
        for (name, entry) in entries {
            guard let text = entry.string else { throw wrong("meta", "has a value that is no text") }
            metadata[name] = text
        }
        return metadata
    }

    private func rooms() throws(AuthenticationError) -> [RoomName] {
        guard let value = value("join") else { return [] }
        guard case .array(let elements) = value.content, elements.count <= Self.maximumRooms else {
            throw wrong("join", "is not a list of at most \(Self.maximumRooms) rooms")
        }
        var rooms: [RoomName] = []
        var seen: Set<RoomName> = []
        for text in try strings(elements, "join") {
            guard let room = RoomName(text) else { throw wrong("join", "has an element that is no room's name") }
            if seen.insert(room).inserted { rooms.append(room) }
        }
        return rooms
    }

    /// An object of patterns with lists of rights, or a list of patterns with all of them.
    private func rights() throws(AuthenticationError) -> RoomRights? {
        guard let value = value("rooms") else { return nil }
        var grants: [RoomRights.Grant] = []
        switch value.content {
        case .object(let members) where members.count <= Self.maximumGrants:
            // Sorted, so that the same token always makes the same list.
            for (pattern, list) in members.sorted(by: { $0.key < $1.key }) {
                guard case .array(let names) = list.content else {
                    throw wrong("rooms", "has a pattern without a list of rights")
                }
                var rights: RoomRights.Rights = []
                for name in try strings(names, "rooms") {
                    guard let right = RoomRights.Rights(name: name) else {
                        throw wrong("rooms", "grants something else than join, publish, presence and history")
                    }
                    rights.formUnion(right)
                }
                grants.append(.init(pattern, rights))
            }
        case .array(let elements) where elements.count <= Self.maximumGrants:
            grants = try strings(elements, "rooms").map { .init($0, .all) }
        default:
            throw wrong("rooms", "is neither an object nor a list of at most \(Self.maximumGrants) patterns")
        }
        for grant in grants where !RoomRights.Grant.isPattern(grant.pattern) {
            throw wrong("rooms", "has a pattern that is empty, too long or has control characters")
        }
        return RoomRights(grants)
    }
}
