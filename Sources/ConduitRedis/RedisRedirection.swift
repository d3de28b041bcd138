/// What a server of a Cluster answers when it doesn't carry a command out, though nothing is wrong with it.
package enum RedisRedirection: Hashable, Sendable {
    /// The slot is over there, for good.
    case moved(slot: Int, RedisConfiguration.Endpoint)
    /// This one command belongs over there, while its slot is on the way.
    case ask(RedisConfiguration.Endpoint)
    /// Soon.
    case tryAgain

    /// `nil` for any other error. `host`: where the answer came from; it may leave that out.
    package init?(_ error: RedisError, host: String) {
        let words = error.message.split(separator: " ")
        switch error.serverPrefix {
        case "TRYAGAIN", "CLUSTERDOWN": self = .tryAgain
        case "MOVED", "ASK":
            guard words.count >= 3, let slot = Int(words[1]), (0..<RedisSlot.count).contains(slot),
                let colon = words[2].lastIndex(of: ":"), let port = Int(words[2][words[2].index(after: colon)...]),
                (1...65_535).contains(port)
            else { return nil }
            let named = words[2][..<colon]
            guard named != "?" else { return nil }
            let endpoint = RedisConfiguration.Endpoint.host(named.isEmpty ? host : String(named), port: port)
            self = words[0] == "MOVED" ? .moved(slot: slot, endpoint) : .ask(endpoint)
        default: return nil
        }
    }
}

/// To which server of a Cluster a command goes, told from its name and words.
package enum RedisCommandPlace: Hashable, Sendable {
    /// To the one that has this slot.
    case slot(Int)
    /// To any.
    case anywhere
    /// To every one; the first answer counts.
    case everywhere

    package init(of arguments: [RedisArgument]) {
        guard case .string(let word)? = arguments.first else {
            self = .anywhere
            return
        }
        let key: Int?
        switch word.uppercased() {
        case "PING", "ECHO", "TIME", "INFO", "COMMAND", "CLIENT", "CONFIG", "DBSIZE", "PUBSUB", "CLUSTER", "ROLE",
            "ACL":
            key = nil
        case "SCRIPT", "FUNCTION", "FLUSHALL", "FLUSHDB":
            self = .everywhere
            return
        case "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO":
            key = arguments.count > 3 && arguments[2] != .integer(0) && arguments[2] != .string("0") ? 3 : nil
        case "XGROUP", "XINFO", "OBJECT", "MEMORY": key = 2
        case "XREAD", "XREADGROUP": key = arguments.firstIndex(of: "STREAMS").map { $0 + 1 }
        default: key = 1
        }
        if let key, arguments.indices.contains(key) {
            self = .slot(RedisSlot.of(arguments[key]))
        } else {
            self = .anywhere
        }
    }
}
