/// Which server of a Cluster has which slot. A value: read from `CLUSTER SLOTS`, corrected by `MOVED`.
package struct RedisSlotMap: Hashable, Sendable {
    package typealias Endpoint = RedisConfiguration.Endpoint

    /// The servers that have slots, in the order of their first one.
    package private(set) var masters: [Endpoint] = []
    /// Their replicas, which know the map too.
    package private(set) var replicas: [Endpoint] = []
    /// By slot: the place in `masters`, and one more; 0 for a slot that nobody has.
    private var owners = [UInt16](repeating: 0, count: RedisSlot.count)

    /// Reads the answer to `CLUSTER SLOTS`. `host`: where it came from; a server without a host is meant to be there.
    package init?(_ value: RedisValue, host: String) {
        guard let ranges = value.array, !ranges.isEmpty else { return nil }
        for range in ranges {
            guard let parts = range.array, parts.count >= 3, let first = parts[0].integer, let last = parts[1].integer,
                0 <= first, first <= last, last < RedisSlot.count,
                let master = Self.endpoint(parts[2], host: host)
            else { return nil }
            let place = place(of: master)
            for slot in Int(first)...Int(last) { owners[slot] = place }
            for part in parts.dropFirst(3) {
                if let replica = Self.endpoint(part, host: host), !replicas.contains(replica) {
                    replicas.append(replica)
                }
            }
        }
    }

    /// Host, port, id and whatever newer servers add.
    private static func endpoint(_ value: RedisValue, host: String) -> Endpoint? {
        guard let words = value.array, words.count >= 2, let port = words[1].integer, (1...65_535).contains(port) else {
            return nil
        }
        let named = words[0].string ?? ""
        guard named != "?" else { return nil }
        return .host(named.isEmpty ? host : named, port: Int(port))
    }

    private mutating func place(of master: Endpoint) -> UInt16 {
        if let index = masters.firstIndex(of: master) { return UInt16(clamping: index + 1) }
        masters.append(master)
        return UInt16(clamping: masters.count)
    }

    /// Whether every slot is somewhere.
    package var isComplete: Bool { !owners.contains(0) }

    /// The server that has a slot.
    package func owner(of slot: Int) -> Endpoint? {
        guard owners.indices.contains(slot), owners[slot] > 0 else { return nil }
        return masters[Int(owners[slot]) - 1]
    }

    /// Somebody said that a slot is elsewhere.
    package mutating func move(_ slot: Int, to endpoint: Endpoint) {
        guard owners.indices.contains(slot), masters.count < RedisSlot.count else { return }
        owners[slot] = place(of: endpoint)
    }
}
