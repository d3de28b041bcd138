import ConduitWire
import Crypto
import NIOCore

/// A WebSocket handshake that fulfils RFC 6455 section 4.2.1, and how to answer it.
struct Handshake: Sendable {
    /// What goes back as `Sec-WebSocket-Accept`.
    let accept: [UInt8]
    /// The subprotocol that was selected.
    let subprotocol: String?
    /// What is agreed on about compression, if anything.
    let deflate: DeflateParameters?
    /// Whether it is for the echo, not for the hub.
    var isEcho = false

    /// The subprotocols that the server speaks, best first. Offers of others select none.
    static let subprotocols = ["conduit.v1.json"]
    private static let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// Whether a request wants to be more than HTTP at all.
    static func isUpgrade(_ head: RequestHead) -> Bool { head.contains("upgrade") }

    /// Checks the head of a request for the WebSocket path.
    ///
    /// - Parameter windowBits: the window of what the server would compress; 0 compresses for nobody.
    static func check(_ head: RequestHead, windowBits: UInt8 = 0) throws(Refusal) -> Handshake {
        guard head.method == .get else { throw Refusal(.methodNotAllowed, "only GET upgrades", [("Allow", "GET")]) }
        guard head.version == .http1_1 else { throw Refusal(.badRequest, "an upgrade needs HTTP/1.1") }
        guard head.count("host") == 1 else { throw Refusal(.badRequest, "exactly one Host is needed") }
        guard !head.contains("transfer-encoding"), head.allValues("content-length", { $0.elementsEqual("0".utf8) })
        else { throw Refusal(.badRequest, "an upgrade has no body") }
        guard head.hasElement("upgrade", where: { RequestHead.equals($0, "websocket") }),
            head.hasElement("connection", where: { RequestHead.equals($0, "upgrade") })
        else {
            throw Refusal(
                .upgradeRequired, "this is a WebSocket endpoint",
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])
        }
        guard let version = head.only("sec-websocket-version"), version.elementsEqual("13".utf8) else {
            throw Refusal(
                .upgradeRequired, "only version 13 is spoken",
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])
        }
        guard let key = head.only("sec-websocket-key"), isKey(key) else {
            throw Refusal(.badRequest, "exactly one Sec-WebSocket-Key of 16 bytes is needed")
        }
        let deflate = try Self.deflate(head, windowBits: windowBits)
        return Handshake(
            accept: acceptValue(for: key),
            subprotocol: subprotocols.first { name in
                head.hasElement("sec-websocket-protocol", where: { $0.elementsEqual(name.utf8) })
            }, deflate: deflate)
    }

    /// RFC 6455 (9.1) has the connection fail when the field is not well-formed, whatever it would have offered.
    private static func deflate(_ head: RequestHead, windowBits: UInt8) throws(Refusal) -> DeflateParameters? {
        guard head.contains("sec-websocket-extensions") else { return nil }
        var offers = ExtensionOffers()
        guard head.allValues("sec-websocket-extensions", { offers.read($0) }) else {
            throw Refusal(.badRequest, "Sec-WebSocket-Extensions is malformed")
        }
        return windowBits == 0 ? nil : offers.deflate(windowBits: windowBits)
    }

    /// The answer that upgrades.
    var answer: ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: 256)
        buffer.writeStaticString(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
        buffer.writeBytes(accept)
        if let subprotocol {
            buffer.writeStaticString("\r\nSec-WebSocket-Protocol: ")
            buffer.writeString(subprotocol)
        }
        if let deflate {
            buffer.writeStaticString("\r\nSec-WebSocket-Extensions: ")
            buffer.writeString(ExtensionOffers.answer(deflate))
        }
        buffer.writeStaticString("\r\n\r\n")
        return buffer
    }

    // MARK: Keys

    /// Whether it is the base64 of 16 bytes: 22 characters and `==`.
    private static func isKey(_ key: ArraySlice<UInt8>) -> Bool {
        key.count == 24 && key.suffix(2).elementsEqual("==".utf8) && key.dropLast(2).allSatisfy(isBase64)
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "/"): true
        default: false
        }
    }

    private static func acceptValue(for key: ArraySlice<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(60)
        text.append(contentsOf: key)
        text.append(contentsOf: guid.utf8)
        return base64(of: Insecure.SHA1.hash(data: text))
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The base64 of the 20 bytes of a digest: 27 characters and `=`.
    private static func base64(of digest: Insecure.SHA1Digest) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(28)
        var bits: UInt32 = 0
        var count: UInt32 = 0
        for byte in digest {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                result.append(alphabet[Int(bits >> count & 0x3F)])
            }
        }
        result.append(alphabet[Int(bits << (6 - count) & 0x3F)])
        result.append(UInt8(ascii: "="))
        return result
    }
}

/// Why a request is not served.
struct Refusal: Error, Sendable {
    let status: HTTPStatus
    let message: String
    let headers: [(String, String)]
    /// Whether the node has too much to do.
    var isOverload = false

    init(_ status: HTTPStatus, _ message: String, _ headers: [(String, String)] = []) {
        self.status = status
        self.message = message
        self.headers = headers
    }

    var answer: HTTPAnswer { HTTPAnswer(status, "error", message, headers: headers) }
}
