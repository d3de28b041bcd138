import NIOCore

/// Where a client comes from, in the 16 bytes that a client may cost for it: an address of version 6, or the one that
/// stands for one of version 4 (`::ffff:192.0.2.1`).
package struct RemoteAddress: Hashable, Sendable, CustomStringConvertible {
    /// Nobody comes from `::`.
    package static let unknown = RemoteAddress(high: 0, low: 0)

    private let high: UInt64
    private let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// As people write it; empty when it isn't known.
    package var description: String {
        guard self != .unknown else { return "" }
        var bytes = ByteBuffer()
        if high == 0, low >> 32 == 0xFFFF {
            bytes.writeInteger(UInt32(truncatingIfNeeded: low))
        } else {
            bytes.writeInteger(high)
            bytes.writeInteger(low)
        }
        return (try? SocketAddress(packedIPAddress: bytes, port: 0))?.ipAddress ?? ""
    }
}
