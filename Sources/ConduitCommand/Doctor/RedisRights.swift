/// The least that the ACL user of a node needs in Redis, as Docs/redis.md has it: a test compares the two.
package enum RedisRights {
    package enum Shape: Sendable, Hashable, CaseIterable {
        /// One server, or one of several independent ones.
        case single
        /// A master and its replicas that Sentinels watch.
        case sentinel
        /// A server of a Redis Cluster.
        case cluster
    }

    /// The commands, as an ACL names them.
    package static func commands(_ shape: Shape) -> [String] {
        var words = ["auth", "ping", "client|setname"]
        switch shape {
        case .single: break
        case .sentinel: words.append("role")
        case .cluster: words += ["cluster|slots", "asking"]
        }
        words += ["time", "script|load", "eval", "evalsha"]
        words +=
            shape == .cluster ? ["ssubscribe", "sunsubscribe", "spublish"] : ["subscribe", "unsubscribe", "publish"]
        words += ["zadd", "zrange", "zrem", "zscan", "zscore", "hset", "hdel", "hlen", "hmget", "hgetall", "hscan"]
        words += ["sadd", "srem", "sscan", "get", "set", "del", "expire", "pexpire"]
        return words + ["xadd", "xrange", "xrevrange", "xread", "xtrim", "rpush", "lrange"]
    }

    /// The command that makes such a user. The password is for the reader to choose.
    package static func line(user: String = "conduit", prefix: String, shape: Shape) -> String {
        let pattern = escaped(prefix)
        let words = commands(shape).map { "+" + $0 }.joined(separator: " ")
        return "ACL SETUSER \(user) on >secret resetkeys ~\(pattern):* resetchannels &\(pattern):* -@all \(words)"
    }

    /// The command that makes a user of the Sentinels.
    package static let sentinelLine =
        "ACL SETUSER conduit-watch on >secret resetchannels &+switch-master -@all +auth +ping +client|setname "
        + "+sentinel|master +subscribe"

    /// What a pattern would take for more than itself.
    private static func escaped(_ prefix: String) -> String {
        var text = ""
        for character in prefix {
            if "*?[]\\^-".contains(character), character != "-" { text.append("\\") }
            text.append(character)
        }
        return text
    }
}
