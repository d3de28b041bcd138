import ConduitHub
import ConduitWire
import NIOCore
import Synchronization

/// The batches of one loop turn for each shard, and how much each shard hasn't carried out yet.
///
/// A shard that falls behind is not waited for: over the bounds, messages for it are dropped and counted, so that the
/// reader of the subscriptions never blocks and Redis never closes it as too slow. What somebody waits for is never
/// dropped: answers, confirmed rooms and disconnections, whose number the shard's clients bound.
struct HandOff {
    /// Commands that one shard may owe.
    static let limit = 65_536
    /// Bytes of messages that one shard may owe.
    static let byteLimit = 64 << 20

    private final class Owed: Sendable {
        let count = Atomic<Int>(0)
        let bytes = Atomic<Int>(0)
    }

    private struct Batch {
        var commands: [ShardCommand] = []
        var bytes = 0
    }

    private var batches: [Batch]
    private let owed: [Owed]
    private let byteLimit: Int
    /// Messages of fewer bytes are compressed for nobody.
    private let compressesFrom: Int
    /// Commands that were dropped.
    private(set) var dropped: UInt64 = 0

    init(shards: Int, byteLimit: Int = HandOff.byteLimit, compressesFrom: Int = .max) {
        self.byteLimit = byteLimit
        self.compressesFrom = compressesFrom
        batches = Array(repeating: Batch(), count: shards)
        owed = (0..<shards).map { _ in Owed() }
    }

    /// Every shard, as bits.
    var all: UInt64 { batches.count >= 64 ? .max : (1 << UInt64(batches.count)) - 1 }

    /// Queues a command for the shards of a mask. Returns how many got it.
    @discardableResult
    mutating func add(_ command: ShardCommand, to mask: UInt64) -> Int {
        let reached = offer(command, to: mask).nonzeroBitCount
        dropped += UInt64((mask & all).nonzeroBitCount - reached)
        return reached
    }

    /// Queues a command for those shards of a mask that aren't too busy, and returns them. The others will be offered it
    /// again, so it isn't counted as dropped.
    mutating func offer(_ command: ShardCommand, to mask: UInt64) -> UInt64 {
        let (bytes, isOwed) = Self.weigh(command)
        // Before the shards get their copies of it: what one of them compresses is there for the others then.
        let command = bytes < compressesFrom ? command : command.compressible
        var rest = mask & all
        var reached: UInt64 = 0
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            rest &= rest - 1
            if !isOwed, isFull(index, with: bytes) { continue }
            batches[index].commands.append(command)
            batches[index].bytes += bytes
            reached |= 1 << UInt64(index)
        }
        return reached
    }

    /// Whether a shard has carried out at least half of what it may owe.
    func isCalm(_ index: Int) -> Bool {
        guard batches.indices.contains(index) else { return false }
        return owed[index].count.load(ordering: .relaxed) < Self.limit / 2
            && owed[index].bytes.load(ordering: .relaxed) < byteLimit / 2
    }

    private func isFull(_ index: Int, with bytes: Int) -> Bool {
        batches[index].commands.count + owed[index].count.load(ordering: .relaxed) >= Self.limit
            || batches[index].bytes + owed[index].bytes.load(ordering: .relaxed) + bytes > byteLimit
    }

    /// The bytes of a command's message, and whether somebody waits for it.
    private static func weigh(_ command: ShardCommand) -> (bytes: Int, isOwed: Bool) {
        switch command {
        case .traced(_, let command): weigh(command)
        case .room(_, let message), .roomExcept(_, let message, _), .observers(_, let message), .all(let message),
            .send(_, let message, _):
            (message.byteCount, false)
        case .reply(_, let message), .presenceReply(_, let message), .historyReply(_, let message):
            (message.byteCount, true)
        // Those who are let in at the same time share the bytes of what they missed.
        case .roomLive, .disconnect, .revoked, .admit, .refuseJoin: (0, true)
        }
    }

    /// Hands over what the turn has brought.
    mutating func flush(to sink: any ShardSink) {
        for index in batches.indices where !batches[index].commands.isEmpty {
            let (commands, bytes) = (batches[index].commands, batches[index].bytes)
            batches[index] = Batch()
            let owed = owed[index]
            owed.count.add(commands.count, ordering: .relaxed)
            owed.bytes.add(bytes, ordering: .relaxed)
            sink.perform(commands, onShard: index) {
                owed.count.subtract(commands.count, ordering: .relaxed)
                owed.bytes.subtract(bytes, ordering: .relaxed)
            }
        }
    }
}
