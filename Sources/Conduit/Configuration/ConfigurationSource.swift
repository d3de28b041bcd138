import ConduitCore
import Configuration
import Foundation
import Synchronization

/// One place that settings come from: it answers by key, and knows which other names it was given.
///
/// The parsing is swift-configuration's. Values are asked for as text, because this house has kinds that it
/// doesn't know (durations with units, ranges), and because a problem must name the source that it came from.
package struct ConfigurationSource: Sendable {
    /// What is given for a key; `nil` when nothing is.
    package let value: @Sendable (ConfigurationKey) -> RawValue?
    /// How to name the source of a key in a message.
    package let name: @Sendable (ConfigurationKey) -> String
    /// Names that are no settings.
    package let strangers: [ConfigurationProblem]
    /// The namespaces of rooms that have settings here.
    package let namespaces: Set<String>

    /// What the command line says: values by key, and the flag that each came from.
    package static func overrides(_ overrides: [ConfigurationOverride]) -> ConfigurationSource {
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        var flags: [String: String] = [:]
        var strangers: [ConfigurationProblem] = []
        var namespaces: Set<String> = []
        for override in overrides {
            guard let key = ConfigurationKey.named(override.key) else {
                strangers.append(
                    stranger(
                        override.key, in: override.source, names: ConfigurationKey.candidates(for: override.key)))
                continue
            }
            if let namespace = key.namespace { namespaces.insert(namespace) }
            values[key.absolute] = ConfigValue(.string(override.value), isSecret: key.isSecret)
            flags[key.name] = override.source
        }
        let provider = InMemoryProvider(name: "overrides", values: values)
        let sources = flags
        return ConfigurationSource(
            value: { key in text(of: key.absolute, in: provider.snapshot()) },
            name: { sources[$0.name] ?? "override" }, strangers: strangers, namespaces: namespaces)
    }

    /// The `CONDUIT_…` variables of an environment.
    package static func environment(_ variables: [String: String]) -> ConfigurationSource {
        let provider = EnvironmentVariablesProvider(environmentVariables: variables)
        var known: [String: ConfigurationKey] = [:]
        var strangers: [ConfigurationProblem] = []
        for name in variables.keys.sorted() where name.hasPrefix("CONDUIT_") {
            if let key = ConfigurationKey.variable(name) {
                known[name] = key
            } else if name != configurationFileVariable, !isServiceLink(name, value: variables[name] ?? "") {
                let names = ConfigurationKey.candidates(forVariable: name)
                strangers.append(stranger(name, in: "environment", names: names.sorted()))
            }
        }
        // Two namespaces may read the same as a variable (`live-chat`, `live_chat`): it is for the one that it names.
        let named = known
        return ConfigurationSource(
            value: { key in
                guard named[key.environmentName]?.name == key.name else { return nil }
                if key.namespace != nil { return variables[key.environmentName].map(RawValue.text) }
                return text(of: AbsoluteConfigKey(["conduit"] + key.components), in: provider.snapshot())
            },
            name: { "environment " + $0.environmentName }, strangers: strangers,
            namespaces: Set(named.values.compactMap(\.namespace)))
    }

    /// Names the configuration file where `--config` doesn't; not a setting itself.
    package static let configurationFileVariable = "CONDUIT_CONFIG"

    /// Kubernetes and old Docker links put such variables into every container beside a service called
    /// `conduit…`; nobody wrote them, so nobody is told off for them.
    private static func isServiceLink(_ name: String, value: String) -> Bool {
        if name.hasSuffix("_SERVICE_HOST") || name.contains("_SERVICE_PORT") { return true }
        if name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")) { return true }
        return name.hasSuffix("_PORT") && (value.hasPrefix("tcp://") || value.hasPrefix("udp://"))
    }

    /// A YAML or JSON file, by its extension.
    package static func file(_ path: String) throws(ConfigurationError) -> ConfigurationSource {
        let source = "file \(path)"
        func fail(_ message: String) -> ConfigurationError {
            ConfigurationError(problems: [ConfigurationProblem(key: "--config", source: source, message: message)])
        }
        let isJSON: Bool
        switch path.split(separator: ".").last?.lowercased() {
        case "yaml", "yml": isJSON = false
        case "json": isJSON = true
        default: throw fail("the name must end in .yaml, .yml or .json")
        }
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw fail("can't be read: " + reason(error))
        }
        guard data.count <= 1_048_576 else { throw fail("larger than 1 MB") }
        guard let content = String(data: data, encoding: .utf8) else { throw fail("not UTF-8 text") }
        let values: [String: RawValue]
        do {
            values = try isJSON ? json(data) : yaml(data, isEmpty: content.hasOnlyComments)
        } catch {
            throw fail("not good \(isJSON ? "JSON" : "YAML"): " + reason(error))
        }
        var namespaces: Set<String> = []
        var strangers: [ConfigurationProblem] = []
        for name in values.keys.sorted() {
            if let key = ConfigurationKey.named(name) {
                if let namespace = key.namespace { namespaces.insert(namespace) }
            } else {
                strangers.append(stranger(name, in: source, names: ConfigurationKey.candidates(for: name)))
            }
        }
        return ConfigurationSource(
            value: { values[$0.name] }, name: { _ in source }, strangers: strangers, namespaces: namespaces)
    }

    /// Every value of a YAML file. The snapshot tells its keys only to the closure that asks which are secret.
    private static func yaml(_ data: Data, isEmpty: Bool) throws -> [String: RawValue] {
        if isEmpty { return [:] }
        let keys = Collected<String>()
        let snapshot = try YAMLSnapshot(
            data: data.bytes, providerName: "file",
            parsingOptions: .init(
                secretsSpecifier: .dynamic { key, _ in
                    keys.append(key); return true
                }))
        var values: [String: RawValue] = [:]
        for name in keys.all {
            let key = AbsoluteConfigKey(name.split(separator: ".", omittingEmptySubsequences: false).map(String.init))
            let value = text(of: key, in: snapshot) ?? list(of: key, in: snapshot)
            // An explicit null is the same as saying nothing.
            if value != .text("null"), value != .text("~") { values[name] = value }
        }
        return values
    }

    /// Every value of a JSON file. The values are taken from the same closure, because the snapshot itself
    /// answers 1 for true and true for 5.
    private static func json(_ data: Data) throws -> [String: RawValue] {
        let collected = Collected<(String, RawValue)>()
        _ = try JSONSnapshot(
            data: data.bytes, providerName: "file",
            parsingOptions: .init(
                secretsSpecifier: .dynamic { key, value in
                    if let items = value as? [any Sendable] {
                        collected.append((key, .list(items.map(scalar))))
                    } else {
                        collected.append((key, .text(scalar(value))))
                    }
                    return true
                }))
        return Dictionary(collected.all, uniquingKeysWith: { _, last in last })
    }

    @Sendable private static func scalar(_ value: any Sendable) -> String {
        if let text = value as? String { return text }
        guard let number = value as? NSNumber else { return String(describing: value) }
        // Unsafe for the pointer to the type's encoding, a constant of Foundation: "c" is a Boolean.
        let isBoolean = unsafe number.objCType.pointee == CChar(UInt8(ascii: "c"))
        return isBoolean ? String(number.boolValue) : number.stringValue
    }

    private static func text(of key: AbsoluteConfigKey, in snapshot: any ConfigSnapshot) -> RawValue? {
        guard case .string(let text)? = try? snapshot.value(forKey: key, type: .string).value?.content else {
            return nil
        }
        return .text(text)
    }

    private static func list(of key: AbsoluteConfigKey, in snapshot: any ConfigSnapshot) -> RawValue? {
        guard case .stringArray(let items)? = try? snapshot.value(forKey: key, type: .stringArray).value?.content
        else { return nil }
        return .list(items)
    }

    private static func stranger(_ name: String, in source: String, names: [String]) -> ConfigurationProblem {
        let advice: String
        if let near = ConfigurationKey.nearest(to: name, among: names) {
            advice = "no such setting; did you mean \(near)?"
        } else {
            advice = ConfigurationKey.advice(on: name) ?? "no such setting; `conduit config` lists all"
        }
        return ConfigurationProblem(key: name.escapedForDisplay, source: source, message: advice)
    }

    /// What a parser complains of, without the lines of the file that it quotes: a secret may be in them.
    private static func reason(_ error: any Error) -> String {
        if let error = error as NSError?, let text = error.userInfo["NSDebugDescription"] as? String { return text }
        if let error = error as? CocoaError {
            switch error.code {
            case .fileReadNoSuchFile, .fileNoSuchFile: return "no such file"
            case .fileReadNoPermission: return "permission denied"
            default: break
            }
        }
        var words: [String] = []
        for line in String(describing: error).split(separator: "\n").prefix(3) {
            words.append(line.trimmed)
            if line.hasSuffix(":") || line.hasSuffix(".") { break }
        }
        let text = words.joined(separator: " ")
        return (text.hasSuffix(":") ? String(text.dropLast()) : text).escapedForDisplay
    }
}

/// A value that the command line sets.
public struct ConfigurationOverride: Hashable, Sendable {
    /// The setting, such as `http.port`.
    public let key: String
    /// Its value as one would write it.
    public let value: String
    /// Where it came from, for messages: `--port`.
    public let source: String

    /// Makes an override.
    public init(key: String, value: String, source: String) {
        self.key = key
        self.value = value
        self.source = source
    }
}

/// Collects what a closure sees.
private final class Collected<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    var all: [Element] { elements.withLock { $0 } }
    func append(_ element: Element) { elements.withLock { $0.append(element) } }
}

extension ConfigurationKey {
    fileprivate var absolute: AbsoluteConfigKey { AbsoluteConfigKey(components) }
}

extension String {
    /// Whether a YAML file says nothing at all.
    fileprivate var hasOnlyComments: Bool {
        split(whereSeparator: \.isNewline).allSatisfy { line in
            let text = line.trimmed
            return text.isEmpty || text.hasPrefix("#") || text == "---"
        }
    }

    /// On one line, without control characters.
    fileprivate var escapedForDisplay: String {
        containsControlCharacter ? String(debugDescription.dropFirst().dropLast()) : self
    }
}
