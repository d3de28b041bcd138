package import NIOCore

/// The `id` that a client gave its request: the raw JSON of a string or number, carried back verbatim.
package struct RequestID: Sendable, Hashable {
    /// Raw JSON, quotes included.
    package let json: ByteBuffer

    /// Wraps the raw JSON of a string or number; the caller has validated it.
    package init(json: ByteBuffer) { self.json = json }
}
