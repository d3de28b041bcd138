import ArgumentParser
import Conduit

/// The flags that set up a node; every other setting is reached through `--set`, environment and file.
struct NodeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read settings from a YAML or JSON file.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("Address of the public port (http.host).", valueName: "address"))
    var host: String?

    @Option(help: ArgumentHelp("The public port, 0 for any free one (http.port).", valueName: "number"))
    var port: String?

    @Option(help: ArgumentHelp("Address of the admin port (admin.host).", valueName: "address"))
    var adminHost: String?

    @Option(help: ArgumentHelp("The admin port, 0 for any free one (admin.port).", valueName: "number"))
    var adminPort: String?

    @Option(help: ArgumentHelp("Redis that joins the nodes (redis.url).", valueName: "url"))
    var redisURL: String?

    @Option(help: ArgumentHelp("Name of this node (node.id).", valueName: "name"))
    var nodeID: String?

    @Option(help: ArgumentHelp("Least level of log lines (log.level).", valueName: "level"))
    var logLevel: String?

    @Option(help: ArgumentHelp("Set any setting; may be repeated.", valueName: "key=value"))
    var set: [String] = []

    mutating func validate() throws {
        for text in set where !text.contains("=") {
            throw ValidationError("--set takes key=value, such as --set http.path=/socket")
        }
    }

    /// What the flags say.
    var overrides: [ConfigurationOverride] {
        let flags: [(key: String, value: String?, flag: String)] = [
            ("http.host", host, "--host"), ("http.port", port, "--port"), ("admin.host", adminHost, "--admin-host"),
            ("admin.port", adminPort, "--admin-port"), ("redis.url", redisURL, "--redis-url"),
            ("node.id", nodeID, "--node-id"), ("log.level", logLevel, "--log-level"),
        ]
        let named = flags.compactMap { flag in
            flag.value.map { ConfigurationOverride(key: flag.key, value: $0, source: flag.flag) }
        }
        let others = set.map { text in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return ConfigurationOverride(key: String(parts[0]), value: String(parts[1]), source: "--set")
        }
        // The named flags are set last, so they win over a --set of the same key.
        return others + named
    }

    /// The settings as flags, environment and file say them now.
    func read() throws(ConfigurationError) -> NodeConfiguration {
        try NodeConfiguration.load(overrides: overrides, file: config)
    }

    /// The settings, or exit code 78 and a line for each problem.
    func load() throws -> NodeConfiguration { try Self.load(overrides: overrides, file: config) }

    /// The same for other flags.
    static func load(overrides: [ConfigurationOverride], file: String?) throws -> NodeConfiguration {
        do throws(ConfigurationError) {
            return try NodeConfiguration.load(overrides: overrides, file: file)
        } catch {
            let count = error.problems.count
            throw CommandExit.failure(
                CommandExit.configuration,
                ["the configuration has \(count) problem\(count == 1 ? "" : "s"):"]
                    + error.problems.map { "  " + $0.description })
        }
    }
}
