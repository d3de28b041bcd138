import NIOHTTP1
import Testing

@testable import ConduitGateway

@Suite struct OriginPolicyTests {
    static func request(origin: String?, host: String = "chat.example.com") throws -> HandshakeRequest {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/ws")
        head.headers.add(name: "Host", value: host)
        if let origin { head.headers.add(name: "Origin", value: origin) }
        return HandshakeRequest(head: try RequestHead(head), remoteAddress: nil, tokenCookie: "")
    }

    @Test(
        arguments: [
            (nil, "a.example", true), ("http://a.example", "a.example", true), ("https://a.example", "a.example", true),
            ("https://A.Example", "a.eXample", true), ("http://a.example:80", "a.example", true),
            ("https://a.example:443", "a.example", true), ("https://a.example", "a.example:443", true),
            ("http://a.example:8080", "a.example:8080", true), ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true), ("http://a.example:8080", "a.example", false),
            ("http://a.example", "a.example:8080", false), ("http://a.example", "a.example:443", false),
            ("http://b.example", "a.example", false), ("http://a.example.evil", "a.example", false),
            ("http://evila.example", "a.example", false), ("http://sub.a.example", "a.example", false),
            ("null", "a.example", false), ("", "a.example", false), ("a.example", "a.example", false),
            ("http://", "a.example", false), ("http://a.example/", "a.example", false),
            ("http://user@a.example", "a.example", false), ("http://a.example:0", "a.example", false),
            ("http://a.example:80:80", "a.example", false), ("http://a.example:+80", "a.example", false),
            ("://a.example", "a.example", false), ("http://a.example#", "a.example", false),
        ] as [(String?, String, Bool)])
    func sameHost(_ origin: String?, _ host: String, _ isAllowed: Bool) throws {
        #expect(try OriginPolicy.sameHost.allows(Self.request(origin: origin, host: host)) == isAllowed)
    }

    /// A page of any name may be served from 127.0.0.1: its name is what counts.
    @Test(
        arguments: [
            (nil, "evil.example:8080", true), ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://localhost:8080", "localhost:8080", true), ("http://LocalHost:8080", "localhost:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true), ("http://127.9.9.9", "127.9.9.9", true),
            ("http://evil.example:8080", "evil.example:8080", false), ("http://192.0.2.1", "192.0.2.1", false),
            ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", false),
            ("http://localhost.evil.example", "localhost.evil.example", false), ("http://127.1", "127.1", false),
            ("http://evil.example:8080", "127.0.0.1:8080", false), ("http://localhost:1", "localhost:8080", false),
            ("null", "localhost", false),
        ] as [(String?, String, Bool)])
    func sameLoopbackHost(_ origin: String?, _ host: String, _ isAllowed: Bool) throws {
        #expect(try OriginPolicy.sameLoopbackHost.allows(Self.request(origin: origin, host: host)) == isAllowed)
    }

    @Test(
        arguments: [
            (nil, true), ("https://app.example.com", true), ("https://APP.example.com:443", true),
            ("http://app.example.com", false), ("https://app.example.com:444", false),
            ("https://chat.example.com", false), ("https://a.wild.example", true), ("https://a.b.wild.example", true),
            ("https://wild.example", false), ("https://.wild.example", false), ("https://evilwild.example", false),
            ("http://a.wild.example", false), ("http://localhost:3000", true), ("http://localhost", false),
            ("null", false),
        ] as [(String?, Bool)])
    func list(_ origin: String?, _ isAllowed: Bool) throws {
        let policy = try #require(
            OriginPolicy.list(["https://app.example.com", "https://*.wild.example", "http://localhost:3000"]))
        #expect(try policy.allows(Self.request(origin: origin)) == isAllowed)
    }

    @Test func anAsteriskAllowsEveryPage() throws {
        let policy = try #require(OriginPolicy.list(["https://a.example", "*"]))
        for origin in [nil, "null", "https://evil.example", "nonsense"] {
            #expect(try policy.allows(Self.request(origin: origin)))
        }
    }

    @Test func anEmptyListMeansSameHost() throws {
        let policy = try #require(OriginPolicy.list([]))
        #expect(try policy.allows(Self.request(origin: "https://chat.example.com")))
        #expect(try !policy.allows(Self.request(origin: "https://app.example.com")))
    }

    @Test(arguments: [
        "", "app.example.com", "https://", "https://*", "https://a*.example", "https://a.example/x", "*.a",
    ])
    func entriesAreChecked(_ entry: String) {
        #expect(OriginPolicy.list([entry]) == nil)
        #expect(!OriginPolicy.isValid(entry: entry))
    }

    @Test func twoOriginsAreRefused() throws {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/ws")
        head.headers.add(name: "Host", value: "a.example")
        head.headers.add(name: "Origin", value: "http://a.example")
        head.headers.add(name: "Origin", value: "http://b.example")
        let request = HandshakeRequest(head: try RequestHead(head), remoteAddress: nil, tokenCookie: "")
        #expect(!OriginPolicy.sameHost.allows(request))
    }

    @Test func embeddersDecideThemselves() throws {
        let policy = OriginPolicy.custom { origin, request in origin == "x://y" && request.path == "/ws" }
        #expect(try policy.allows(Self.request(origin: "x://y")))
        #expect(try !policy.allows(Self.request(origin: "https://chat.example.com")))
        #expect(try policy.allows(Self.request(origin: nil)))
    }
}
