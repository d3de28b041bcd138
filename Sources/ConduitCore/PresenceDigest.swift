/// How many members a node has in a room, and a number that two different sets of them hardly share.
///
/// A node tells the digest of its own members; who keeps them differently has missed something. The hash of a set is
/// the sum of its members' hashes, so that it can be kept while they come and go, in any order. Every node must hash
/// alike: this is FNV-1a over what a member is, mixed once more (`Hasher` differs from process to process). It finds
/// mistakes, not lies: a node speaks for its own members anyway.
package struct PresenceDigest: Hashable, Sendable {
    /// Members.
    package private(set) var count: Int
    /// The sum of their hashes.
    package private(set) var hash: UInt64

    /// Of no members, or as another node told it.
    package init(count: Int = 0, hash: UInt64 = 0) {
        self.count = count
        self.hash = hash
    }

    /// Of these members.
    package init(_ members: some Sequence<Member>) {
        self.init()
        for member in members { add(member) }
    }

    /// One member more.
    package mutating func add(_ member: Member) {
        count &+= 1
        hash &+= Self.hash(member)
    }

    /// One member less.
    package mutating func remove(_ member: Member) {
        count &-= 1
        hash &-= Self.hash(member)
    }

    private static func hash(_ member: Member) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func feed(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for byte in member.client.rawValue.utf8 { feed(byte) }
        // What no name holds stands between them.
        feed(0)
        if let user = member.user { for byte in user.rawValue.utf8 { feed(byte) } }
        feed(0)
        let time = UInt64(bitPattern: member.joinedAt)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { feed(UInt8(truncatingIfNeeded: time >> shift)) }
        for byte in member.info { feed(byte) }
        // Sums need all bits to depend on all bytes.
        hash ^= hash >> 32
        hash = hash &* 0xD6E8_FEB8_6659_FD93
        hash ^= hash >> 32
        return hash
    }
}
