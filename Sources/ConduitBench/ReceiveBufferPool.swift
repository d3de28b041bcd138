package import NIOCore

/// One receive buffer for all connections of a loop: it is handed out for a read and comes back when that was parsed.
///
/// Loop-bound: owned by its ``LoadWorker``.
package final class ReceiveBufferPool {
    /// Large enough for what piles up in a socket between two looks.
    package static let capacity = 256 * 1024

    private var buffer: ByteBuffer?

    package init() {}

    /// Out of the pool, so that NIO is its only owner and writes to it without a copy.
    package func take(_ allocator: ByteBufferAllocator) -> ByteBuffer {
        guard var taken = buffer else { return allocator.buffer(capacity: Self.capacity) }
        buffer = nil
        taken.clear()
        return taken
    }

    package func giveBack(_ used: ByteBuffer) {
        guard used.storageCapacity >= Self.capacity else { return }
        buffer = used
    }
}

@available(*, unavailable)
extension ReceiveBufferPool: Sendable {}

/// Lets NIO read into the pool's buffer. It needs `maxMessagesPerRead` 1.
///
/// NIO keeps the first buffer that it gets with the channel, whatever it is told. So the first is a small one, enough for
/// the answer to the handshake, and ``record(actualReadBytes:)`` says that the next may be larger, which it is.
package struct PooledReceiveAllocator: RecvByteBufferAllocator {
    private let pool: NIOLoopBound<ReceiveBufferPool>
    private var hasRead = false

    package init(_ pool: NIOLoopBound<ReceiveBufferPool>) { self.pool = pool }

    package func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        hasRead ? pool.value.take(allocator) : allocator.buffer(capacity: 512)
    }

    package mutating func record(actualReadBytes: Int) -> Bool {
        hasRead = true
        return true
    }

    /// `nil`: NIO is not to use any buffer again by itself.
    package func nextBufferSize() -> Int? { nil }
}
