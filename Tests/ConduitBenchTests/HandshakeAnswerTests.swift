import NIOCore
import Testing

@testable import ConduitBench

@Suite struct HandshakeAnswerTests {
    static let accepted =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-ACCEPT: \(HandshakeRequest.accept)\r\n\r\n"

    @Test func isAcceptedWholeAndByteByByte() {
        var whole = HandshakeAnswer()
        #expect(
            whole.feed(ByteBuffer(string: Self.accepted + "xy")) == .accepted(rest: ByteBuffer(string: "xy")))
        var slow = HandshakeAnswer()
        let bytes = Array(Self.accepted.utf8)
        for byte in bytes.dropLast() { #expect(slow.feed(ByteBuffer(bytes: [byte])) == .incomplete) }
        #expect(slow.feed(ByteBuffer(bytes: bytes.suffix(1))) == .accepted(rest: ByteBuffer()))
    }

    @Test func wrongKeyIsNoWebSocket() {
        var answer = HandshakeAnswer()
        #expect(
            answer.feed(ByteBuffer(string: "HTTP/1.1 101 Switching Protocols\r\n\r\n"))
                == .refused("101, but without the right Sec-WebSocket-Accept"))
    }

    @Test func refusalHasTheServersText() {
        var answer = HandshakeAnswer()
        let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\n\r\n"
        #expect(answer.feed(ByteBuffer(string: head + "the node ")) == .incomplete)
        #expect(
            answer.feed(ByteBuffer(string: "is draining\n"))
                == .refused("503 Service Unavailable: the node is draining"))
        var until = HandshakeAnswer()
        #expect(until.feed(ByteBuffer(string: "HTTP/1.0 403 Forbidden\r\n\r\nno\u{1B}[1m")) == .incomplete)
        #expect(until.end() == .refused("403 Forbidden: no [1m"))
    }

    @Test func whatIsNoAnswerIsRefused() {
        #expect(HandshakeAnswer().end() == .refused("closed without an answer"))
        var other = HandshakeAnswer()
        #expect(other.feed(ByteBuffer(string: "SSH-2.0-x\r\n\r\n")) == .refused("not HTTP: SSH-2.0-x"))
        var endless = HandshakeAnswer()
        #expect(
            endless.feed(ByteBuffer(string: String(repeating: "a", count: 20_000))) == .refused("the answer has no end")
        )
    }
}
