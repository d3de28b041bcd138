package import NIOCore

/// The Sendable door to one shard: work is done on its loop, in the order in which it was handed in.
package struct ShardRef: Sendable {
    /// The loop that owns the shard.
    package let eventLoop: any EventLoop
    private let shard: NIOLoopBound<Shard>

    /// Call on the shard's loop.
    init(_ shard: Shard) {
        self.eventLoop = shard.eventLoop
        self.shard = NIOLoopBound(shard, eventLoop: shard.eventLoop)
    }

    /// The shard itself; only on its loop.
    package var loopBound: Shard { shard.value }

    /// Does something there, later, without an answer.
    func execute(_ work: @escaping @Sendable (Shard) -> Void) {
        eventLoop.execute { work(shard.value) }
    }

    /// Does something there and returns what it gave. For lifecycles, administration and tests; never for messages.
    func query<T: Sendable>(_ work: @escaping @Sendable (Shard) -> T) async -> T? {
        try? await eventLoop.submit { work(shard.value) }.get()
    }
}
