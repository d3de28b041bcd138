/// A status of an HTTP answer.
struct HTTPStatus: Hashable, Sendable {
    let code: Int
    let reasonPhrase: String

    init(code: Int, reasonPhrase: String) {
        self.code = code
        self.reasonPhrase = reasonPhrase
    }

    /// A status that a setting names.
    init(code: Int) {
        self = [.ok, .serviceUnavailable].first { $0.code == code } ?? HTTPStatus(code: code, reasonPhrase: "Status")
    }

    static let ok = HTTPStatus(code: 200, reasonPhrase: "OK")
    static let badRequest = HTTPStatus(code: 400, reasonPhrase: "Bad Request")
    static let unauthorized = HTTPStatus(code: 401, reasonPhrase: "Unauthorized")
    static let forbidden = HTTPStatus(code: 403, reasonPhrase: "Forbidden")
    static let notFound = HTTPStatus(code: 404, reasonPhrase: "Not Found")
    static let methodNotAllowed = HTTPStatus(code: 405, reasonPhrase: "Method Not Allowed")
    static let requestTimeout = HTTPStatus(code: 408, reasonPhrase: "Request Timeout")
    static let upgradeRequired = HTTPStatus(code: 426, reasonPhrase: "Upgrade Required")
    static let tooManyRequests = HTTPStatus(code: 429, reasonPhrase: "Too Many Requests")
    static let requestHeaderFieldsTooLarge = HTTPStatus(code: 431, reasonPhrase: "Request Header Fields Too Large")
    static let serviceUnavailable = HTTPStatus(code: 503, reasonPhrase: "Service Unavailable")
}
