/// The members of one roster, each kept in 48 bytes and its strings: the client's id is the key and nothing else, and
/// the node is read out of it.
struct MemberTable: Sendable {
    private struct Rest: Sendable {
        var user: UserID?
        var joinedAt: Int64
        var info: [UInt8]
    }

    private var rests: [ClientID: Rest] = [:]

    /// How many there are.
    var count: Int { rests.count }

    /// All of them, made while one walks.
    var all: some Sequence<Member> { rests.lazy.compactMap { Self.member($0.key, $0.value) } }

    subscript(client: ClientID) -> Member? { rests[client].flatMap { Self.member(client, $0) } }

    /// Adds a member or replaces it, and returns what was there. Its id must be one of its node's.
    mutating func insert(_ member: Member) -> Member? {
        let rest = Rest(user: member.user, joinedAt: member.joinedAt, info: member.info)
        return rests.updateValue(rest, forKey: member.client).flatMap { Self.member(member.client, $0) }
    }

    mutating func remove(_ client: ClientID) -> Member? {
        rests.removeValue(forKey: client).flatMap { Self.member(client, $0) }
    }

    private static func member(_ client: ClientID, _ rest: Rest) -> Member? {
        client.node.map {
            Member(client: client, user: rest.user, node: $0, joinedAt: rest.joinedAt, info: rest.info)
        }
    }
}
