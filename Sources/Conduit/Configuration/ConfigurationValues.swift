/// The value of every setting after all sources were read, and everything that was wrong with them.
package struct ConfigurationValues: Sendable, Equatable {
    private var values: [String: ConfigurationValue] = [:]
    private var origins: [String: String] = [:]
    private var faulty: Set<String> = []
    /// What is wrong so far.
    package private(set) var problems: [ConfigurationProblem] = []
    /// The namespaces of rooms that have settings of their own, sorted.
    package private(set) var namespaces: [String]

    /// Reads all settings from sources, the strongest first. Values that a stronger source hides are checked too.
    package init(sources: [ConfigurationSource]) {
        problems = sources.flatMap(\.strangers)
        namespaces = Set(sources.flatMap(\.namespaces)).subtracting([ConfigurationKey.defaultNamespace]).sorted()
        for key in ConfigurationKey.plain {
            values[key.name] = key.parse(.text(key.defaultText == "[]" ? "" : key.defaultText))
            read(key, from: sources)
        }
        for namespace in namespaces {
            for pattern in ConfigurationKey.patterns {
                let key = pattern.setting(of: namespace)
                values[key.name] = values[pattern.setting(of: ConfigurationKey.defaultNamespace).name]
                read(key, from: sources)
            }
        }
    }

    private mutating func read(_ key: ConfigurationKey, from sources: [ConfigurationSource]) {
        for source in sources.reversed() {
            guard let raw = source.value(key) else { continue }
            let origin = source.name(key)
            guard let value = key.parse(raw) else {
                faulty.insert(key.name)
                problems.append(ConfigurationProblem(key: key.name, source: origin, message: key.complaint(about: raw)))
                continue
            }
            values[key.name] = value
            origins[key.name] = origin
        }
    }

    /// Notes that a value doesn't fit with others. Said only when each of `keys` is in order by itself.
    package mutating func contradiction(_ keys: String..., message: String) {
        guard let first = keys.first, faulty.isDisjoint(with: keys) else { return }
        // The first key that was set by somebody is the one to look at.
        let blamed = keys.first { origins[$0] != nil } ?? first
        problems.append(ConfigurationProblem(key: blamed, source: origin(blamed), message: message))
    }

    /// Where the value of a setting came from.
    package func origin(_ name: String) -> String { origins[name] ?? "default" }

    /// Whether somebody set it.
    package func isSet(_ name: String) -> Bool { origins[name] != nil }

    /// A whole number.
    package func integer(_ name: String) -> Int {
        guard case .integer(let value)? = values[name] else { preconditionFailure("\(name) is no integer") }
        return value
    }

    /// A duration.
    package func milliseconds(_ name: String) -> Int {
        guard case .milliseconds(let value)? = values[name] else { preconditionFailure("\(name) is no duration") }
        return value
    }

    /// A switch.
    package func boolean(_ name: String) -> Bool {
        guard case .boolean(let value)? = values[name] else { preconditionFailure("\(name) is no boolean") }
        return value
    }

    /// Text or a choice.
    package func text(_ name: String) -> String {
        guard case .text(let value)? = values[name] else { preconditionFailure("\(name) is no text") }
        return value
    }

    /// Text that isn't empty.
    package func given(_ name: String) -> String? {
        let value = text(name)
        return value.isEmpty ? nil : value
    }

    /// A list.
    package func list(_ name: String) -> [String] {
        guard case .list(let value)? = values[name] else { preconditionFailure("\(name) is no list") }
        return value
    }

    /// As an operator writes it; secrets are hidden.
    package func shown(_ key: ConfigurationKey) -> String {
        guard let value = values[key.name] else { return "" }
        switch value {
        case .text(let text) where key.isSecret: return text.isEmpty ? "" : "(hidden)"
        case .text(let text): return text
        case .integer(let number): return String(number)
        case .milliseconds(let number): return DurationText.write(number)
        case .boolean(let flag): return String(flag)
        case .list(let items): return items.joined(separator: ",")
        }
    }
}

// Two readings beside each other.
extension ConfigurationValues {
    /// What holds for a setting, also of a namespace that isn't named here: what all other rooms have.
    private func value(of key: ConfigurationKey) -> ConfigurationValue? {
        if let value = values[key.name] { return value }
        guard key.namespace != nil, let last = key.components.last else { return nil }
        return values["rooms.\(ConfigurationKey.defaultNamespace).\(last)"]
    }

    /// Every setting of both.
    private func keys(with other: ConfigurationValues) -> [ConfigurationKey] {
        let all = Set(namespaces + other.namespaces)
        return ConfigurationKey.plain
            + all.flatMap { namespace in ConfigurationKey.patterns.map { $0.setting(of: namespace) } }
    }

    /// The names of settings that have another value there.
    package func differences(from other: ConfigurationValues) -> [String] {
        keys(with: other).filter { value(of: $0) != other.value(of: $0) }.map(\.name)
    }

    /// The names of settings that somebody has set and that a running node doesn't take over.
    package var setForGood: [String] {
        origins.keys.sorted().filter { ConfigurationKey.named($0)?.isReloadable == false }
    }

    /// The same with the values of some settings taken from another reading.
    package func replacing(_ names: [String], from other: ConfigurationValues) -> ConfigurationValues {
        var result = self
        let names = Set(names)
        result.namespaces = Set(namespaces + other.namespaces).sorted()
        for key in keys(with: other) {
            let source = names.contains(key.name) ? other : self
            result.values[key.name] = source.value(of: key)
            result.origins[key.name] = source.origins[key.name]
        }
        return result
    }
}
