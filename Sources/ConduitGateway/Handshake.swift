import Crypto
import NIOHTTP1

/// A WebSocket handshake that fulfils RFC 6455 section 4.2.1, and how to answer it.
struct Handshake: Sendable {
    /// What goes back as `Sec-WebSocket-Accept`.
    let accept: String
    /// The subprotocol that was selected.
    let subprotocol: String?

    /// The subprotocols that the server speaks, best first. Offers of others select none.
    static let subprotocols = ["conduit.v1.json"]
    private static let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    /// Whether a request wants to be more than HTTP at all.
    static func isUpgrade(_ head: HTTPRequestHead) -> Bool { head.headers.contains(name: "Upgrade") }

    /// Checks the head of a request for the WebSocket path.
    static func check(_ head: HTTPRequestHead) throws(Refusal) -> Handshake {
        let headers = head.headers
        guard head.method == .GET else { throw Refusal(.methodNotAllowed, "only GET upgrades", [("Allow", "GET")]) }
        guard head.version == .http1_1 else { throw Refusal(.badRequest, "an upgrade needs HTTP/1.1") }
        guard headers["Host"].count == 1 else { throw Refusal(.badRequest, "exactly one Host is needed") }
        guard !headers.contains(name: "Transfer-Encoding"),
            headers["Content-Length"].allSatisfy({ $0 == "0" })
        else { throw Refusal(.badRequest, "an upgrade has no body") }
        guard HandshakeRequest.list(headers["Upgrade"]).contains(where: { $0.lowercased() == "websocket" }),
            HandshakeRequest.list(headers["Connection"]).contains(where: { $0.lowercased() == "upgrade" })
        else {
            throw Refusal(
                .upgradeRequired, "this is a WebSocket endpoint",
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])
        }
        guard headers["Sec-WebSocket-Version"] == ["13"] else {
            throw Refusal(
                .upgradeRequired, "only version 13 is spoken",
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])
        }
        let keys = headers["Sec-WebSocket-Key"]
        guard keys.count == 1, isKey(keys[0]) else {
            throw Refusal(.badRequest, "exactly one Sec-WebSocket-Key of 16 bytes is needed")
        }
        let offers = HandshakeRequest.list(headers["Sec-WebSocket-Protocol"])
        return Handshake(
            accept: acceptValue(for: keys[0]), subprotocol: subprotocols.first { name in offers.contains(name[...]) })
    }

    /// The answer that upgrades.
    var answer: String {
        var text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        text += "Sec-WebSocket-Accept: \(accept)\r\n"
        if let subprotocol { text += "Sec-WebSocket-Protocol: \(subprotocol)\r\n" }
        return text + "\r\n"
    }

    // MARK: Keys

    /// Whether it is the base64 of 16 bytes: 22 characters and `==`.
    private static func isKey(_ key: String) -> Bool {
        key.utf8.count == 24 && key.hasSuffix("==") && key.utf8.dropLast(2).allSatisfy { alphabet.contains($0) }
    }

    private static func acceptValue(for key: String) -> String {
        var hash = Insecure.SHA1()
        hash.update(data: Array((key + guid).utf8))
        return base64(Array(hash.finalize()))
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func base64(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            for place in 0..<4 {
                let digit = Int(bits >> UInt32(18 - 6 * place) & 0x3F)
                result.append(place <= group.count ? alphabet[digit] : UInt8(ascii: "="))
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// Why a request is not served.
struct Refusal: Error, Sendable {
    let status: HTTPResponseStatus
    let message: String
    let headers: [(String, String)]

    init(_ status: HTTPResponseStatus, _ message: String, _ headers: [(String, String)] = []) {
        self.status = status
        self.message = message
        self.headers = headers
    }

    var answer: HTTPAnswer { HTTPAnswer(status, "error", message, headers: headers) }
}
