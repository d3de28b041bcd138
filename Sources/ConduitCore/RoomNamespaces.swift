/// The namespaces that figures are told apart by: as many as are configured, and two more, whatever clients call their rooms.
///
/// Rooms without a `:` in their name are under ``none``; those of namespaces without settings of their own share ``other``.
/// Who has settings for namespaces of these very names shares them too.
public struct RoomNamespaces: Hashable, Sendable {
    /// What rooms without a namespace go by. Not the empty name: a label without a value is no label.
    public static let none = "none"
    /// What namespaces without settings go by.
    public static let other = "_other"

    /// The names, by number.
    public let names: [String]
    /// By parts of names, so that a look-up needs no copy.
    private let numbers: [Substring: Int]
    private let others: Int
    /// Whether no namespace has settings.
    private let isPlain: Bool

    /// The namespaces that have a policy, and the two that always are there.
    public init(_ policies: RoomPolicies = RoomPolicies()) {
        var names = [Self.none]
        names += policies.namespaces.keys.filter { !["", Self.none, Self.other].contains($0) }.sorted()
        names.append(Self.other)
        self.names = names
        self.numbers = Dictionary(names.enumerated().map { ($1[...], $0) }, uniquingKeysWith: { first, _ in first })
        self.others = names.count - 1
        self.isPlain = names.count == 2
    }

    /// The number of a room's namespace.
    public func number(of room: RoomName) -> Int {
        guard let namespace = room.namespace, !namespace.isEmpty else { return 0 }
        guard !isPlain else { return namespace == Self.none ? 0 : others }
        // What only looks like a namespace's name is another one: names are bytes.
        guard let number = numbers[namespace], names[number].utf8.elementsEqual(namespace.utf8) else {
            return others
        }
        return number
    }
}
