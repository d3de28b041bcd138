// What is written into the stream of events, `p:events`, beside what nodes do.
extension ConfigurationKey {
    static let events: [ConfigurationKey] = [
        ConfigurationKey(
            "events.rooms", .boolean, default: "true",
            "Whether p:events in Redis tells when rooms of the cluster get their first member and lose their last."),
        ConfigurationKey(
            "events.clients", .boolean, default: "false",
            "Whether p:events in Redis tells of each client that comes and goes."),
        ConfigurationKey(
            "events.per-second", .integer(1...100_000), default: "100",
            "Most such entries of rooms and clients a second and as many at once; more are left out and counted."),
    ]
}
