public import ConduitAdmin
public import ConduitAuth
package import ConduitCluster
public import ConduitCore
public import ConduitGateway
public import ConduitHub
public import ConduitTelemetry
import Foundation
public import Logging

/// Every setting of a node. Made by hand for embedding, or read from flags, environment and file by
/// ``load(overrides:environment:file:)``.
public struct NodeConfiguration: Sendable {
    /// The node's name, unique in its cluster.
    public var nodeID: NodeID
    /// Threads that carry connections; 0 is one for each core that the process may use, at most 64.
    public var eventLoops = 0
    /// Limits and times of clients.
    public var hub = HubConfiguration()
    /// The public port.
    public var gateway = GatewayConfiguration()
    /// How the node takes part in a cluster; alone when no Redis is named.
    package var cluster = ClusterConfiguration()
    /// The operator's port.
    public var admin = AdminConfiguration()
    /// Who may connect.
    public var auth = AuthConfiguration()
    /// Least level of log lines that are written.
    public var logLevel = Logger.Level.info
    /// Form of log lines.
    public var logFormat = LogFormat.auto
    /// Whether and how messages are traced.
    public var tracing = TracingConfiguration()
    /// What it was loaded from; `nil` for one that was made by hand.
    package var loaded: ConfigurationValues?
    /// How long a graceful stop may take.
    public var shutdownTimeout = Duration.seconds(30)

    /// How a graceful stop sends clients to other nodes.
    public var drain = DrainConfiguration()
    /// How nodes share their clients evenly.
    public var rebalance = RebalanceConfiguration()

    /// The defaults, and a name made from the host's and four random characters.
    public init() {
        // `any`, so that it has an address: the thread sanitizer looks at where generic code changes a value, and a
        // variable of an empty type has no such place (swiftlang/swift#66099).
        var generator: any RandomNumberGenerator = SystemRandomNumberGenerator()
        self.nodeID = Self.generatedName(
            host: Self.hostName(), suffix: randomText(4, using: &generator), using: &generator)
    }

    /// The defaults under a given name.
    public init(nodeID: NodeID) { self.nodeID = nodeID }

    /// Joins the cluster of a Redis; without this a node is alone.
    ///
    /// - Parameters:
    ///   - url: `redis://[user:password@]host[:port]`, `rediss://…` or `unix:///path`; several, separated by commas, are
    ///     independent servers over which the rooms are spread.
    ///   - prefix: begins every key and channel; the same on all nodes of a cluster.
    /// - Throws: what is wrong with the URL or the prefix.
    public mutating func joinCluster(redisURL url: String, prefix: String = "conduit") throws(ConfigurationError) {
        let overrides = [
            ConfigurationOverride(key: "redis.url", value: url, source: "joinCluster"),
            ConfigurationOverride(key: "redis.prefix", value: prefix, source: "joinCluster"),
        ]
        let read = try NodeConfiguration.load(overrides: overrides, environment: [:])
        cluster.redis = read.cluster.redis
        cluster.furtherRedis = read.cluster.furtherRedis
        cluster.prefix = read.cluster.prefix
    }

    /// The settings that somebody has set and that a running node doesn't take over (``ConduitNode/reload(_:)``).
    package var settingsThatNeedRestart: [String] { loaded?.setForGood ?? [] }

    /// The name of this machine, as its kernel has it.
    package static func hostName() -> String {
        let data = FileManager.default.contents(atPath: "/proc/sys/kernel/hostname") ?? Data()
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// `Web_01.example` becomes `Web_01.example-x3f9`; what a node id can't hold becomes `-`.
    package static func generatedName(
        host: String, suffix: String, using generator: inout some RandomNumberGenerator
    ) -> NodeID {
        let allowed = host.unicodeScalars.prefix(48).map { scalar -> Character in
            NodeID(String(scalar)) == nil ? "-" : Character(scalar)
        }
        let name = allowed.isEmpty ? "node" : String(allowed)
        return NodeID(name + "-" + suffix) ?? .random(using: &generator)
    }
}
