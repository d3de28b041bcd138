import Synchronization

/// What waits for slow clients on all shards of a node, together. Touched when a socket stalls and when it goes on, never
/// on the way of a message to a client that reads.
final class PendingTotal: Sendable {
    /// The largest that waits for one client of a shard, as far as it has said so.
    private final class Largest: Sendable {
        let bytes = Atomic<Int>(0)
    }

    private let total = Atomic<Int>(0)
    private let largest: [Largest]

    init(shards: Int) { self.largest = (0..<max(1, shards)).map { _ in Largest() } }

    /// Bytes that wait now.
    var bytes: Int { total.load(ordering: .relaxed) }

    /// So many bytes more wait, or fewer.
    func add(_ count: Int) { total.wrappingAdd(count, ordering: .relaxed) }

    /// So much waits for one client of a shard.
    func raise(to bytes: Int, by shard: Int) {
        guard largest.indices.contains(shard), bytes > largest[shard].bytes.load(ordering: .relaxed) else { return }
        largest[shard].bytes.store(bytes, ordering: .relaxed)
    }

    /// A shard has looked: for none of its clients does more wait.
    func set(_ bytes: Int, by shard: Int) {
        if largest.indices.contains(shard) { largest[shard].bytes.store(bytes, ordering: .relaxed) }
    }

    /// The shard with the client for whom most waits; `nil` when nothing waits for anybody.
    var heaviestShard: Int? {
        var found: (shard: Int, bytes: Int)?
        for (shard, its) in largest.enumerated() {
            let bytes = its.bytes.load(ordering: .relaxed)
            if bytes > found?.bytes ?? 0 { found = (shard, bytes) }
        }
        return found?.shard
    }
}
