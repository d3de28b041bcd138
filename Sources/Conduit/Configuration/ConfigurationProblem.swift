import ConduitCore
import ConduitRedis

/// One thing that is wrong with a configuration: which setting, where it was said, and what is allowed.
public struct ConfigurationProblem: Hashable, Sendable, CustomStringConvertible {
    /// The setting, or what stands in its place.
    public let key: String
    /// `file conduit.yaml`, `environment CONDUIT_HTTP_PORT`, `--port`.
    public let source: String
    /// What is wrong and what is allowed. Never the value of a secret.
    public let message: String

    package init(key: String, source: String, message: String) {
        self.key = key
        self.source = source
        self.message = message
    }

    /// One line.
    public var description: String { "\(key) (\(source)): \(message)" }
}

/// Everything that is wrong with a configuration, found in one reading.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// At least one.
    public let problems: [ConfigurationProblem]

    package init(problems: [ConfigurationProblem]) { self.problems = problems }

    /// One line a problem.
    public var description: String { problems.map(\.description).joined(separator: "\n") }
}

extension ConfigurationKey {
    /// What to say of a value that isn't allowed; a secret's value is not repeated.
    package func complaint(about raw: RawValue) -> String {
        let shown: String
        switch raw {
        case .text(let text) where name == "redis.url": shown = Self.redisComplaint(text)
        case .list(let items) where name == "redis.url": shown = Self.redisComplaint(items.joined(separator: ","))
        case _ where isSecret: shown = "this value is not allowed"
        case .text(let text): shown = Self.quoted(text) + " is not allowed"
        case .list(let items): shown = "[" + items.map(Self.quoted).joined(separator: ", ") + "] is not allowed"
        }
        return shown + "; allowed: " + allowed
    }

    /// Says which part of a URL is wrong; the words of `RedisURLError` never repeat the URL.
    private static func redisComplaint(_ text: String) -> String {
        do throws(RedisURLError) {
            _ = try RedisURL.list(text)
            return "this value is too long"
        } catch {
            return "\(error)"
        }
    }

    /// In quotes, on one line, at most 80 characters.
    package static func quoted(_ text: String) -> String {
        let short = text.count > 80 ? text.prefix(80) + "…" : text[...]
        return String(short).debugDescription
    }

    /// The setting's name that somebody who wrote `text` has probably meant.
    package static func nearest(to text: String, among names: [String]) -> String? {
        let limit = max(2, text.count / 4)
        let best = names.map { (name: $0, distance: distance(text, $0)) }.min { $0.distance < $1.distance }
        return best.flatMap { $0.distance <= limit ? $0.name : nil }
    }

    /// Insertions, deletions and replacements of bytes that lead from one text to the other.
    private static func distance(_ left: String, _ right: String) -> Int {
        let columns = Array(right.utf8)
        var row = Array(0...columns.count)
        for (index, byte) in left.utf8.prefix(256).enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in columns.indices {
                let replaced = diagonal + (byte == columns[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, row[column] + 1, diagonal + 1)
            }
        }
        return row.last ?? 0
    }
}
