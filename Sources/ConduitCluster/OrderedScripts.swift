// What Redis does for ordered rooms in one step. All keys of a call are in the room's slot.
extension ClusterScript {
    /// Numbers, stores and publishes messages of one room. For each: a key that was seen lately answers what became of
    /// its first message; a version that isn't newer than the stored one is suppressed; anything else gets the next
    /// offset and is appended to the log. What was accepted is published together.
    ///
    /// A room without meta, or with less in it than the caller has seen (a fail-over lost data), gets a new epoch and
    /// an empty log: no offset is used twice within one epoch.
    ///
    /// KEYS: meta, log, then the keys of the messages. ARGV: PUBLISH or SPUBLISH, channel, header of the bus payload,
    /// proposed epoch, history size, history ms, meta ms, key ms, number of known positions, epoch and offset of each,
    /// then for each message: its place in KEYS or 0, version or nothing, the version's epoch, excluded client, JSON.
    /// Returns the epoch, the last offset, and for each message `a<offset>` (accepted), `s<last offset>` (suppressed)
    /// or `d<offset> <epoch>` (duplicate).
    static let orderedPublish = ClusterScript(
        name: "ordered-publish",
        text: """
            local meta, log, most, age = KEYS[1], KEYS[2], ARGV[5], tonumber(ARGV[6])
            local function decimal(number) return string.format('%.0f', number) end
            local held = redis.call('HMGET', meta, 'e', 'o', 'v', 've', 'c')
            local epoch, top = held[1], tonumber(held[2] or 0)
            local version, line, check = held[3], held[4], tonumber(held[5] or 0)
            local fresh = not epoch
            local at = 10
            for _ = 1, tonumber(ARGV[9]) do
                if epoch == ARGV[at] and top < tonumber(ARGV[at + 1]) then fresh = true end
                at = at + 2
            end
            if fresh then epoch, top, check = ARGV[4], 0, 0 end
            if top == 0 then redis.call('DEL', log) end
            local time = redis.call('TIME')
            local now = time[1] * 1000 + math.floor(time[2] / 1000)
            local answer, parts, first = {epoch, '0'}, {}, top + 1
            while at <= #ARGV do
                local place, v, ve = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
                local excluded, json = ARGV[at + 3], ARGV[at + 4]
                at = at + 5
                local key = place > 0 and KEYS[place]
                local seen = key and redis.call('HMGET', key, 'e', 'o')
                -- What an earlier epoch stored is gone with it.
                if seen and seen[1] == epoch then
                    answer[#answer + 1] = 'd' .. seen[2] .. ' ' .. seen[1]
                elseif v ~= '' and version and line == ve
                    and (#version > #v or (#version == #v and version >= v)) then
                    answer[#answer + 1] = 's' .. decimal(top)
                else
                    top = top + 1
                    local entry = {'t', decimal(now), 'd', json}
                    if excluded ~= '' then entry[5], entry[6] = 'x', excluded end
                    local added = redis.pcall('XADD', log, decimal(top) .. '-0', unpack(entry))
                    if type(added) == 'table' and added.err then
                        -- A log that is ahead of its meta is the log of another epoch.
                        local isAhead = string.find(added.err, 'equal or smaller', 1, true)
                        if top ~= first or not isAhead then return added end
                        epoch, top, first, check = ARGV[4], 1, 1, 0
                        redis.call('DEL', log)
                        redis.call('XADD', log, '1-0', unpack(entry))
                    end
                    local size = struct.pack('>I4', 1 + #excluded + #json)
                    parts[#parts + 1] = size .. string.char(#excluded) .. excluded .. json
                    if v ~= '' then version, line = v, ve end
                    if key then
                        redis.call('HSET', key, 'e', epoch, 'o', decimal(top))
                        redis.call('PEXPIRE', key, ARGV[8])
                    end
                    answer[#answer + 1] = 'a' .. decimal(top)
                end
            end
            if #parts > 0 then
                redis.call('XTRIM', log, 'MAXLEN', most)
                if now >= check then
                    -- The entries' times rise with the offsets: the oldest that may stay is found by halving.
                    local function entry(offset) return redis.call('XRANGE', log, offset, '+', 'COUNT', 1)[1] end
                    local head = entry('-')
                    if head and tonumber(head[2][2]) < now - age then
                        local old, young = tonumber(string.match(head[1], '^%d+')), top + 1
                        while young - old > 1 do
                            local middle = math.floor((old + young) / 2)
                            local found = entry(decimal(middle))
                            if found and tonumber(found[2][2]) < now - age then old = middle else young = middle end
                        end
                        redis.call('XTRIM', log, 'MINID', decimal(young))
                    end
                    check = now + math.max(100, math.floor(age / 16))
                end
                redis.call('PEXPIRE', log, ARGV[6])
            end
            if fresh or #parts > 0 then
                redis.call('HSET', meta, 'e', epoch, 'o', decimal(top), 'c', decimal(check))
                if version then redis.call('HSET', meta, 'v', version, 've', line) end
                redis.call('PEXPIRE', meta, ARGV[7])
            end
            if #parts > 0 then
                local head = struct.pack('>I4', 8 + #epoch) .. struct.pack('>I8', first) .. epoch
                redis.call(ARGV[1], ARGV[2], ARGV[3] .. head .. table.concat(parts))
            end
            answer[1], answer[2] = epoch, decimal(top)
            return answer
            """)

    /// Reads a room's position and a part of its log. A room without meta gets an epoch, and one with less in it than
    /// the caller has seen gets a new one, as in ``orderedPublish``; not when no epoch is proposed.
    ///
    /// KEYS: meta, log. ARGV: proposed epoch or nothing, meta ms, `after` or `newest`, the epoch that is asked for, the
    /// offset behind which to read (0 when the epoch is another one), the last offset to read or nothing, most entries,
    /// most bytes, number of known positions, epoch and offset of each.
    /// Returns the epoch (empty when there is none), the last offset, 1 when there is more to read or else 0, then for
    /// each entry offset, excluded client and JSON; of the newest the newest first.
    static let orderedRead = ClusterScript(
        name: "ordered-read",
        text: """
            local meta, log = KEYS[1], KEYS[2]
            local function decimal(number) return string.format('%.0f', number) end
            local held = redis.call('HMGET', meta, 'e', 'o')
            local epoch, top = held[1], tonumber(held[2] or 0)
            if ARGV[1] ~= '' then
                local fresh = not epoch
                for at = 10, 8 + 2 * tonumber(ARGV[9]), 2 do
                    if epoch == ARGV[at] and top < tonumber(ARGV[at + 1]) then fresh = true end
                end
                if fresh then
                    epoch, top = ARGV[1], 0
                    redis.call('DEL', log)
                    redis.call('HSET', meta, 'e', epoch, 'o', '0', 'c', '0')
                    -- A room that only somebody asked for is forgotten soon; who follows it makes it stay.
                    redis.call('PEXPIRE', meta, math.min(tonumber(ARGV[2]), 7200000))
                end
            end
            if not epoch then return {'', '0', '0'} end
            local isNewest, most, bytes = ARGV[3] == 'newest', tonumber(ARGV[7]), tonumber(ARGV[8])
            local after = tonumber(ARGV[5])
            if ARGV[4] ~= epoch then after = 0 end
            local from, to = decimal(after + 1), ARGV[6] ~= '' and ARGV[6] or decimal(top)
            local answer, count = {epoch, decimal(top), '0'}, 0
            while count < most do
                local wanted = math.min(64, most - count)
                local page
                if isNewest then
                    page = redis.call('XREVRANGE', log, to, from, 'COUNT', wanted)
                else
                    page = redis.call('XRANGE', log, from, to, 'COUNT', wanted)
                end
                for _, entry in ipairs(page) do
                    local offset, excluded, json = tonumber(string.match(entry[1], '^%d+')), '', ''
                    for at = 1, #entry[2], 2 do
                        if entry[2][at] == 'd' then json = entry[2][at + 1] end
                        if entry[2][at] == 'x' then excluded = entry[2][at + 1] end
                    end
                    bytes = bytes - #json
                    if count > 0 and bytes < 0 then
                        answer[3] = '1'
                        return answer
                    end
                    count = count + 1
                    answer[#answer + 1] = decimal(offset)
                    answer[#answer + 1] = excluded
                    answer[#answer + 1] = json
                    if isNewest then to = decimal(offset - 1) else from = decimal(offset + 1) end
                end
                if #page < wanted then return answer end
            end
            if most > 0 and tonumber(from) <= tonumber(to) then answer[3] = '1' end
            return answer
            """)
}
