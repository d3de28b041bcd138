import NIOCore

/// An IP address of either version: one of version 4 is kept as the one of version 6 that stands for it
/// (`::ffff:192.0.2.1`), so that a client is the same one whichever socket it came through.
struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    let high: UInt64
    let low: UInt64

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    init(version4: UInt32) {
        self.init(high: 0, low: 0xFFFF_0000_0000 | UInt64(version4))
    }

    /// `nil` unless there are 16 bytes.
    init?(version6 bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        self.init(
            high: bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
            low: bytes.suffix(8).reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// `nil` for a path in the file system.
    init?(_ address: SocketAddress) {
        switch address {
        case .v4:
            // Behind family and port.
            self.init(version4: Self.bytes(of: address).dropFirst(4).prefix(4).reduce(0) { $0 << 8 | UInt32($1) })
        case .v6:
            // Behind family, port and flow.
            self.init(version6: Self.bytes(of: address).dropFirst(8).prefix(16))
        case .unixDomainSocket:
            return nil
        }
    }

    private static func bytes(of address: SocketAddress) -> [UInt8] {
        // Unsafe for the pointer, which is good for its length and lives for the call only.
        unsafe address.withSockAddr { pointer, length in
            unsafe Array(UnsafeRawBufferPointer(start: pointer, count: length))
        }
    }

    /// The text of an address and nothing else: no port, no brackets, no zone.
    init?(_ text: some StringProtocol) {
        guard text.utf8.count <= 45, text.utf8.allSatisfy(Self.isAddressByte),
            let address = try? SocketAddress(ipAddress: String(text), port: 0)
        else { return nil }
        self.init(address)
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x3A, 0x41...0x46, 0x61...0x66, 0x2E: true
        default: false
        }
    }

    var isVersion4: Bool { high == 0 && low >> 32 == 0xFFFF }

    /// What limits count by: a subscriber of IPv6 has at least a /64, and as many addresses as it likes in there.
    var subscriber: IPAddress { isVersion4 ? self : IPAddress(high: high, low: 0) }

    var description: String {
        var bytes = ByteBuffer()
        if isVersion4 {
            bytes.writeInteger(UInt32(truncatingIfNeeded: low))
        } else {
            bytes.writeInteger(high)
            bytes.writeInteger(low)
        }
        return (try? SocketAddress(packedIPAddress: bytes, port: 0))?.ipAddress ?? ""
    }
}

/// All addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address.
struct IPNetwork: Hashable, Sendable {
    private let base: IPAddress
    private let highMask: UInt64
    private let lowMask: UInt64

    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        let isText4 = !first.utf8.contains(0x3A)
        var length = 128
        if parts.count == 2 {
            guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(parts[1]), number <= (isText4 ? 32 : 128)
            else { return nil }
            length = isText4 ? number + 96 : number
        }
        highMask = Self.mask(length)
        lowMask = Self.mask(length - 64)
        base = IPAddress(high: address.high & highMask, low: address.low & lowMask)
    }

    /// So many ones, then zeros.
    private static func mask(_ ones: Int) -> UInt64 {
        ones <= 0 ? 0 : ones >= 64 ? .max : .max << UInt64(64 - ones)
    }

    /// A network of one version holds no address of the other, `::/0` neither.
    func contains(_ address: IPAddress) -> Bool {
        address.high & highMask == base.high && address.low & lowMask == base.low
            && address.isVersion4 == base.isVersion4
    }
}

/// The proxies whose word on a client's address is taken.
public struct TrustedProxies: Hashable, Sendable {
    private let networks: [IPNetwork]

    private init(networks: [IPNetwork]) { self.networks = networks }

    /// Nobody's word is taken.
    public static let none = TrustedProxies(networks: [])

    /// Addresses and networks: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
    ///
    /// - Returns: `nil` when an entry is none of these.
    public static func list(_ entries: [String]) -> TrustedProxies? {
        var networks: [IPNetwork] = []
        for entry in entries {
            guard let network = IPNetwork(entry) else { return nil }
            networks.append(network)
        }
        return TrustedProxies(networks: networks)
    }

    /// Whether an entry is one that ``list(_:)`` takes.
    public static func isValid(entry: String) -> Bool { IPNetwork(entry) != nil }

    /// Whether nobody is trusted.
    public var isEmpty: Bool { networks.isEmpty }

    func contains(_ address: IPAddress) -> Bool { networks.contains { $0.contains(address) } }
}
