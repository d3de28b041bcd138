/// The few things that Redis must do in one step, in Lua.
struct ClusterScript {
    let name: String
    let text: String

    /// Sets and removes members of a room and tells how many it had before and has now, so that the one who brought
    /// the first or took the last can announce it.
    /// KEYS: members. ARGV: number of fields to set, then field and value of each, then the fields to remove.
    static let members = ClusterScript(
        name: "members",
        text: """
            local before = redis.call('HLEN', KEYS[1])
            local count = tonumber(ARGV[1])
            for i = 1, count do redis.call('HSET', KEYS[1], ARGV[2 * i], ARGV[2 * i + 1]) end
            for i = 2 * count + 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
            return {before, redis.call('HLEN', KEYS[1])}
            """)

    /// Renews the lease and writes the figures; returns Redis's time, whether our entry was missing, and all entries.
    /// KEYS: nodes, node, series. ARGV: node id, lease ms, series length, number of words for the hash, those words,
    /// then the words for the series.
    static let heartbeat = ClusterScript(
        name: "heartbeat",
        text: """
            local time = redis.call('TIME')
            local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
            local added = redis.call('ZADD', KEYS[1], now, ARGV[1])
            local words = tonumber(ARGV[4])
            local hash = {}
            for i = 1, words do hash[i] = ARGV[4 + i] end
            redis.call('HSET', KEYS[2], unpack(hash))
            redis.call('PEXPIRE', KEYS[2], ARGV[2])
            if tonumber(ARGV[3]) > 0 then
                local sample = {}
                for i = 5 + words, #ARGV do sample[#sample + 1] = ARGV[i] end
                redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', unpack(sample))
                redis.call('EXPIRE', KEYS[3], 86400)
            end
            return {now, added, redis.call('ZRANGE', KEYS[1], 0, 4095, 'WITHSCORES')}
            """)

    /// Takes over the clean-up of a dead node for ten seconds; returns its score, or nothing when its lease is good
    /// or somebody else cleans up already. KEYS: nodes, claim. ARGV: node id, lease ms, own id.
    static let claim = ClusterScript(
        name: "claim",
        text: """
            local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
            if not score then return false end
            local time = redis.call('TIME')
            local now = time[1] * 1000 + math.floor(time[2] / 1000)
            if now - tonumber(score) < tonumber(ARGV[2]) then return false end
            if not redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', 10000) then return false end
            return score
            """)

    /// Strikes a dead node off, unless it came back meanwhile; returns 1 when struck off.
    /// KEYS: nodes, claim, the node's rooms. ARGV: node id, score at the claim, own id.
    static let strikeOff = ClusterScript(
        name: "strike-off",
        text: """
            local struck = 0
            if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
                redis.call('ZREM', KEYS[1], ARGV[1])
                redis.call('DEL', KEYS[3])
                struck = 1
            end
            if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
            return struck
            """)

    static let all = [members, heartbeat, claim, strikeOff, orderedPublish, orderedRead]
}
