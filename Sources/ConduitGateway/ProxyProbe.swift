package import NIOCore

/// What the public port believes of the words of proxies, for those who try it with any bytes: fuzzing.
package enum ProxyProbe {
    /// What a PROXY header says, as far as it can be compared.
    package enum Outcome: Sendable, Equatable {
        case incomplete
        case malformed
        /// The proxy itself.
        case proxy(leftover: [UInt8])
        /// Somebody.
        case unknown(leftover: [UInt8])
        /// The 16 bytes of an address of version 6, or of the one that stands for one of version 4.
        case client([UInt8], leftover: [UInt8])
    }

    /// The peer and the trusted network of ``client(of:in:)``.
    package static let peer = "10.0.0.1"
    package static let network = "10.0.0.0/8"

    /// Feeds a reader with slices; what is left of them when the header is complete counts as leftover.
    package static func header(_ slices: [ByteBuffer]) -> Outcome {
        var header = ProxyHeader()
        for (index, slice) in slices.enumerated() {
            switch header.next(slice) {
            case .incomplete: continue
            case .malformed: return .malformed
            case .complete(let party, let rest):
                let behind = slices[(index + 1)...].flatMap { Array($0.readableBytesView) }
                let leftover = Array((rest ?? ByteBuffer()).readableBytesView) + behind
                return switch party {
                case .proxy: .proxy(leftover: leftover)
                case .unknown: .unknown(leftover: leftover)
                case .client(let address): .client(bytes(of: address), leftover: leftover)
                }
            }
        }
        return .incomplete
    }

    /// Whom a trusted peer's request is from, with a field of that name; `nil` where the head is none.
    package static func client(of value: [UInt8], in name: String) -> [UInt8]? {
        let bytes = Array("GET / HTTP/1.1\r\n\(name): ".utf8) + value
        guard let head = try? RequestHead(parsing: bytes, maxFields: 8), let peer = IPAddress(peer),
            let trusted = TrustedProxies.list([network])
        else { return nil }
        return self.bytes(of: ForwardedAddress.client(of: head, peer: peer, trusted: trusted))
    }

    private static func bytes(of address: IPAddress) -> [UInt8] {
        [address.high, address.low].flatMap { half in
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: half >> UInt64($0)) }
        }
    }
}
