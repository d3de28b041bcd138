// How clients are sent to other nodes: when this one stops, and when it has more than the others.
extension ConfigurationKey {
    static let drain: [ConfigurationKey] = [
        ConfigurationKey(
            "drain.wait", .duration(0...3_600_000), default: "3s",
            "How long a node that stops says so before it refuses clients; the balancer must have seen it by then."),
        ConfigurationKey(
            "drain.rate", .integer(1...1_000_000), default: "500",
            "Clients that a node that stops sends away a second; more where shutdown.timeout needs it."),
        ConfigurationKey(
            "drain.reconnect-delay", .duration(0...600_000), default: "1s",
            "Longest time that a client is asked to wait before it comes back elsewhere; each has its own."),
        ConfigurationKey(
            "drain.presence-grace", .duration(0...600_000), default: "5s",
            "How long users who were sent to another node stay in rosters until they are back."),
    ]

    static let rebalance: [ConfigurationKey] = [
        ConfigurationKey(
            "rebalance.mode", .choice(RebalanceConfiguration.Mode.allCases.map(\.rawValue)), default: "off",
            "Whether a node that has more clients than the mean sends some to the others; off does so on command only."),
        ConfigurationKey(
            "rebalance.share", .integer(1...100), default: "10",
            "Percent of its own clients that a node sends away a minute while it has too many."),
        ConfigurationKey(
            "rebalance.tolerance", .integer(1...100), default: "5",
            "Percent above the mean that is left alone."),
    ]
}
