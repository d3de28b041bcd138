import HTTPTypes
import NIOCore

/// The operator's page: one file that is compiled in and loads nothing.
///
/// It holds no secret, so it is served without the token; what it shows it fetches from the API, with the token that
/// the operator gives it. Names of rooms, users and nodes are other people's text: the page sets text only, and the
/// headers below would stop a script that came in by a name all the same.
enum AdminDashboard {
    /// The page in the pieces between the places where the nonce stands.
    private static let pieces: [[UInt8]] = {
        let page = PackageResources.dashboard_html
        let mark = Array("{{nonce}}".utf8)
        var pieces: [[UInt8]] = [[]]
        var index = 0
        while index < page.count {
            if page[index] == mark[0], page[index...].starts(with: mark) {
                pieces.append([])
                index += mark.count
            } else {
                pieces[pieces.count - 1].append(page[index])
                index += 1
            }
        }
        return pieces
    }()

    /// The page, and the headers that go with this copy of it only.
    static func page() -> (body: ByteBuffer, headers: HTTPFields) {
        let nonce = makeNonce()
        var body = ByteBuffer()
        body.reserveCapacity(pieces.reduce(0) { $0 + $1.count + nonce.utf8.count })
        for (index, piece) in pieces.enumerated() {
            if index > 0 { body.writeString(nonce) }
            body.writeBytes(piece)
        }
        return (body, headers(nonce: nonce))
    }

    /// New for each answer, from the system's secure source.
    private static func makeNonce() -> String {
        var generator = SystemRandomNumberGenerator()
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for _ in 0..<2 {
            var rest = generator.next()
            for _ in 0..<16 {
                text.append(digits[Int(rest & 15)])
                rest >>= 4
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nothing runs but the page's own script, nothing is asked but this node, no text is ever taken for markup, and
    /// no other site can show the page in a frame or keep a handle to its window.
    private static func headers(nonce: String) -> HTTPFields {
        let policy = [
            "default-src 'none'", "script-src 'nonce-\(nonce)'", "style-src 'nonce-\(nonce)'", "img-src data:",
            "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
            "require-trusted-types-for 'script'", "trusted-types 'none'",
        ]
        var headers: HTTPFields = [
            .contentType: "text/html; charset=utf-8", .cacheControl: "no-store", .xContentTypeOptions: "nosniff",
            .contentSecurityPolicy: policy.joined(separator: "; "),
        ]
        for (name, value) in [
            ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
        ] {
            if let name = HTTPField.Name(name) { headers[name] = value }
        }
        return headers
    }
}
