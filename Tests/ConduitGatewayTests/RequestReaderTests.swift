import ConduitTesting
import NIOCore
import Testing

@testable import ConduitGateway

@Suite struct RequestReaderTests {
    static let request =
        "GET /ws?x=1 HTTP/1.1\r\nHost: a.example\r\nX-Empty:\r\nX-Blank: \t\r\ncookie: \tb=c; d=e \t\r\nCookie: f\r\n\r\n"

    /// What becomes of bytes, in a word; and the head where it is one.
    static func read(_ pieces: [[UInt8]], maxBytes: Int = 1000, maxFields: Int = 10) -> (String, RequestHead?, String) {
        var reader = RequestReader()
        for piece in pieces {
            switch reader.next(ByteBuffer(bytes: piece), maxBytes: maxBytes, maxFields: maxFields) {
            case .incomplete: continue
            case .complete(let head, let leftover):
                return ("complete", head, leftover.map { String(buffer: $0) } ?? "")
            case .malformed: return ("malformed", nil, "")
            case .tooLarge: return ("too large", nil, "")
            }
        }
        return ("incomplete", nil, "")
    }

    static func verdict(_ text: String) -> String { read([Array(text.utf8)]).0 }

    @Test func aHeadIsTakenApart() throws {
        let (verdict, head, leftover) = Self.read([Array((Self.request + "behind").utf8)])
        #expect(verdict == "complete" && leftover == "behind")
        let parsed = try #require(head)
        #expect(parsed.method == .get && parsed.version == .http1_1 && parsed.target == "/ws?x=1")
        #expect(parsed.hasPath("/ws") && !parsed.hasPath("/w") && !parsed.hasPath("/ws?x=1"))
        #expect(parsed.headers.map(\.name) == ["Host", "X-Empty", "X-Blank", "cookie", "Cookie"])
        #expect(parsed.headers.map(\.value) == ["a.example", "", "", "b=c; d=e", "f"])
        #expect(parsed.count("cookie") == 2 && parsed.only("cookie") == nil && parsed.only("host") != nil)
        #expect(parsed.hasElement("x-blank") { _ in true } == false)
    }

    @Test func slicesMakeNoDifference() {
        let bytes = Array((Self.request + "behind").utf8)
        for size in 1...bytes.count {
            let starts = stride(from: 0, to: bytes.count, by: size)
            let pieces = starts.map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
            let (verdict, head, _) = Self.read(pieces)
            #expect(verdict == "complete" && head?.headers.count == 5, "slices of \(size)")
        }
    }

    @Test func twistedRequestsAreRefused() {
        let bad = [
            "GET /ws HTTP/1.1\nHost: a\n\n\r\n\r\n", "GET  /ws HTTP/1.1\r\n\r\n", "GET /ws  HTTP/1.1\r\n\r\n",
            " GET /ws HTTP/1.1\r\n\r\n", "GET /w s HTTP/1.1\r\n\r\n", "GET /ws HTTP/1.1 \r\n\r\n",
            "GET /ws http/1.1\r\n\r\n", "GET /ws HTTP/1.2\r\n\r\n", "GET /ws HTTP/2.0\r\n\r\n", "GET /ws\r\n\r\n",
            "GET HTTP/1.1\r\n\r\n", "G\u{7F}T /ws HTTP/1.1\r\n\r\n", "GET /w\u{7F}s HTTP/1.1\r\n\r\n",
            "GET /\u{E4} HTTP/1.1\r\n\r\n", "GET /ws HTTP/1.1\r\nHost : a\r\n\r\n", "GET /ws HTTP/1.1\r\n: a\r\n\r\n",
            "GET /ws HTTP/1.1\r\nHost\r\n\r\n", "GET /ws HTTP/1.1\r\nA: b\r\n continued\r\n\r\n",
            "GET /ws HTTP/1.1\r\nA: b\rc\r\n\r\n", "GET /ws HTTP/1.1\r\nA: b\nc: d\r\n\r\n",
            "GET /ws HTTP/1.1\r\nA: \u{0}\r\n\r\n", "GET /ws HTTP/1.1\r\nA: \u{7F}\r\n\r\n",
            "GET /ws HTTP/1.1\r\nA(: b\r\n\r\n", "GET /ws HTTP/1.1\r\n\u{E4}: b\r\n\r\n",
        ]
        for request in bad { #expect(Self.verdict(request) == "malformed", "\(request.debugDescription)") }
    }

    @Test func oddButAllowedRequestsAreRead() {
        let good = [
            "GET / HTTP/1.0\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "!#$%&'*+-.^_`|~ / HTTP/1.1\r\n\r\n",
            "GET * HTTP/1.1\r\n\r\n", "GET http://a/ws HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nA:b:c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: \u{E4}\u{1F600}\r\n\r\n",
        ]
        for request in good { #expect(Self.verdict(request) == "complete", "\(request.debugDescription)") }
    }

    @Test func otherProtocolsAreToldAtOnce() {
        #expect(Self.read([[0x16, 0x03, 0x01]]).0 == "malformed")
        #expect(Self.read([[0x00]]).0 == "malformed")
        #expect(Self.read([Array(String(repeating: "A", count: 40).utf8)]).0 == "malformed")
        for text in ["", "\r", "\r\n", "G", "GET", "GET ", "GET \u{0}", "OPTIONS"] {
            #expect(Self.verdict(text) == "incomplete", "\(text.debugDescription)")
        }
    }

    @Test func headsAreBounded() {
        let fields = (0..<11).map { "A\($0): b\r\n" }.joined()
        #expect(Self.verdict("GET / HTTP/1.1\r\n\(fields)\r\n") == "too large")
        #expect(Self.verdict("GET /" + String(repeating: "u", count: 1001)) == "too large")
        #expect(Self.verdict("GET / HTTP/1.1\r\nA: \(String(repeating: "v", count: 1000))\r\n\r\n") == "too large")
        #expect(Self.verdict(String(repeating: "\r\n", count: 10_000)) == "incomplete")
    }

    @Test func whereTheLimitFallsDoesNotDependOnTheSlices() {
        for length in 990...1_004 {
            let start = "GET / HTTP/1.1\r\nA: "
            let text = start + String(repeating: "v", count: length - start.utf8.count) + "\r\n\r\n"
            let expected = length <= 1_000 ? "complete" : "too large"
            #expect(Self.read([Array(text.utf8)]).0 == expected)
            #expect(Self.read(text.utf8.map { [$0] }).0 == expected, "a head of \(length) bytes")
        }
    }

    @Test func anyBytesAreAnswered() {
        var generator = SeededGenerator(seed: 7)
        let alphabet = Array("GET /ws HTTP/1.1\r\n\r\nHost: a,\t\u{0}".utf8) + [0xFF]
        for _ in 0..<20_000 {
            var bytes = Array(Self.request.utf8)
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[place] = alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            let cut = Int.random(in: 0...bytes.count, using: &generator)
            let whole = Self.read([bytes])
            let halves = Self.read([Array(bytes[..<cut]), Array(bytes[cut...])])
            if whole.0 == "complete" { #expect(halves.0 == "complete" || halves.0 == "malformed") }
        }
    }
}
