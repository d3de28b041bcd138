import NIOCore

/// The header with which a proxy tells whom it speaks for before anything else: PROXY protocol version 1 (a line of
/// text) and 2 (binary), as HAProxy's `send-proxy` and `send-proxy-v2` write it. A value without I/O.
struct ProxyHeader {
    /// For whom the proxy speaks.
    enum Party: Hashable {
        /// Itself, as health checks do.
        case proxy
        /// A client of which it can't say who it is.
        case unknown
        case client(IPAddress)
    }

    enum Outcome {
        /// More bytes are needed.
        case incomplete
        /// For whom it speaks, and what came behind the header.
        case complete(Party, rest: ByteBuffer?)
        /// This is no such header.
        case malformed
    }

    /// The longest line of version 1 with its end, by its specification.
    private static let longestLine = 107
    /// The longest header of version 2 that is taken; its specification lets extensions be longer than anybody's are.
    private static let longestBinary = 4_096
    private static let line = Array("PROXY ".utf8)
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    private var received: [UInt8] = []

    /// Takes what was read and looks whether the header is complete.
    mutating func next(_ bytes: ByteBuffer) -> Outcome {
        received.append(contentsOf: bytes.readableBytesView)
        if begins(with: Self.line) { return text() }
        if begins(with: Self.signature) { return binary() }
        return .malformed
    }

    /// Whether it begins like that, as far as it is there.
    private func begins(with start: [UInt8]) -> Bool {
        received.prefix(start.count).elementsEqual(start.prefix(received.count))
    }

    private func finish(_ count: Int, _ party: Party) -> Outcome {
        .complete(party, rest: received.count > count ? ByteBuffer(bytes: received[count...]) : nil)
    }

    // MARK: Version 1

    private func text() -> Outcome {
        guard let end = received.prefix(Self.longestLine - 1).firstIndex(of: 0x0D), end + 1 < received.count else {
            return received.count < Self.longestLine ? .incomplete : .malformed
        }
        guard received[end + 1] == 0x0A else { return .malformed }
        let words = String(decoding: received[..<end], as: UTF8.self)
            .split(separator: " ", omittingEmptySubsequences: false)
        // What stands behind UNKNOWN must be ignored.
        if words.count >= 2, words[1] == "UNKNOWN" { return finish(end + 2, .unknown) }
        guard words.count == 6, words[1] == "TCP4" || words[1] == "TCP6", Self.isPort(words[4]), Self.isPort(words[5]),
            let source = IPAddress(words[2]), IPAddress(words[3]) != nil,
            words[2...3].allSatisfy({ $0.utf8.contains(0x3A) == (words[1] == "TCP6") })
        else { return .malformed }
        return finish(end + 2, .client(source))
    }

    private static func isPort(_ text: Substring) -> Bool {
        (1...5).contains(text.utf8.count) && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
            && Int(text).map { $0 <= 65_535 } == true
    }

    // MARK: Version 2

    private func binary() -> Outcome {
        guard received.count >= 16 else { return .incomplete }
        let length = Int(received[14]) << 8 | Int(received[15])
        guard received[12] >> 4 == 2, received[12] & 0x0F <= 1, 16 + length <= Self.longestBinary else {
            return .malformed
        }
        guard received.count >= 16 + length else { return .incomplete }
        // LOCAL: the proxy speaks for itself, as its health checks do.
        if received[12] & 0x0F == 0 { return finish(16 + length, .proxy) }
        let addresses = received[16..<16 + length]
        switch received[13] {
        case 0x11:
            guard addresses.count >= 12 else { return .malformed }
            let source = addresses.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            return finish(16 + length, .client(IPAddress(version4: source)))
        case 0x21:
            guard addresses.count >= 36, let source = IPAddress(version6: addresses.prefix(16)) else {
                return .malformed
            }
            return finish(16 + length, .client(source))
        // Unspecified, or a socket in the proxy's own file system: the proxy can't say.
        case 0x00, 0x31: return finish(16 + length, .unknown)
        // Datagrams, and families that nobody has defined.
        default: return .malformed
        }
    }
}
