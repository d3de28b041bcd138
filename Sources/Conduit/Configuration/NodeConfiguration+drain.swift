import NIOCore

/// How a node that stops sends its clients to the others.
public struct DrainConfiguration: Sendable, Hashable {
    /// How long the node says that it goes before it refuses clients.
    public var wait = Duration.seconds(3)
    /// Clients that are sent away a second, unless `shutdown.timeout` needs more.
    public var rate = 500
    /// The longest time that a client is asked to wait before it comes back.
    public var reconnectDelay = Duration.seconds(1)
    /// How long the places of users in rosters are kept until they are back.
    public var presenceGrace = Duration.seconds(5)

    /// The defaults.
    public init() {}
}

/// How nodes share their clients evenly.
public struct RebalanceConfiguration: Sendable, Hashable {
    /// When clients are sent to nodes that have fewer.
    public enum Mode: String, Sendable, CaseIterable {
        /// When an operator says so.
        case off
        /// As soon as a node has too many.
        case auto
    }

    /// When.
    public var mode = Mode.off
    /// Percent of its own clients that a node sends away a minute.
    public var share = 10
    /// Percent above the mean that is left alone.
    public var tolerance = 5
    /// How often a node looks at what the others have.
    package var interval = Duration.seconds(5)

    /// The defaults.
    public init() {}
}

extension NodeConfiguration {
    static func drain(_ values: ConfigurationValues) -> DrainConfiguration {
        var drain = DrainConfiguration()
        drain.wait = .milliseconds(values.milliseconds("drain.wait"))
        drain.rate = values.integer("drain.rate")
        drain.reconnectDelay = .milliseconds(values.milliseconds("drain.reconnect-delay"))
        drain.presenceGrace = .milliseconds(values.milliseconds("drain.presence-grace"))
        return drain
    }

    static func rebalance(_ values: ConfigurationValues) -> RebalanceConfiguration {
        var rebalance = RebalanceConfiguration()
        rebalance.mode = RebalanceConfiguration.Mode(rawValue: values.text("rebalance.mode")) ?? .off
        rebalance.share = values.integer("rebalance.share")
        rebalance.tolerance = values.integer("rebalance.tolerance")
        return rebalance
    }

    /// A default that is too long is cut.
    static func findContradictionsOfDrain(in values: inout ConfigurationValues) {
        let timeout = values.milliseconds("shutdown.timeout")
        if values.isSet("drain.wait"), values.milliseconds("drain.wait") * 2 > timeout {
            values.contradiction(
                "drain.wait", "shutdown.timeout",
                message:
                    "drain.wait must not be longer than half of shutdown.timeout (\(DurationText.write(timeout))), "
                    + "which has to do for the clients too")
        }
        let grace = values.milliseconds("drain.presence-grace")
        if values.isSet("drain.reconnect-delay"), grace > 0, values.milliseconds("drain.reconnect-delay") >= grace {
            values.contradiction(
                "drain.reconnect-delay", "drain.presence-grace",
                message: "drain.reconnect-delay must be shorter than drain.presence-grace "
                    + "(\(DurationText.write(grace))): users would leave the rosters before they may come back")
        }
        if values.text("rebalance.mode") == RebalanceConfiguration.Mode.auto.rawValue, values.text("redis.url").isEmpty
        {
            values.contradiction(
                "rebalance.mode", "redis.url",
                message: "rebalance.mode is auto, which needs redis.url: a node alone "
                    + "has nobody to send clients to")
        }
    }
}
