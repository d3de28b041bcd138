import NIOCore
import NIOHTTP1
import Testing

@testable import ConduitGateway

extension RequestHead {
    /// The head that a client would send, parsed.
    init(_ head: HTTPRequestHead) throws(Fault) {
        let lines =
            ["\(head.method.rawValue) \(head.uri) HTTP/\(head.version.major).\(head.version.minor)"]
            + head.headers.map { "\($0.name): \($0.value)" }
        try self.init(parsing: Array(lines.joined(separator: "\r\n").utf8), maxFields: 100)
    }
}

@Suite struct HandshakeTests {
    static func head(
        uri: String = "/ws", _ change: (inout HTTPRequestHead) -> Void = { _ in }
    ) throws(RequestHead.Fault) -> RequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: uri)
        head.headers.add(name: "Host", value: "a.example")
        head.headers.add(name: "Upgrade", value: "websocket")
        head.headers.add(name: "Connection", value: "Upgrade")
        head.headers.add(name: "Sec-WebSocket-Version", value: "13")
        head.headers.add(name: "Sec-WebSocket-Key", value: "dGhlIHNhbXBsZSBub25jZQ==")
        change(&head)
        return try RequestHead(head)
    }

    static func refusal(_ change: (inout HTTPRequestHead) -> Void) -> Refusal? {
        do {
            _ = try Handshake.check(head(change))
            return nil
        } catch {
            return error as? Refusal
        }
    }

    @Test func answersTheSampleOfTheStandard() throws {
        let handshake = try Handshake.check(Self.head())
        #expect(String(decoding: handshake.accept, as: UTF8.self) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(
            String(buffer: handshake.answer)
                == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        #expect(handshake.subprotocol == nil)
    }

    @Test func tokensOfConnectionAndUpgradeMayStandInLists() {
        #expect(
            Self.refusal {
                $0.headers.replaceOrAdd(name: "Connection", value: "keep-alive, uPGRADE")
                $0.headers.replaceOrAdd(name: "Upgrade", value: "foo, WebSocket")
            } == nil)
    }

    @Test func eachFaultHasItsStatus() {
        #expect(Self.refusal { $0.method = .POST }?.status == .methodNotAllowed)
        #expect(Self.refusal { $0.version = .http1_0 }?.status == .badRequest)
        #expect(Self.refusal { $0.headers.remove(name: "Host") }?.status == .badRequest)
        #expect(Self.refusal { $0.headers.add(name: "Host", value: "b") }?.status == .badRequest)
        #expect(Self.refusal { $0.headers.add(name: "Content-Length", value: "1") }?.status == .badRequest)
        #expect(Self.refusal { $0.headers.add(name: "Content-Length", value: "0") } == nil)
        #expect(Self.refusal { $0.headers.add(name: "Transfer-Encoding", value: "chunked") }?.status == .badRequest)
        #expect(Self.refusal { $0.headers.remove(name: "Upgrade") }?.status == .upgradeRequired)
        #expect(Self.refusal { $0.headers.replaceOrAdd(name: "Upgrade", value: "h2c") }?.status == .upgradeRequired)
        #expect(
            Self.refusal { $0.headers.replaceOrAdd(name: "Connection", value: "close") }?.status == .upgradeRequired)
        for version in ["12", "8", "13, 8", ""] {
            let refusal = Self.refusal { $0.headers.replaceOrAdd(name: "Sec-WebSocket-Version", value: version) }
            #expect(refusal?.status == .upgradeRequired)
            #expect(refusal?.headers.contains { $0 == ("Sec-WebSocket-Version", "13") } == true)
        }
        #expect(Self.refusal { $0.headers.add(name: "Sec-WebSocket-Version", value: "13") }?.status == .upgradeRequired)
    }

    @Test(arguments: [
        "", "abc", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZ!==",
        "dGhlIHNhbXBsZSBub25jZWE=", "dGhlIHNhbXBsZSBub25jZSBsb25nZXI=", "dGhlIHNhbXBsZSBub25jZQ==,",
    ])
    func aKeyIsSixteenBytes(_ key: String) {
        #expect(Self.refusal { $0.headers.replaceOrAdd(name: "Sec-WebSocket-Key", value: key) }?.status == .badRequest)
    }

    @Test func oneKeyIsNeeded() {
        #expect(Self.refusal { $0.headers.remove(name: "Sec-WebSocket-Key") }?.status == .badRequest)
        #expect(
            Self.refusal { $0.headers.add(name: "Sec-WebSocket-Key", value: "dGhlIHNhbXBsZSBub25jZQ==") }?.status
                == .badRequest)
    }

    @Test(
        arguments: [
            ([], nil), (["conduit.v1.json"], "conduit.v1.json"), (["graphql-ws"], nil),
            (["x, conduit.v1.json"], "conduit.v1.json"),
            (["x", "conduit.v1.json"], "conduit.v1.json"), (["conduit.token.secret"], nil),
            (["conduit.token.secret, conduit.v1.json"], "conduit.v1.json"), (["conduit.v1.msgpack"], nil),
            (["CONDUIT.V1.JSON"], nil),
        ] as [([String], String?)])
    func subprotocols(_ offers: [String], _ selected: String?) throws {
        let handshake = try Handshake.check(
            try Self.head { head in
                for offer in offers { head.headers.add(name: "Sec-WebSocket-Protocol", value: offer) }
            }
        )
        #expect(handshake.subprotocol == selected)
        #expect(!String(buffer: handshake.answer).contains("secret"))
    }

    @Test(
        arguments: [
            ("/ws", [], nil, nil), ("/ws?token=abc", [], "abc", .query),
            ("/ws?a=b&token=a%2Bb%20c&x", [], "a+b c", .query),
            ("/ws?token=", [], nil, nil), ("/ws?tokens=x", [], nil, nil), ("/ws?token=%zz%4", [], "%zz%4", .query),
            ("/ws", [("Authorization", "Bearer t1")], "t1", .authorization),
            ("/ws", [("Authorization", "bearer  t1 ")], "t1", .authorization),
            ("/ws", [("Authorization", "Basic x")], nil, nil),
            ("/ws", [("Authorization", "Bearer")], nil, nil),
            ("/ws", [("Cookie", "a=b; tok=\"t 2\"; c=d")], "t 2", .cookie),
            ("/ws", [("Cookie", "a=b"), ("Cookie", "tok=t3")], "t3", .cookie),
            ("/ws", [("Cookie", "xtok=t3")], nil, nil),
            ("/ws", [("Sec-WebSocket-Protocol", "conduit.v1.json, conduit.token.t4")], "t4", .subprotocol),
            ("/ws", [("Sec-WebSocket-Protocol", "conduit.token.")], nil, nil),
            ("/ws?token=q", [("Authorization", "Bearer a"), ("Cookie", "tok=c")], "a", .authorization),
            ("/ws?token=q", [("Cookie", "tok=c")], "q", .query),
            ("/ws?token=q", [("Sec-WebSocket-Protocol", "conduit.token.s")], "s", .subprotocol),
        ] as [(String, [(String, String)], String?, HandshakeRequest.Token.Source?)])
    func tokens(
        _ uri: String, _ headers: [(String, String)], _ value: String?, _ source: HandshakeRequest.Token.Source?
    ) throws {
        let head = try Self.head(uri: uri) { head in
            for (name, value) in headers { head.headers.add(name: name, value: value) }
        }
        let request = HandshakeRequest(head: head, remoteAddress: nil, tokenCookie: "tok")
        #expect(request.token?.value == value)
        #expect(request.token?.source == source)
        #expect(request.path == "/ws")
    }

    @Test func aDescriptionTellsNoSecret() throws {
        let head = try Self.head(uri: "/ws?token=secret") { $0.headers.add(name: "Cookie", value: "tok=secret") }
        let request = HandshakeRequest(head: head, remoteAddress: nil, tokenCookie: "tok")
        #expect(!"\(request)".contains("secret"))
        #expect(!"\(request.token.map { "\($0)" } ?? "")".contains("secret"))
    }
}
