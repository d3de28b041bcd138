package import ConduitHub
package import ConduitWire
package import NIOCore

/// A connection that was upgraded: what its next owner has to know.
package struct AcceptedHandshake: Sendable {
    /// Who it is.
    package let identity: Identity
    /// What the client sent right behind its request.
    package let leftover: ByteBuffer?
    /// What was agreed on about compression, if anything.
    package let deflate: DeflateParameters?
    /// How long it has taken from accept to here, in microseconds.
    package var microseconds: Int64 = 0
    /// Is to be told when the connection ends.
    package let observer: any ConnectionObserver
    /// Where the client comes from.
    package let address: RemoteAddress
}
