import ConduitCore

/// What becomes of which rooms' messages for members that read too slowly, by the bytes of a room's name.
struct SlowRules: Sendable {
    private let named: [(namespace: [UInt8], policy: RoomPolicy.Slow)]
    private let rest: RoomPolicy.Slow

    /// `nil` where no room has another rule than to close such members: then nobody asks.
    ///
    /// - Parameter always: makes rules all the same, for clients for whom something waits by earlier ones.
    init?(_ policies: RoomPolicies, always: Bool = false) {
        self.rest = policies.rest.slow
        self.named = policies.namespaces.map { (Array($0.key.utf8), $0.value.slow) }
        guard always || rest != .disconnect || named.contains(where: { $0.policy != .disconnect }) else { return nil }
    }

    /// The rule for a room, whose name is written as in JSON. No namespace needs escapes there.
    func policy(ofRoom name: Span<UInt8>) -> RoomPolicy.Slow {
        for (namespace, policy) in named {
            guard name.count > namespace.count, name[namespace.count] == UInt8(ascii: ":") else { continue }
            var isSame = true
            for index in namespace.indices where namespace[index] != name[index] { isSame = false }
            if isSame { return policy }
        }
        return rest
    }
}
