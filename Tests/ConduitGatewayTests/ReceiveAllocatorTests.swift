import ConduitHub
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitGateway

@Suite struct ReceiveAllocatorTests {
    /// What NIO does for a channel: reads, and keeps the buffer that it reads into first.
    @Test func aChannelKeepsNothingButItsFirstTinyBuffer() {
        let loop = EmbeddedEventLoop()
        let pool = ReceivePool(bufferBytes: 16_384)
        var channel = NIOPooledRecvBufferAllocator(capacity: 4, recvAllocator: FirstReceiveAllocator())
        var read = channel.read(32)
        #expect(read.storageCapacity == FirstReceiveAllocator.bytes)
        channel.updateCapacity(to: 1)
        channel.recvAllocator = PooledReceiveAllocator(pool: pool, eventLoop: loop)
        for _ in 0..<3 {
            read = channel.read(100)
            #expect(read.storageCapacity == 16_384 && read.readableBytes == 100)
            pool.giveBack(read)
            read = ByteBuffer()
            // Nobody else holds it: the next channel reads into the same bytes without copying.
            var taken = pool.take()
            let isAlone = taken.modifyIfUniquelyOwned { _ in true }
            #expect(isAlone == true)
            pool.giveBack(taken)
        }
        #expect(channel.count == 1)
    }

    @Test func aConnectionThatSaysNothingHoldsNoBuffer() {
        let channel = NIOPooledRecvBufferAllocator(capacity: 4, recvAllocator: FirstReceiveAllocator())
        #expect(channel.count == 0)
    }
}

extension NIOPooledRecvBufferAllocator {
    fileprivate mutating func read(_ count: Int) -> ByteBuffer {
        let (bytes, _) = buffer(allocator: ByteBufferAllocator()) { $0.writeRepeatingByte(1, count: count) }
        record(actualReadBytes: count)
        return bytes
    }
}
