package import ConduitHub
import Synchronization

/// What the bridge needs of the hub: hand a batch to a shard, and ask for figures once a heartbeat.
package protocol ShardSink: Sendable {
    /// How many shards there are.
    var shardCount: Int { get }
    /// Hands a batch over; `done` is called on the shard's loop when it was carried out.
    func perform(_ commands: [ShardCommand], onShard index: Int, done: @escaping @Sendable () -> Void)
    /// Figures of all shards together.
    func statistics() async -> HubStatistics
}

extension Hub: ShardSink {}

/// The batches of one loop turn for each shard, and how much each shard hasn't carried out yet.
///
/// A shard that falls behind is not waited for: over the bound, messages for it are dropped and counted, so that the
/// reader of the subscriptions never blocks and Redis never closes it as too slow.
struct HandOff {
    /// Commands that one shard may owe.
    static let limit = 65_536

    private final class Owed: Sendable {
        let count = Atomic<Int>(0)
    }

    private var batches: [[ShardCommand]]
    private let owed: [Owed]
    /// Commands that were dropped.
    private(set) var dropped: UInt64 = 0

    init(shards: Int) {
        batches = Array(repeating: [], count: shards)
        owed = (0..<shards).map { _ in Owed() }
    }

    /// Every shard, as bits.
    var all: UInt64 { batches.count >= 64 ? .max : (1 << UInt64(batches.count)) - 1 }

    /// Queues a command for the shards of a mask. Returns how many got it.
    @discardableResult
    mutating func add(_ command: ShardCommand, to mask: UInt64) -> Int {
        var rest = mask & all
        var count = 0
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            rest &= rest - 1
            if batches[index].count + owed[index].count.load(ordering: .relaxed) >= Self.limit {
                dropped += 1
                continue
            }
            batches[index].append(command)
            count += 1
        }
        return count
    }

    /// Hands over what the turn has brought.
    mutating func flush(to sink: any ShardSink) {
        for index in batches.indices where !batches[index].isEmpty {
            let batch = batches[index]
            batches[index] = []
            let owed = owed[index]
            owed.count.add(batch.count, ordering: .relaxed)
            sink.perform(batch, onShard: index) { owed.count.subtract(batch.count, ordering: .relaxed) }
        }
    }
}
