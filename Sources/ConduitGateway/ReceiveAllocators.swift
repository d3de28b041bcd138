import ConduitHub
import NIOCore

// NIO keeps with every channel the first buffer that was ever read into, for as long as the channel lives. So the
// first one is tiny, and all later ones come from the loop's pool, which NIO doesn't keep because `record` says that
// the next buffer may be larger than the last and `nextBufferSize` gives no hint.

/// For a channel that was just accepted. One for all channels of a loop, so that the channel holds a reference only.
final class FirstReceiveAllocator: RecvByteBufferAllocator {
    /// Enough to see that somebody speaks HTTP.
    static let bytes = 32

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: Self.bytes) }
    func record(actualReadBytes: Int) -> Bool { true }
    func nextBufferSize() -> Int? { nil }
}

/// For a channel that has read once: reads into the pool of its loop.
final class PooledReceiveAllocator: RecvByteBufferAllocator {
    private let pool: NIOLoopBound<ReceivePool>

    init(pool: ReceivePool, eventLoop: any EventLoop) { self.pool = NIOLoopBound(pool, eventLoop: eventLoop) }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { pool.value.take() }
    func record(actualReadBytes: Int) -> Bool { true }
    func nextBufferSize() -> Int? { nil }
}
