import ConduitHub
import ConduitTesting
import NIOCore
import NIOSSL
import Synchronization
import Testing

@testable import ConduitGateway

/// Proxies before the public port: PROXY headers by hand, and a real HAProxy.
@Suite struct ProxyTests {
    /// Notes what authentication is told of each client's address.
    final class Addresses: Sendable {
        private let seen = Mutex<[String]>([])

        var handler: AuthenticationHandler {
            { request in
                self.seen.withLock { $0.append(request.remoteAddress ?? "") }
                return .anonymous
            }
        }

        var all: [String] { seen.withLock { $0 } }
    }

    static func trust(_ configuration: inout GatewayConfiguration, _ networks: String...) {
        configuration.trustedProxies = TrustedProxies.list(networks) ?? .none
        configuration.proxyProtocol = true
    }

    static let request = "GET /ws HTTP/1.1\r\n\(GatewayTests.upgrade)\r\n"

    // MARK: By hand

    @Test(arguments: [1, 5, 1_000])
    func aHeaderInPiecesTellsTheClient(_ size: Int) async throws {
        let addresses = Addresses()
        try await GatewayTests.withGateway(
            { Self.trust(&$0, "127.0.0.1") }, authenticate: addresses.handler
        ) { port, _, _ in
            let tail = "\(Self.request)".utf8
            let headers = [
                Array("PROXY TCP4 203.0.113.5 10.0.0.1 56324 443\r\n".utf8),
                ProxyAddressTests.binary(0x21, 0x21, ProxyAddressTests.version6 + ProxyAddressTests.extensions),
                ProxyAddressTests.binary(0x20, 0x00, []),
            ]
            for header in headers {
                let socket = try await TestSocket.connect(port: port)
                let bytes = header + tail
                for start in stride(from: 0, to: bytes.count, by: size) {
                    try await socket.send(ByteBuffer(bytes: bytes[start..<min(start + size, bytes.count)]))
                }
                try await socket.wait { $0.hasPrefix("HTTP/1.1 101 ") && $0.hasSuffix("\r\n\r\n") }
                try await socket.send(MaskedFrame.text("{\"type\":\"ping\",\"data\":1}"))
                try await socket.wait { $0.contains("{\"timestamp\":1}") }
                await socket.close()
            }
            #expect(addresses.all == ["203.0.113.5", "2001:db8::7", "127.0.0.1"])
        }
    }

    /// A proxy that can't say who the client is has not written the head of the request either.
    @Test func fieldsOfAnUnknownClientAreNotBelieved() async throws {
        let addresses = Addresses()
        try await GatewayTests.withGateway(
            { Self.trust(&$0, "127.0.0.1") }, authenticate: addresses.handler
        ) { port, _, _ in
            let head = "GET /ws HTTP/1.1\r\nX-Forwarded-For: 203.0.113.5\r\n\(GatewayTests.upgrade)\r\n"
            let headers = [
                Array("PROXY UNKNOWN\r\n".utf8), ProxyAddressTests.binary(0x21, 0x00, []),
                ProxyAddressTests.binary(0x21, 0x31, Array(repeating: 0, count: 216)),
                // The proxy itself says whom it has this request from.
                ProxyAddressTests.binary(0x20, 0x00, []),
            ]
            for header in headers {
                let socket = try await TestSocket.connect(port: port)
                try await socket.send(ByteBuffer(bytes: header + head.utf8))
                try await socket.wait { $0.hasPrefix("HTTP/1.1 101 ") && $0.hasSuffix("\r\n\r\n") }
                await socket.close()
            }
            #expect(addresses.all == ["127.0.0.1", "127.0.0.1", "127.0.0.1", "203.0.113.5"])
        }
    }

    @Test func itIsNeededFromProxiesAndRefusedFromOthers() async throws {
        try await GatewayTests.withGateway({
            Self.trust(&$0, "127.0.0.1")
            $0.handshakeTimeoutMilliseconds = 2_000
        }) { port, gateway, _ in
            let bare = try await TestSocket.connect(port: port)
            try await bare.send(Self.request)
            #expect(try await bare.waitForClose().isEmpty)
            #expect(gateway.statistics.results == ["bad_proxy_header": 1])
            for header in [
                Array("PROXY TCP4 203.0.113.5 10.0.0.1 56324 443\r\n".utf8),
                ProxyAddressTests.binary(0x21, 0x11, ProxyAddressTests.version4),
            ] {
                let stranger = try await TestSocket.connect(port: port, from: "127.0.0.2")
                try await stranger.send(ByteBuffer(bytes: header + Self.request.utf8))
                #expect(TestHTTPResponse(try await stranger.waitForClose())?.status == 400)
                await stranger.close()
            }
            #expect(gateway.statistics.results["400"] == 2)
            // Without one a stranger is welcome.
            let direct = try await TestWebSocket.connect(port: port, from: "127.0.0.2")
            await direct.drop()
            // Half a header.
            let slow = try await TestSocket.connect(port: port)
            try await slow.send("PROXY TCP4 203")
            _ = try await slow.waitForClose()
            #expect(gateway.statistics.results["timeout"] == 1)
            for socket in [bare, slow] { await socket.close() }
            try await eventually { gateway.statistics.open == 0 }
        }
    }

    // MARK: HAProxy

    @Test func aRealProxyTellsTheClientsAddress() async throws {
        let addresses = Addresses()
        try await GatewayTests.withGateway(
            { Self.trust(&$0, "127.0.0.1") }, authenticate: addresses.handler
        ) { port, gateway, _ in
            let ports = [try await RedisServer.freePort(), try await RedisServer.freePort()]
            let proxy = try await HAProxy.start(
                """
                frontend one
                 bind 127.0.0.1:\(ports[0])
                 default_backend one
                backend one
                 server node 127.0.0.1:\(port) send-proxy check check-send-proxy
                frontend two
                 bind 127.0.0.1:\(ports[1])
                 default_backend two
                backend two
                 option httpchk GET /ready
                 http-check send hdr Host conduit
                 server node 127.0.0.1:\(port) send-proxy-v2 proxy-v2-options unique-id,crc32c check
                """, ports: ports)
            for (number, proxyPort) in ports.enumerated() {
                let client = try await TestWebSocket.connect(port: proxyPort, from: "127.0.0.\(number + 5)")
                #expect(try await client.request("ping", "1").int("timestamp") == 1)
                await client.drop()
            }
            #expect(addresses.all == ["127.0.0.5", "127.0.0.6"])
            // Its checks of /ready say LOCAL and are answered.
            try await eventually { gateway.statistics.results["page"] ?? 0 > 0 }
            withExtendedLifetime(proxy) {}
        }
    }

    @Test func aRealProxyPassesTLSOn() async throws {
        let addresses = Addresses()
        let certificates = try await TestCertificates.make()
        let tls = ServerTLS(certificateFile: certificates.certificateFile, keyFile: certificates.keyFile)
        try await GatewayTests.withGateway(
            {
                Self.trust(&$0, "127.0.0.0/30")
                $0.tls = tls
            }, authenticate: addresses.handler
        ) { port, _, _ in
            let proxyPort = try await RedisServer.freePort()
            let proxy = try await HAProxy.start(
                """
                listen tls
                 mode tcp
                 bind 127.0.0.1:\(proxyPort)
                 server node 127.0.0.1:\(port) send-proxy-v2
                """, ports: [proxyPort])
            let client = try await TestWebSocket.connect(
                port: proxyPort, authority: certificates.caFile, from: "127.0.0.9")
            #expect(try await client.request("ping", "1").int("timestamp") == 1)
            await client.drop()
            #expect(addresses.all == ["127.0.0.9"])
            withExtendedLifetime(proxy) {}
        }
    }

    @Test func aRealProxysForwardedForIsBelieved() async throws {
        let addresses = Addresses()
        try await GatewayTests.withGateway(
            {
                $0.trustedProxies = TrustedProxies.list(["127.0.0.1"]) ?? .none
            }, authenticate: addresses.handler
        ) { port, _, _ in
            let proxyPort = try await RedisServer.freePort()
            let proxy = try await HAProxy.start(
                """
                listen http
                 bind 127.0.0.1:\(proxyPort)
                 option forwardfor
                 server node 127.0.0.1:\(port)
                """, ports: [proxyPort])
            let client = try await TestWebSocket.connect(
                port: proxyPort, headers: [("X-Forwarded-For", "203.0.113.77")], from: "127.0.0.9")
            await client.drop()
            #expect(addresses.all == ["127.0.0.9"])
            withExtendedLifetime(proxy) {}
        }
    }
}
