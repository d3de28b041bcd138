/// The few things that Redis must do in one step, in Lua.
///
/// All keys of a script are in one slot: the same scripts run on a single server and in a Redis Cluster.
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

    /// Writes a node's busiest rooms anew: nobody finds the list half written, or for ever.
    /// KEYS: busy. ARGV: lease ms, then messages a second and room of each.
    static let busiest = ClusterScript(
        name: "busiest",
        text: """
            redis.call('DEL', KEYS[1])
            if #ARGV < 3 then return 0 end
            for i = 2, #ARGV - 1, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
            return redis.call('PEXPIRE', KEYS[1], ARGV[1])
            """)

    /// Renews the lease; returns Redis's time, whether our entry was missing, and all entries.
    /// KEYS: nodes. ARGV: node id.
    static let heartbeat = ClusterScript(
        name: "heartbeat",
        text: """
            local time = redis.call('TIME')
            local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
            local added = redis.call('ZADD', KEYS[1], now, ARGV[1])
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
    /// KEYS: nodes, claim. ARGV: node id, score at the claim, own id.
    static let strikeOff = ClusterScript(
        name: "strike-off",
        text: """
            local struck = 0
            if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then
                redis.call('ZREM', KEYS[1], ARGV[1])
                struck = 1
            end
            if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
            return struck
            """)

    /// Renews this process's lease, unless another process holds it: then its text is returned, else nothing.
    /// KEYS: the lease's holder. ARGV: incarnation, own text (begins with the incarnation and a space), lease ms.
    static let identify = ClusterScript(
        name: "identify",
        text: """
            local holder = redis.call('GET', KEYS[1])
            if holder and string.match(holder, '^(%d+) ') ~= ARGV[1] then return holder end
            redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
            return false
            """)

    /// Gives this process's lease back. KEYS: the lease's holder. ARGV: incarnation.
    static let release = ClusterScript(
        name: "release",
        text: """
            local holder = redis.call('GET', KEYS[1])
            if holder and string.match(holder, '^(%d+) ') == ARGV[1] then redis.call('DEL', KEYS[1]) end
            return 0
            """)

    /// Remembers revocations, each as long as it says; forgets those that have run out, and above a number those that
    /// would run out first. Returns how many were forgotten before their time, and which ones were new, counted from 1.
    /// KEYS: revoked. ARGV: the number, then member and end (ms since 1970) of each.
    static let revoke = ClusterScript(
        name: "revoke",
        text: """
            local time = redis.call('TIME')
            local now = time[1] * 1000 + math.floor(time[2] / 1000)
            local new = {}
            for i = 2, #ARGV, 2 do
                local old = redis.call('ZSCORE', KEYS[1], ARGV[i])
                if not old or tonumber(old) < tonumber(ARGV[i + 1]) then
                    redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
                    new[#new + 1] = i / 2
                end
            end
            local first = redis.call('ZRANGE', KEYS[1], 0, 499, 'WITHSCORES')
            for i = 1, #first, 2 do
                if tonumber(first[i + 1]) < now then redis.call('ZREM', KEYS[1], first[i]) end
            end
            local over = redis.call('ZRANGE', KEYS[1], 0, -1 - tonumber(ARGV[1]))
            for i = 1, #over do redis.call('ZREM', KEYS[1], over[i]) end
            local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
            if last[2] then
                redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(1000, tonumber(last[2]) - now)))
            end
            return {#over, new}
            """)

    static let all = [
        members, heartbeat, claim, strikeOff, identify, release, revoke, orderedPublish, orderedRead, busiest,
    ]
}
