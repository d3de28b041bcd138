package import NIOCore
import Synchronization

/// The Sendable door to one shard: work is done on its loop, in the order in which it was handed in.
package struct ShardRef: Sendable {
    /// The loop that owns the shard.
    package let eventLoop: any EventLoop
    private let shard: NIOLoopBound<Shard>
    private let life: Life

    /// Call on the shard's loop.
    init(_ shard: Shard) {
        self.eventLoop = shard.eventLoop
        self.shard = NIOLoopBound(shard, eventLoop: shard.eventLoop)
        self.life = Life()
    }

    /// The loop is about to stop: whatever is asked from now on is not done, and answers are `nil`.
    func end() { life.hasEnded.store(true, ordering: .relaxed) }

    /// Shared by all copies of a door.
    private final class Life: Sendable {
        let hasEnded = Atomic(false)
    }

    /// The shard itself; only on its loop.
    package var loopBound: Shard { shard.value }

    /// Does something there, later, without an answer.
    func execute(_ work: @escaping @Sendable (Shard) -> Void) {
        guard !life.hasEnded.load(ordering: .relaxed) else { return }
        eventLoop.execute { work(shard.value) }
    }

    /// Does something there and returns what it gave. For lifecycles, administration and tests; never for messages.
    func query<T: Sendable>(_ work: @escaping @Sendable (Shard) -> T) async -> T? {
        guard !life.hasEnded.load(ordering: .relaxed) else { return nil }
        return try? await eventLoop.submit { work(shard.value) }.get()
    }
}
