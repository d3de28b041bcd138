import ConduitCore

// How rooms behave, by namespace.
extension NodeConfiguration {
    static func rooms(_ values: ConfigurationValues) -> RoomPolicies {
        RoomPolicies(
            namespaces: Dictionary(
                values.namespaces.map { ($0, policy(of: $0, values)) }, uniquingKeysWith: { first, _ in first }),
            rest: policy(of: ConfigurationKey.defaultNamespace, values))
    }

    private static func policy(of namespace: String, _ values: ConfigurationValues) -> RoomPolicy {
        func name(_ setting: String) -> String { "rooms.\(namespace).\(setting)" }
        var policy = RoomPolicy()
        policy.mode = RoomPolicy.Mode(rawValue: values.text(name("mode"))) ?? policy.mode
        policy.historySize = values.integer(name("history-size"))
        policy.historyMilliseconds = Int64(values.milliseconds(name("history-age")))
        policy.recoverLimit = values.integer(name("recover-limit"))
        policy.presence = RoomPolicy.Presence(rawValue: values.text(name("presence"))) ?? policy.presence
        policy.presenceGraceMilliseconds = Int64(values.milliseconds(name("presence-grace")))
        policy.presenceMembers = values.integer(name("presence-members"))
        policy.publish = RoomPolicy.Publish(rawValue: values.text(name("publish"))) ?? policy.publish
        policy.slow = RoomPolicy.Slow(rawValue: values.text(name("slow"))) ?? policy.slow
        policy.members = values.integer(name("members"))
        policy.isInbox = values.boolean(name("inbox"))
        return policy
    }

    static func findContradictionsOfRooms(in values: inout ConfigurationValues) {
        let rest = ConfigurationKey.defaultNamespace
        if values.boolean("rooms.\(rest).inbox") {
            values.contradiction(
                "rooms.\(rest).inbox", message: "an inbox needs a namespace of its own: rooms.inbox.inbox")
        }
        var inbox: String?
        for namespace in [rest] + values.namespaces {
            let mode = "rooms.\(namespace).mode"
            // What a namespace takes from the default is said there, once.
            let isOwn = namespace == rest || values.isSet(mode)
            if isOwn, values.text(mode) == "ordered", values.text("redis.url").isEmpty {
                values.contradiction(
                    mode, "redis.url", message: "\(mode) is ordered, which needs redis.url: the order is made in Redis")
            }
            let slow = "rooms.\(namespace).slow"
            if isOwn || values.isSet(slow), values.text(mode) == "ordered", values.text(slow) != "disconnect" {
                values.contradiction(
                    slow, mode, "rooms.\(rest).slow", "rooms.\(rest).mode",
                    message: "\(slow) must be disconnect where \(mode) is ordered: a message that is left out would be "
                        + "a hole in the order; a member that comes back is given what it missed")
            }
            let name = "rooms.\(namespace).inbox"
            guard values.isSet(name), namespace != rest, values.boolean(name) else { continue }
            if values.text(mode) != "ordered" {
                values.contradiction(
                    name, mode, "rooms.\(rest).mode", message: "\(name) needs \(mode) to be ordered")
            }
            if let inbox {
                values.contradiction(
                    name, "rooms.\(inbox).inbox", message: "rooms.\(inbox) is the inbox already; there can be one")
            }
            inbox = inbox ?? namespace
        }
    }
}
