/// The namespaces that figures are told apart by: as many as are configured, and two more, whatever clients call their rooms.
///
/// Rooms without a `:` in their name are in the namespace of no name; those of namespaces without settings of their own
/// share ``other``.
public struct RoomNamespaces: Hashable, Sendable {
    /// What namespaces without settings go by.
    public static let other = "other"

    /// The names, by number.
    public let names: [String]
    private let numbers: [String: Int]
    private let others: Int

    /// The namespaces that have a policy, and the two that always are there.
    public init(_ policies: RoomPolicies = RoomPolicies()) {
        var names = [""]
        names += policies.namespaces.keys.filter { !$0.isEmpty && $0 != Self.other }.sorted()
        names.append(Self.other)
        self.names = names
        self.numbers = Dictionary(names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        self.others = names.count - 1
    }

    /// The number of a room's namespace.
    public func number(of room: RoomName) -> Int {
        guard let namespace = room.namespace else { return 0 }
        // What only looks like a namespace's name is another one: names are bytes.
        guard let number = numbers[String(namespace)], names[number].utf8.elementsEqual(namespace.utf8) else {
            return others
        }
        return number
    }
}
