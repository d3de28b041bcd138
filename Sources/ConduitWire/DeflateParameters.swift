/// What was agreed with a client about `permessage-deflate` (RFC 7692), beside that no side keeps a context.
package struct DeflateParameters: Hashable, Sendable {
    /// The sizes of window that zlib can write without a header, as powers of two: it can't do 8.
    package static let windowBits: ClosedRange<UInt8> = 9...15

    /// The largest window of what the server sends, as a power of two.
    package var serverWindowBits: UInt8
    /// Whether the answer names it.
    package var saysServerWindow: Bool
    /// The largest window of what the client sends, where the client has named one. The server can read them all.
    package var clientWindowBits: UInt8?

    package init(serverWindowBits: UInt8, saysServerWindow: Bool = false, clientWindowBits: UInt8? = nil) {
        self.serverWindowBits = serverWindowBits
        self.saysServerWindow = saysServerWindow
        self.clientWindowBits = clientWindowBits
    }
}
