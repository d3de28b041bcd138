import ConduitCore
import NIOConcurrencyHelpers
import NIOCore

/// How many places each key has taken, for all loops: a connection takes its place as it is upgraded and gives it back
/// as it ends, so there are never more entries than connections.
///
/// In shards with a lock each, which is taken twice in the life of a connection, and by no message.
final class PlaceTable<Key: Hashable & Sendable>: Sendable {
    private let shards: [NIOLockedValueBox<[Key: Int]>]

    init(shards: Int = 16) { self.shards = (0..<max(1, shards)).map { _ in NIOLockedValueBox([:]) } }

    private func shard(of key: Key) -> NIOLockedValueBox<[Key: Int]> {
        shards[Int(UInt(bitPattern: key.hashValue) % UInt(shards.count))]
    }

    /// Takes one of `limit` places; `false` when there is none.
    func take(_ key: Key, limit: Int) -> Bool {
        shard(of: key).withLockedValue { places in
            let taken = places[key] ?? 0
            guard taken < limit else { return false }
            places[key] = taken + 1
            return true
        }
    }

    /// Gives a place back that was taken.
    func giveBack(_ key: Key) {
        shard(of: key).withLockedValue { places in
            guard let taken = places[key] else { return }
            places[key] = taken > 1 ? taken - 1 : nil
        }
    }

    /// Keys with a place.
    var count: Int { shards.reduce(0) { sum, shard in sum + shard.withLockedValue { $0.count } } }
}

/// A token bucket for each address, as long as it isn't full again.
///
/// The table is bounded. When a shard is at its bound, full buckets are dropped, which changes nothing; when none is
/// full, all are: who can send from so many networks at once isn't held by a limit for one of them.
final class RateTable: Sendable {
    private let shards: [NIOLockedValueBox<[IPAddress: TokenBucket]>]
    private let perSecond: Int
    private let entriesPerShard: Int

    init(perSecond: Int, shards: Int = 16, entries: Int = 65_536) {
        self.perSecond = perSecond
        self.entriesPerShard = max(1, entries / max(1, shards))
        self.shards = (0..<max(1, shards)).map { _ in NIOLockedValueBox([:]) }
    }

    /// Lets one through, or says in how many milliseconds the next may be let through.
    func take(_ address: IPAddress, now: Int64) -> Int64? {
        let shard = shards[Int(UInt(bitPattern: address.hashValue) % UInt(shards.count))]
        return shard.withLockedValue { buckets in
            var bucket: TokenBucket
            if let known = buckets[address] {
                bucket = known
            } else {
                if buckets.count >= entriesPerShard {
                    buckets = buckets.filter { !$0.value.isFull(now: now) }
                    if buckets.count >= entriesPerShard { buckets = [:] }
                }
                bucket = TokenBucket(perSecond: perSecond, burst: perSecond, now: now)
            }
            let isLetThrough = bucket.take(now: now)
            buckets[address] = bucket
            return isLetThrough ? nil : bucket.wait(now: now)
        }
    }

    /// Addresses that are remembered.
    var count: Int { shards.reduce(0) { sum, shard in sum + shard.withLockedValue { $0.count } } }

    /// Forgets the addresses whose bucket is full again.
    func sweep(now: Int64) {
        for shard in shards {
            shard.withLockedValue { buckets in
                guard !buckets.isEmpty else { return }
                buckets = buckets.filter { !$0.value.isFull(now: now) }
            }
        }
    }
}
