package import NIOCore

/// Local addresses to connect from, taken in turn: one address has room for some 28,000 connections to one port.
package struct SourceAddresses: Sendable, Hashable {
    /// Most addresses of one run.
    package static let limit = 1024

    package let addresses: [SocketAddress]

    /// Reads addresses and ranges such as `127.0.0.2-127.0.0.9`; `nil` names the first that is neither.
    package static func parse(_ words: [String]) throws(BenchError) -> SourceAddresses {
        var addresses: [SocketAddress] = []
        for word in words {
            let ends = word.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if ends.count == 2 {
                guard let first = ipv4(ends[0]), let last = ipv4(ends[1]), first <= last,
                    Int(last - first) < limit - addresses.count
                else {
                    throw BenchError(
                        "--source \(word) is not a range of up to \(limit) IPv4 addresses, such as "
                            + "127.0.0.2-127.0.0.9")
                }
                for number in first...last { addresses.append(try address(text(number))) }
            } else {
                addresses.append(try address(word))
            }
        }
        guard addresses.count <= limit else { throw BenchError("more than \(limit) source addresses") }
        return SourceAddresses(addresses: addresses)
    }

    private static func address(_ text: String) throws(BenchError) -> SocketAddress {
        do {
            return try SocketAddress(ipAddress: text, port: 0)
        } catch {
            throw BenchError("--source \(text) is not an IP address")
        }
    }

    private static func ipv4(_ text: String) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard let part else { return nil }
            number = number << 8 | UInt32(part)
        }
        return number
    }

    private static func text(_ number: UInt32) -> String {
        "\(number >> 24).\(number >> 16 & 0xFF).\(number >> 8 & 0xFF).\(number & 0xFF)"
    }
}
