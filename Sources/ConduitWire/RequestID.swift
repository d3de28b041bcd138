package import NIOCore

/// The `id` that a client gave its request: the raw JSON of a string or number, carried back verbatim.
package struct RequestID: Sendable, Hashable {
    /// Raw JSON, quotes included.
    package let json: ByteBuffer

    /// Wraps the raw JSON of a string or number; the caller has validated it.
    package init(json: ByteBuffer) { self.json = json }

    /// The same in memory of its own, to be kept longer than the message that it is a slice of.
    package var detached: RequestID { RequestID(json: json.detached) }
}

extension ByteBuffer {
    /// The same bytes in memory of their own: a slice keeps all of what it was cut from.
    package var detached: ByteBuffer {
        var copy = ByteBufferAllocator().buffer(capacity: readableBytes)
        copy.writeImmutableBuffer(self)
        return copy
    }
}
