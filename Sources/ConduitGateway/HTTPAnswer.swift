import ConduitWire
import NIOCore

/// A whole HTTP answer, after which the connection ends.
struct HTTPAnswer: Sendable {
    var status: HTTPStatus
    var contentType = "application/json"
    var headers: [(name: String, value: String)] = []
    var body: ByteBuffer

    /// A small JSON object with one string.
    init(_ status: HTTPStatus, _ key: String, _ value: String, headers: [(String, String)] = []) {
        self.status = status
        self.headers = headers.map { (name: $0.0, value: $0.1) }
        self.body = ByteBuffer()
        body.writeString("{")
        body.writeJSONString(key)
        body.writeString(":")
        body.writeJSONString(value)
        body.writeString("}\n")
    }

    init(_ status: HTTPStatus, contentType: String, body: ByteBuffer, headers: [(String, String)] = []) {
        self.status = status
        self.contentType = contentType
        self.headers = headers.map { (name: $0.0, value: $0.1) }
        self.body = body
    }

    /// The bytes to be sent. An answer to HEAD has the length of the body, but no body.
    func encode(withBody: Bool) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(256 + (withBody ? body.readableBytes : 0))
        buffer.writeString("HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\n")
        buffer.writeString("Content-Type: \(contentType)\r\nContent-Length: \(body.readableBytes)\r\n")
        buffer.writeString("Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n")
        for header in headers { buffer.writeString("\(header.name): \(header.value)\r\n") }
        buffer.writeString("\r\n")
        if withBody { buffer.writeImmutableBuffer(body) }
        return buffer
    }
}
