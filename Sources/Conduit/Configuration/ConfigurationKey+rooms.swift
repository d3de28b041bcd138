import ConduitCore

// Settings that there are once for each namespace of rooms. The table has them as patterns, with `<namespace>` where
// the namespace's name goes; a source that names a namespace makes settings of them.
extension ConfigurationKey {
    /// Stands in a pattern for the name of a namespace.
    package static let placeholder = "<namespace>"
    /// In the place of a namespace: every room whose namespace has no settings of its own.
    package static let defaultNamespace = "default"

    static let rooms: [ConfigurationKey] = [
        ConfigurationKey(
            "rooms.<namespace>.mode", .choice(RoomPolicy.Mode.allCases.map(\.rawValue)), default: "fast",
            "Order of messages: fast delivers on the node first, ordered numbers and stores them in Redis first."),
        ConfigurationKey(
            "rooms.<namespace>.history-size", .integer(1...1_000_000), default: "1000",
            "Most messages that the log of an ordered room keeps."),
        ConfigurationKey(
            "rooms.<namespace>.history-age", .duration(1_000...604_800_000), default: "1h",
            "How long the log of an ordered room keeps a message."),
        ConfigurationKey(
            "rooms.<namespace>.recover-limit", .integer(0...100_000), default: "1000",
            "Most messages that a resume replays; a client that missed more is told limit."),
        ConfigurationKey(
            "rooms.<namespace>.presence", .choice(RoomPolicy.Presence.allCases.map(\.rawValue)), default: "full",
            "What is known of members: full is who, count is how many, off is nothing."),
        ConfigurationKey(
            "rooms.<namespace>.presence-grace", .duration(0...600_000), default: "0ms",
            "How long a member whose connection broke stays in the roster."),
        ConfigurationKey(
            "rooms.<namespace>.presence-members", .integer(0...10_000_000), default: "1000",
            "A room with more members tells how many there are, and no names."),
        ConfigurationKey(
            "rooms.<namespace>.publish", .choice(RoomPolicy.Publish.allCases.map(\.rawValue)), default: "anyone",
            "Which clients may send: members of the room, anyone or nobody."),
        ConfigurationKey(
            "rooms.<namespace>.slow", .choice(RoomPolicy.Slow.allCases.map(\.rawValue)), default: "disconnect",
            "Of messages that wait for a slow member: disconnect closes it with 3008, drop-oldest and drop-newest leave "
                + "out some, conflate keeps the newest of each key."),
        ConfigurationKey(
            "rooms.<namespace>.members", .integer(0...10_000_000), default: "0",
            "Most members of a room on one event loop of a node; 0 is limits.members-per-room."),
        ConfigurationKey(
            "rooms.<namespace>.inbox", .boolean, default: "false",
            "Whether messages to users wait in the ordered rooms of this namespace; for one namespace at most."),
    ]

    /// What the documents say of a group of settings.
    static let notes = [
        "rooms": "How rooms behave, by what stands before the first : of their name. default is for all rooms whose "
            + "namespace has no settings; a namespace takes from there what it leaves out. Names of namespaces are "
            + "\(allowedNamespace); in environment variables they are lower-case."
    ]

    static let allowedNamespace = "1 to 64 of A-Z a-z 0-9 _ -"

    /// Whether this stands for a setting of each namespace.
    package var isPattern: Bool { components.contains(Self.placeholder) }

    /// Every setting of its own and, for each pattern, the setting that holds for all other rooms.
    package static let plain: [ConfigurationKey] = all.map { $0.isPattern ? $0.setting(of: defaultNamespace) : $0 }

    /// The patterns.
    package static let patterns = all.filter(\.isPattern)

    /// The setting that this pattern stands for in a namespace.
    package func setting(of namespace: String) -> ConfigurationKey {
        let name = components.map { $0 == Self.placeholder ? namespace : $0 }.joined(separator: ".")
        return ConfigurationKey(name, kind, default: defaultText, secret: isSecret, namespace: namespace, summary)
    }

    /// Finds a setting by its name.
    package static func named(_ name: String) -> ConfigurationKey? {
        if let key = plain.first(where: { $0.name == name }) { return key }
        for pattern in patterns {
            guard let middle = middle(of: name, in: pattern.name), isNamespace(middle) else { continue }
            return pattern.setting(of: middle)
        }
        return nil
    }

    /// Finds a setting by its environment variable; the name of a namespace is lower-cased.
    package static func variable(_ variable: String) -> ConfigurationKey? {
        if let key = plain.first(where: { $0.environmentName == variable }) { return key }
        for pattern in patterns {
            guard let middle = middle(of: variable, in: pattern.environmentName) else { continue }
            let key = pattern.setting(of: middle.lowercased())
            if isNamespace(middle), key.environmentName == variable { return key }
        }
        return nil
    }

    /// What stands in a name for the placeholder of a pattern; `nil` when the rest differs.
    private static func middle(of name: String, in pattern: String) -> String? {
        guard let start = pattern.firstIndex(of: "<"), let end = pattern.firstIndex(of: ">") else { return nil }
        let before = pattern[..<start]
        let after = pattern[end...].dropFirst()
        guard name.utf8.count > before.utf8.count + after.utf8.count, name.hasPrefix(before), name.hasSuffix(after)
        else { return nil }
        return String(name.dropFirst(before.count).dropLast(after.count))
    }

    private static func isNamespace(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
                default: false
                }
            }
    }
}

// What to say of names that are no settings.
extension ConfigurationKey {
    /// Settings that somebody may have meant who wrote `name`, patterns with the namespace that stands there.
    package static func candidates(for name: String) -> [String] {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, isNamespace(parts[1]) else { return plain.map(\.name) }
        return plain.map(\.name) + patterns.map { $0.setting(of: parts[1]).name }
    }

    /// Variables that somebody may have meant who wrote `name`. Where the namespace ends can't be seen, so that each
    /// end is tried.
    package static func candidates(forVariable name: String) -> [String] {
        let words = name.split(separator: "_").prefix(12)
        guard words.count > 3 else { return plain.map(\.environmentName) }
        let namespaces = (3..<words.count).map { words[2..<$0].joined(separator: "_") }.filter(isNamespace)
        return plain.map(\.environmentName)
            + namespaces.flatMap { namespace in patterns.map { $0.setting(of: namespace).environmentName } }
    }

    /// Advice on a name that is no setting, where the table of settings alone doesn't explain it.
    package static func advice(on name: String) -> String? {
        if plain.contains(where: { $0.name.hasPrefix(name + ".") }) {
            return "this is a group of settings, not a setting"
        }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let first = parts.first, patterns.contains(where: { $0.components.first == first }) else { return nil }
        if parts.count == 2, isNamespace(parts[1]) { return "this is a group of settings, not a setting" }
        let namespace = parts.dropFirst().dropLast().joined(separator: ".")
        return isNamespace(namespace) ? nil : "a namespace's name is \(allowedNamespace)"
    }
}
