// What one client may say and what may wait for all of them.
extension ConfigurationKey {
    static let clientLimits: [ConfigurationKey] = [
        ConfigurationKey(
            "limits.messages-per-second", .integer(0...1_000_000), default: "0",
            "Messages and control frames that a client may send a second; more are refused. 0 is any number."),
        ConfigurationKey(
            "limits.messages-burst", .integer(0...10_000_000), default: "0",
            "How many of those may come at once; 0 is as many as come back in a second."),
        ConfigurationKey(
            "limits.bytes-per-second", .integer(0...10_000_000_000), default: "0",
            "Bytes of messages that a client may send a second; what is over is refused. 0 is any number."),
        ConfigurationKey(
            "limits.bytes-burst", .integer(0...10_000_000_000), default: "0",
            "How many of those may come at once; 0 is as many as come back in a second."),
        ConfigurationKey(
            "limits.rate-strikes", .integer(0...1_000_000), default: "100",
            "Refusals by rate that close a client with 3013; a tenth is forgiven each second. 0 never closes."),
        ConfigurationKey(
            "limits.room-name-bytes", .integer(1...255), default: "255",
            "Longest name of a room that clients may use."),
        ConfigurationKey(
            "limits.json-depth", .integer(4...64), default: "64",
            "Most objects and arrays inside each other in a client's message."),
        ConfigurationKey(
            "limits.node-pending-bytes", .integer(0...1_099_511_627_776), default: "268435456",
            "Bytes that may wait for all slow clients together; more closes those for whom most waits. 0 is no limit."),
    ]
}
