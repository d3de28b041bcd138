import ConduitCore
import ConduitRedis

/// Does everything that a node does with Redis once, with keys that are nobody's, and removes them.
struct RightsTrial {
    struct Outcome {
        /// What the user may not do, in the words of ACLs.
        var denied: Set<String> = []
        /// What failed for another reason: the commands by Redis's words.
        var failures: [String: [String]] = [:]
    }

    private let shape: RedisRights.Shape
    private let keys: (set: String, hash: String, zset: String, list: String, stream: String, text: String)
    private let channel: String

    /// `slots`: the keys must live in one of these.
    init(prefix: String, shape: RedisRights.Shape, slots: [ClosedRange<Int>]?) {
        self.shape = shape
        var generator: any RandomNumberGenerator = SystemRandomNumberGenerator()
        var tag = randomText(10, using: &generator)
        if let slots {
            // A server with one slot is found after 16,384 tries, mostly.
            for _ in 0..<200_000 where !slots.contains(where: { $0.contains(RedisSlot.of(tag)) }) {
                tag = randomText(10, using: &generator)
            }
        }
        func key(_ kind: String) -> String { "\(prefix):doctor:{\(tag)}:\(kind)" }
        keys = (key("set"), key("hash"), key("zset"), key("list"), key("stream"), key("text"))
        channel = "\(prefix):room:{\(tag)}"
    }

    private var trials: [(String, [RedisArgument])] {
        func key(_ name: String) -> RedisArgument { .string(name) }
        var trials: [(String, [RedisArgument])] = [
            ("ping", ["PING"]), ("client|setname", ["CLIENT", "SETNAME", "conduit-doctor"]), ("time", ["TIME"]),
            ("script|load", ["SCRIPT", "LOAD", "return 1"]), ("eval", ["EVAL", "return 1", "1", key(keys.text)]),
            // The digest of the same script.
            ("evalsha", ["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "1", key(keys.text)]),
            ("set", ["SET", key(keys.text), "1", "PX", "10000"]), ("get", ["GET", key(keys.text)]),
            ("expire", ["EXPIRE", key(keys.text), "10"]), ("pexpire", ["PEXPIRE", key(keys.text), "10000"]),
            ("zadd", ["ZADD", key(keys.zset), "1", "a"]), ("zrange", ["ZRANGE", key(keys.zset), "0", "-1"]),
            ("zscore", ["ZSCORE", key(keys.zset), "a"]), ("zscan", ["ZSCAN", key(keys.zset), "0"]),
            ("hset", ["HSET", key(keys.hash), "a", "1"]), ("hlen", ["HLEN", key(keys.hash)]),
            ("hmget", ["HMGET", key(keys.hash), "a"]), ("hgetall", ["HGETALL", key(keys.hash)]),
            ("hscan", ["HSCAN", key(keys.hash), "0"]), ("sadd", ["SADD", key(keys.set), "a"]),
            ("sscan", ["SSCAN", key(keys.set), "0"]), ("xadd", ["XADD", key(keys.stream), "*", "a", "1"]),
            ("xrange", ["XRANGE", key(keys.stream), "-", "+"]),
            ("xrevrange", ["XREVRANGE", key(keys.stream), "+", "-"]),
            ("xread", ["XREAD", "COUNT", "1", "STREAMS", key(keys.stream), "0"]),
            ("xtrim", ["XTRIM", key(keys.stream), "MAXLEN", "0"]), ("rpush", ["RPUSH", key(keys.list), "a"]),
            ("lrange", ["LRANGE", key(keys.list), "0", "-1"]), ("zrem", ["ZREM", key(keys.zset), "a"]),
            ("hdel", ["HDEL", key(keys.hash), "a"]), ("srem", ["SREM", key(keys.set), "a"]),
        ]
        switch shape {
        case .single: trials.append(("publish", ["PUBLISH", .string(channel), ""]))
        case .sentinel: trials += [("publish", ["PUBLISH", .string(channel), ""]), ("role", ["ROLE"])]
        case .cluster:
            trials += [
                ("spublish", ["SPUBLISH", .string(channel), ""]), ("cluster|slots", ["CLUSTER", "SLOTS"]),
                ("asking", ["ASKING"]),
            ]
        }
        // One by one: whoever may not delete still may not delete the one that is there.
        let all = [keys.set, keys.hash, keys.zset, keys.list, keys.stream, keys.text]
        return trials + all.map { ("del", ["DEL", .string($0)]) }
    }

    func run(_ client: RedisClient) async throws -> Outcome {
        let trials = trials
        var outcome = Outcome()
        for ((name, _), answer) in zip(trials, try await client.answers(trials.map(\.1))) {
            guard case .failure(let error) = answer else { continue }
            switch error.serverPrefix {
            case "NOPERM":
                let text = error.message.lowercased()
                let isKey = text.contains("key"), isChannel = text.contains("channel")
                outcome.denied.insert(
                    isKey ? "keys of the prefix (\(name))" : isChannel ? "channels of the prefix" : "+" + name)
            case "NOSCRIPT": break
            case "ASK", "MOVED", "TRYAGAIN": break
            case nil: throw error
            default: outcome.failures[error.message, default: []].append(name)
            }
        }
        return outcome
    }
}
