package import NIOCore

/// The HTTP request that asks for a WebSocket.
package struct HandshakeRequest: Sendable, Hashable {
    /// The example of RFC 6455. A key guards against confused caches, not against anybody; a fixed one has a fixed answer.
    static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    package var token: String?
    package var headers: [Header]
    package var subprotocol: String?

    package struct Header: Sendable, Hashable {
        package let name: String
        package let value: String

        /// Reads `Name: value`; `nil` when no request may carry it, or when it would change the handshake itself.
        package init?(_ text: String) {
            guard let colon = text.firstIndex(of: ":") else { return nil }
            let name = text[..<colon]
            let value = text[text.index(after: colon)...].drop { $0 == " " }
            let own = ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "content-length"]
            guard !name.isEmpty, name.utf8.allSatisfy(Self.isToken), !own.contains(name.lowercased()),
                value.utf8.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 })
            else { return nil }
            self.name = String(name)
            self.value = String(value)
        }

        static func isToken(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
        }
    }

    package init(token: String? = nil, headers: [Header] = [], subprotocol: String? = nil) {
        self.token = token
        self.headers = headers
        self.subprotocol = subprotocol
    }

    /// The bytes for one target.
    package func bytes(for target: BenchTarget) -> ByteBuffer {
        var buffer = ByteBuffer(string: "GET \(target.path) HTTP/1.1\r\n")
        if !headers.contains(where: { $0.name.lowercased() == "host" }) {
            buffer.writeString("Host: \(target.authority)\r\n")
        }
        buffer.writeString("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
        buffer.writeString("Sec-WebSocket-Key: \(Self.key)\r\n")
        if let token { buffer.writeString("Authorization: Bearer \(token)\r\n") }
        if let subprotocol { buffer.writeString("Sec-WebSocket-Protocol: \(subprotocol)\r\n") }
        for header in headers { buffer.writeString("\(header.name): \(header.value)\r\n") }
        buffer.writeString("\r\n")
        return buffer
    }
}
