import ConduitHub

// What one client may say and what may wait for all of them.
extension NodeConfiguration {
    static func readClientLimits(_ values: ConfigurationValues, into hub: inout HubConfiguration) {
        hub.messagesPerSecond = values.integer("limits.messages-per-second")
        hub.messagesBurst = values.integer("limits.messages-burst")
        hub.bytesPerSecond = values.integer("limits.bytes-per-second")
        hub.bytesBurst = values.integer("limits.bytes-burst")
        hub.rateStrikes = values.integer("limits.rate-strikes")
        hub.roomNameBytes = values.integer("limits.room-name-bytes")
        hub.jsonDepth = values.integer("limits.json-depth")
        hub.nodePendingBytes = values.integer("limits.node-pending-bytes")
    }

    static func findContradictionsOfClientLimits(in values: inout ConfigurationValues) {
        for unit in ["messages", "bytes"] {
            let (rate, burst) = ("limits.\(unit)-per-second", "limits.\(unit)-burst")
            if values.integer(burst) > 0, values.integer(rate) == 0 {
                values.contradiction(burst, rate, message: "\(burst) needs \(rate): without it nothing is limited")
            }
        }
        let node = values.integer("limits.node-pending-bytes")
        if node > 0, node < values.integer("limits.pending-bytes") {
            values.contradiction(
                "limits.node-pending-bytes", "limits.pending-bytes",
                message: "limits.node-pending-bytes must not be less than limits.pending-bytes, "
                    + "which one client may reach")
        }
    }
}
