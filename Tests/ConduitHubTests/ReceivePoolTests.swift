import NIOCore
import Testing

@testable import ConduitHub

@Suite struct ReceivePoolTests {
    @Test func aBufferThatWasGivenBackIsTakenAgain() {
        let pool = ReceivePool(bufferBytes: 1000)
        var first = pool.take()
        #expect(first.writableBytes >= 1000 && first.readableBytes == 0)
        first.writeString("hello")
        pool.giveBack(first)
        let place = first.storageAddress
        first = ByteBuffer()
        let second = pool.take()
        #expect(second.storageAddress == place && second.readableBytes == 0)
        #expect(pool.take().storageAddress != place)
    }

    @Test func whatSomebodyKeptIsNotOverwritten() {
        let pool = ReceivePool(bufferBytes: 1000)
        var read = pool.take()
        read.writeString("kept")
        pool.giveBack(read)
        let kept = read.readSlice(length: 4)
        var next = pool.take()
        next.writeString("lost")
        #expect(kept.map { String(buffer: $0) } == "kept")
        #expect(next.writableBytes >= 996)
    }

    @Test func buffersOfOtherSizesAreNotKept() {
        let pool = ReceivePool(bufferBytes: 1000)
        for bytes in [0, 32, 4096] {
            pool.giveBack(ByteBufferAllocator().buffer(capacity: bytes))
            #expect(pool.take().storageCapacity == 1024)
        }
    }
}

extension ByteBuffer {
    /// Where its bytes lie, to be compared only.
    fileprivate var storageAddress: UInt {
        // Unsafe for the pointer, which is not followed.
        unsafe withVeryUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }
}
