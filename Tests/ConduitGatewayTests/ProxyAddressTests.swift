import NIOCore
import Testing

@testable import ConduitGateway

/// Addresses, networks, and what proxies say of them.
@Suite struct ProxyAddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("::", "::"),
        ("1.2.3", nil), ("1.2.3.4.5", nil), ("01.2.3.4", nil), ("1.2.3.4 ", nil), ("fe80::1%eth0", nil), ("", nil),
        ("localhost", nil), ("1.2.3.4\u{0}", nil), ("2001:db8::g", nil), ("[::1]", nil),
    ])
    func addressesAreRead(_ text: String, _ shown: String?) {
        #expect(IPAddress(text)?.description == shown)
    }

    @Test func addressesOfSocketsAreTheSame() throws {
        for text in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            let socket = try SocketAddress(ipAddress: text, port: 80)
            #expect(IPAddress(socket) == IPAddress(text))
        }
        #expect(IPAddress(try SocketAddress(unixDomainSocketPath: "/a")) == nil)
    }

    @Test func aSubscriberIsAnAddressOrANetworkOf64Bits() {
        #expect(IPAddress("2001:db8:1:2:3:4:5:6")?.subscriber == IPAddress("2001:db8:1:2::"))
        #expect(IPAddress("192.0.2.1")?.subscriber == IPAddress("192.0.2.1"))
        #expect(IPAddress("::ffff:192.0.2.1")?.subscriber == IPAddress("192.0.2.1"))
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false), ("10.9.8.7/8", "10.0.0.1", true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "2001:db8::1", false), ("::/0", "2001:db8::1", true),
        ("::/0", "192.0.2.1", false), ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false), ("2001:db8::/64", "2001:db8:0:0:ffff::", true),
        ("2001:db8::/64", "2001:db8:0:1::", false), ("2001:db8::5/127", "2001:db8::4", true),
        ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.8", false), ("::1", "::1", true),
    ])
    func networksHoldTheirAddresses(_ network: String, _ address: String, _ holds: Bool) throws {
        #expect(try #require(IPNetwork(network)).contains(try #require(IPAddress(address))) == holds)
    }

    @Test(arguments: [
        "", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "/8", "a/8", "1.2.3.4/8/8",
    ])
    func whatIsNoNetworkIsRefused(_ text: String) {
        #expect(IPNetwork(text) == nil)
        #expect(!TrustedProxies.isValid(entry: text))
    }

    // MARK: Forwarded, X-Forwarded-For

    /// The peer is 10.0.0.1 everywhere; 10.0.0.0/8 and 2001:db8:aaaa::/48 are trusted.
    @Test(arguments: [
        // What the one proxy has seen stands right; what stands left of it may be forged.
        ("X-Forwarded-For: 203.0.113.5", "203.0.113.5"), ("X-Forwarded-For: 1.1.1.1, 203.0.113.5", "203.0.113.5"),
        ("X-Forwarded-For: nonsense, \",, 203.0.113.5", "203.0.113.5"),
        // Trusted hops are walked past, over several lines too.
        ("X-Forwarded-For: 203.0.113.5, 10.2.2.2,10.3.3.3", "203.0.113.5"),
        ("X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 10.2.2.2", "203.0.113.5"),
        ("X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 203.0.113.5", "203.0.113.5"),
        ("X-Forwarded-For: 203.0.113.5, 2001:db8:aaaa::9", "203.0.113.5"),
        // All trusted: the one farthest away.
        ("X-Forwarded-For: 10.9.9.9, 10.2.2.2", "10.9.9.9"),
        // Other forms, and lists with holes.
        ("X-Forwarded-For: 203.0.113.5:4711", "203.0.113.5"), ("X-Forwarded-For: 2001:db8::7", "2001:db8::7"),
        ("X-Forwarded-For: [2001:db8::7]", "2001:db8::7"), ("X-Forwarded-For: [2001:db8::7]:4711", "2001:db8::7"),
        ("X-Forwarded-For: ::ffff:203.0.113.5", "203.0.113.5"), ("X-Forwarded-For: 203.0.113.5, ,", "203.0.113.5"),
        // Nothing that can be believed: the peer.
        ("X-Other: 1", "10.0.0.1"), ("X-Forwarded-For:", "10.0.0.1"), ("X-Forwarded-For: unknown", "10.0.0.1"),
        ("X-Forwarded-For: 203.0.113.5, unknown", "10.0.0.1"), ("X-Forwarded-For: 1.1.1.1, 999.0.0.1", "10.0.0.1"),
        ("X-Forwarded-For: 203.0.113.5:port", "10.0.0.1"), ("X-Forwarded-For: [2001:db8::7", "10.0.0.1"),
        ("X-Forwarded-For: [2001:db8::7]x", "10.0.0.1"), ("X-Forwarded-For: a.example", "10.0.0.1"),
        // RFC 7239, with its own examples.
        ("Forwarded: for=203.0.113.5", "203.0.113.5"),
        ("Forwarded: For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("Forwarded: for=203.0.113.5;proto=http;by=203.0.113.43", "203.0.113.5"),
        ("Forwarded: for=1.1.1.1, for=203.0.113.5", "203.0.113.5"),
        ("Forwarded: for=203.0.113.5, proto=https ; for=10.2.2.2", "203.0.113.5"),
        ("Forwarded: for=1.1.1.1\r\nForwarded: for=203.0.113.5", "203.0.113.5"),
        ("Forwarded: host=\"a,b;for=1.1.1.1\";for=203.0.113.5", "203.0.113.5"),
        ("Forwarded: for=\"203.0.113.5:80\"", "203.0.113.5"), ("Forwarded: for=203.0.113.5:80", "203.0.113.5"),
        ("Forwarded: for=\"203\\.0.113.5\"", "203.0.113.5"),
        ("Forwarded: for=_hidden", "10.0.0.1"), ("Forwarded: for=unknown", "10.0.0.1"),
        ("Forwarded: proto=https", "10.0.0.1"), ("Forwarded: for=203.0.113.5;for=203.0.113.6", "10.0.0.1"),
        ("Forwarded: for=\"203.0.113.5", "10.0.0.1"), ("Forwarded: for=[2001:db8::7]", "10.0.0.1"),
        ("Forwarded: for 203.0.113.5", "10.0.0.1"), ("Forwarded: for=", "10.0.0.1"),
        // A proxy writes one of both; which one can't be told when they differ.
        ("Forwarded: for=203.0.113.5\r\nX-Forwarded-For: 203.0.113.5", "203.0.113.5"),
        ("Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 203.0.113.5", "10.0.0.1"),
        ("Forwarded: nonsense\r\nX-Forwarded-For: 203.0.113.5", "10.0.0.1"),
    ])
    func trustedProxiesAreBelieved(_ fields: String, _ client: String) throws {
        let trusted = try #require(TrustedProxies.list(["10.0.0.0/8", "2001:db8:aaaa::/48"]))
        let head = try RequestHead(parsing: Array("GET / HTTP/1.1\r\n\(fields)".utf8), maxFields: 10)
        let peer = try #require(IPAddress("10.0.0.1"))
        #expect(ForwardedAddress.client(of: head, peer: peer, trusted: trusted).description == client)
        // From anybody else it means nothing.
        let stranger = try #require(IPAddress("198.51.100.1"))
        #expect(ForwardedAddress.client(of: head, peer: stranger, trusted: trusted) == stranger)
        #expect(ForwardedAddress.client(of: head, peer: peer, trusted: .none) == peer)
    }

    // MARK: PROXY headers

    enum Read: Equatable {
        case unfinished, malformed
        case client(String?, rest: String)
    }

    /// Feeds bytes in pieces of `size`, what is behind the header too.
    static func read(_ bytes: [UInt8], size: Int) -> Read {
        var header = ProxyHeader()
        var next = 0
        while next < bytes.count {
            let end = min(next + size, bytes.count)
            switch header.next(ByteBuffer(bytes: bytes[next..<end])) {
            case .incomplete: next = end
            case .malformed: return .malformed
            case .complete(let party, let rest):
                let who: String? =
                    switch party {
                    case .proxy: nil
                    case .unknown: "unknown"
                    case .client(let address): address.description
                    }
                let text = String(buffer: rest ?? ByteBuffer()) + String(decoding: bytes[end...], as: UTF8.self)
                return .client(who, rest: text)
            }
        }
        return .unfinished
    }

    static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    static func binary(_ command: UInt8, _ family: UInt8, _ body: [UInt8], length: Int? = nil) -> [UInt8] {
        let length = length ?? body.count
        return signature + [command, family, UInt8(length >> 8), UInt8(length & 0xFF)] + body
    }

    static let version4: [UInt8] = [203, 0, 113, 5, 10, 0, 0, 1, 0x12, 0x34, 0, 80]
    static let version6: [UInt8] =
        [0x20, 0x01, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [7] + Array(repeating: 0, count: 20)
    static let extensions: [UInt8] = [0x03, 0x00, 0x04, 1, 2, 3, 4, 0x04, 0x00, 0x00]

    @Test(arguments: [
        (Array("PROXY TCP4 203.0.113.5 10.0.0.1 56324 443\r\n".utf8), "203.0.113.5"),
        (Array("PROXY TCP6 2001:db8::7 2001:db8::1 4124 443\r\n".utf8), "2001:db8::7"),
        (Array("PROXY UNKNOWN\r\n".utf8), "unknown"),
        (Array("PROXY UNKNOWN ffff::1 x y z\r\n".utf8), "unknown"),
        (Array("PROXY UNKNOWN \(String(repeating: "x", count: 91))\r\n".utf8), "unknown"),
        (binary(0x21, 0x11, version4), "203.0.113.5"), (binary(0x21, 0x11, version4 + extensions), "203.0.113.5"),
        (binary(0x21, 0x21, version6), "2001:db8::7"), (binary(0x21, 0x21, version6 + extensions), "2001:db8::7"),
        (binary(0x20, 0x00, []), nil), (binary(0x20, 0x11, version4), nil), (binary(0x21, 0x00, extensions), "unknown"),
        (binary(0x21, 0x31, Array(repeating: 0, count: 216)), "unknown"),
    ])
    func headersAreReadHoweverTheyCome(_ header: [UInt8], _ client: String?) {
        for size in [1, 2, 3, 5, 7, 11, 16, 1_000] {
            #expect(Self.read(header + "GET /".utf8, size: size) == .client(client, rest: "GET /"), "\(size)")
        }
        for count in 1..<header.count { #expect(Self.read(Array(header.prefix(count)), size: 9) == .unfinished) }
    }

    @Test(arguments: [
        Array("GET / HTTP/1.1\r\n\r\n".utf8), Array("PROXY TCP4 203.0.113.5 10.0.0.1 1\r\n".utf8),
        Array("PROXY TCP4 203.0.113.5 10.0.0.1 1 65536\r\n".utf8), Array("PROXY TCP4 2001:db8::7 ::1 1 2\r\n".utf8),
        Array("PROXY TCP6 203.0.113.5 10.0.0.1 1 2\r\n".utf8), Array("PROXY TCP4  203.0.113.5 10.0.0.1 1 2\r\n".utf8),
        Array("PROXY UDP4 203.0.113.5 10.0.0.1 1 2\r\n".utf8), Array("PROXY TCP4 203.0.113.5 10.0.0.1 1 2\rX".utf8),
        Array("PROXY UNKNOWN \(String(repeating: "x", count: 120))\r\n".utf8), Array("proxy TCP4".utf8),
        Array("PROXY UNKNOWN \(String(repeating: "x", count: 92))\r\n".utf8),
        binary(0x11, 0x11, version4), binary(0x22, 0x11, version4), binary(0x21, 0x12, version4),
        binary(0x21, 0x11, Array(version4.prefix(11))), binary(0x21, 0x21, Array(version6.prefix(35))),
        binary(0x21, 0x41, version4), binary(0x21, 0x11, version4, length: 65_535), [0x16, 0x03, 0x01],
    ])
    func whatIsNoHeaderIsRefused(_ bytes: [UInt8]) {
        for size in [1, 7, 1_000] { #expect(Self.read(bytes, size: size) == .malformed) }
    }
}
