import ConduitCore

/// A request that is answered with `{"error":{"code","message"}}`.
struct AdminError: Error, Hashable, Sendable {
    let status: Int
    let code: String
    let message: String
    /// The methods that the path takes, for 405.
    var allow: String?

    static let notFound = AdminError(status: 404, code: "not_found", message: "there is no such path")
    static let unauthorized = AdminError(
        status: 401, code: "unauthorized", message: "send Authorization: Bearer <admin.token>")
    static let wrongHost = AdminError(
        status: 403, code: "permission_denied",
        message: "without admin.token only requests to a loopback name are answered")
    static let notJSON = AdminError(
        status: 415, code: "bad_request", message: "send Content-Type: application/json")
    static let tooLarge = AdminError(
        status: 413, code: "too_large", message: "the body is larger than \(AdminServer.maximumBodyBytes) bytes")
    static let tooSlow = AdminError(
        status: 408, code: "timeout", message: "the request took too long to come")
    static let unanswered = AdminError(
        status: 503, code: ErrorCode.unavailable.rawValue, message: "the answer can't be had in time")
    /// The same for what changes something.
    static let unansweredCommand = AdminError(
        status: 503, code: ErrorCode.unavailable.rawValue,
        message: "the answer can't be had in time; what was asked may still take effect")
    static let tooManyLeft = AdminError(
        status: 503, code: ErrorCode.unavailable.rawValue,
        message: "too many requests before this one have not come to an end")
    static let headTooLong = AdminError(
        status: 431, code: "too_large",
        message: "the head of the request has more than \(AdminServer.maximumHeadBytes) bytes, "
            + "\(AdminServer.maximumFieldBytes) in its target or one field, or \(AdminServer.maximumFields) fields")
    static let unreadable = AdminError(
        status: 400, code: ErrorCode.badRequest.rawValue, message: "the request is not well-formed HTTP")

    static func methodNotAllowed(_ allow: String) -> AdminError {
        AdminError(status: 405, code: "method_not_allowed", message: "this path takes \(allow)", allow: allow)
    }

    static func badRequest(_ message: String) -> AdminError {
        AdminError(status: 400, code: ErrorCode.badRequest.rawValue, message: message)
    }

    init(status: Int, code: String, message: String, allow: String? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.allow = allow
    }

    /// An error of the hub or the cluster.
    init(_ error: RequestError) {
        let status =
            switch error.code {
            case .badRequest, .unknownType, .reservedType: 400
            case .permissionDenied: 403
            case .notInRoom: 404
            case .limitExceeded, .tooLarge: 413
            case .rateLimited: 429
            case .tokenExpired: 401
            case .unavailable: 503
            case .internal: 500
            }
        self.init(status: status, code: error.code.rawValue, message: error.message)
    }
}
