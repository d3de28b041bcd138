import NIOCore
import Testing

@testable import ConduitBench

/// Where a run goes to and comes from.
@Suite struct AddressTests {
    @Test func urlsAreTakenApart() throws {
        let plain = try #require(BenchTarget("ws://host:8000/ws?x=1"))
        #expect((plain.isSecure, plain.host, plain.port, plain.path) == (false, "host", 8000, "/ws?x=1"))
        let secure = try #require(BenchTarget("WSS://[::1]/"))
        #expect((secure.isSecure, secure.host, secure.port, secure.path) == (true, "::1", 443, "/"))
        #expect(secure.authority == "[::1]:443")
        let short = try #require(BenchTarget("ws://127.0.0.1"))
        #expect(short.description == "ws://127.0.0.1:80/ws")
        #expect(BenchTarget("ws://h?token=a")?.path == "/ws?token=a")
    }

    @Test(arguments: [
        "", "host:80", "http://host/", "ws://", "ws:///ws", "ws://user@host/", "ws://host:0/", "ws://host:65536/",
        "ws://host:x/", "ws://[::1/", "ws://[::1]x/", "ws://host/a b", "ws://host/\r\nX: y", "ws://host/#f",
    ])
    func whatIsNoUrlIsRefused(_ text: String) {
        #expect(BenchTarget(text) == nil)
    }

    @Test func sourcesAreAddressesAndRanges() throws {
        let sources = try SourceAddresses.parse(["127.0.0.2-127.0.0.4", "::1", "10.0.0.1"])
        #expect(sources.addresses.map(\.ipAddress) == ["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1", "10.0.0.1"])
        #expect(throws: BenchError.self) { try SourceAddresses.parse(["localhost"]) }
        #expect(throws: BenchError.self) { try SourceAddresses.parse(["127.0.0.9-127.0.0.2"]) }
        #expect(throws: BenchError.self) { try SourceAddresses.parse(["0.0.0.0-255.255.255.255"]) }
        #expect(throws: BenchError.self) { try SourceAddresses.parse(["127.0.0.1-"]) }
    }

    @Test(arguments: ["X: y", "x-a:b", "Cookie: a=b; c=d"])
    func headersMayBeAdded(_ text: String) {
        #expect(HandshakeRequest.Header(text) != nil)
    }

    @Test(arguments: ["", "X", ": y", "A b: c", "X: a\r\nY: b", "Upgrade: h2c", "sec-websocket-key: x"])
    func headersThatWouldChangeTheHandshakeAreRefused(_ text: String) {
        #expect(HandshakeRequest.Header(text) == nil)
    }
}
