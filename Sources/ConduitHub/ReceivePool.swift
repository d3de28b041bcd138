package import NIOCore

/// The buffer that all channels of a loop read into, one after the other. Loop-bound: owned by a ``Shard``.
///
/// A connection needs a receive buffer only from the moment in which its socket is read until its bytes were looked at,
/// and a loop does that for one connection at a time. So there is one buffer, not one a connection: who has consumed a
/// read gives it back. Nothing breaks when somebody doesn't; then the next read gets a new one.
package final class ReceivePool {
    /// How many bytes are read from a socket at once.
    package let bufferBytes: Int
    private var spare: ByteBuffer?
    /// What a buffer of that size really holds.
    private var capacity = 0

    package init(bufferBytes: Int) { self.bufferBytes = bufferBytes }

    /// An empty buffer; the caller's alone until it is given back.
    ///
    /// Bytes of it that somebody has kept, a slice say, stay as they are: then clearing allocates.
    package func take() -> ByteBuffer {
        guard var buffer = spare.take() else {
            let buffer = ByteBufferAllocator().buffer(capacity: bufferBytes)
            capacity = buffer.storageCapacity
            return buffer
        }
        buffer.clear()
        return buffer
    }

    /// Takes back what was read; call it before or after looking at the bytes, but once.
    package func giveBack(_ buffer: ByteBuffer) {
        // A channel's first read and what TLS has decrypted come in buffers of other sizes.
        guard capacity > 0, buffer.storageCapacity == capacity else { return }
        spare = buffer
    }
}

@available(*, unavailable)
extension ReceivePool: Sendable {}
