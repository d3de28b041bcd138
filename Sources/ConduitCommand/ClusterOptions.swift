import ArgumentParser
import Conduit
import ConduitCluster

/// Which cluster a command reads: the settings of a node, so that what makes one connect makes this connect.
struct ClusterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Redis of the cluster; else CONDUIT_REDIS_URL.", valueName: "url"))
    var redisURL: String?

    @Option(help: ArgumentHelp("Prefix of its keys; else CONDUIT_REDIS_PREFIX, else conduit.", valueName: "prefix"))
    var prefix: String?

    @Option(help: ArgumentHelp("Read settings from a node's YAML or JSON file.", valueName: "file"))
    var config: String?

    /// The cluster, with one Redis at least.
    func load() throws -> ClusterConfiguration {
        let named = [("redis.url", redisURL, "--redis-url"), ("redis.prefix", prefix, "--prefix")]
        let overrides = named.compactMap { key, value, flag in
            value.map { ConfigurationOverride(key: key, value: $0, source: flag) }
        }
        let cluster = try NodeOptions.load(overrides: overrides, file: config).cluster
        guard cluster.redis != nil else {
            throw ValidationError("no Redis is named: give --redis-url or set CONDUIT_REDIS_URL")
        }
        return cluster
    }
}
