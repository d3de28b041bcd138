/// The `code` of an `error` event.
public enum ErrorCode: String, Sendable, CaseIterable {
    /// Not JSON, or not of the request's shape.
    case badRequest = "bad_request"
    /// No handler for this type.
    case unknownType = "unknown_type"
    /// The type of an application message is one of the server's own.
    case reservedType = "reserved_type"
    /// Not allowed.
    case permissionDenied = "permission_denied"
    /// The request needs a room that the client is not in.
    case notInRoom = "not_in_room"
    /// Too many rooms or members, or too long a name.
    case limitExceeded = "limit_exceeded"
    /// Too many requests; `retry_after_ms` tells when.
    case rateLimited = "rate_limited"
    /// Too many bytes.
    case tooLarge = "too_large"
    /// The other nodes can't be reached and the request needs them.
    case unavailable
    /// The token ran out.
    case tokenExpired = "token_expired"
    /// An error of the server's own.
    case `internal`
}

/// A request that is answered with an `error` event. Throw it from a message handler to choose what the client reads.
public struct RequestError: Error, Hashable, Sendable {
    /// What kind of error.
    public let code: ErrorCode
    /// A sentence for the developer of the client.
    public let message: String

    /// When it is worth to ask again, in milliseconds from now; for ``ErrorCode/rateLimited``.
    public let retryAfterMilliseconds: Int?

    /// The limit that the request went over, if it was one.
    public let limit: ClientLimit?

    /// Makes an error.
    public init(
        _ code: ErrorCode, _ message: String, retryAfterMilliseconds: Int? = nil, limit: ClientLimit? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfterMilliseconds = retryAfterMilliseconds
        self.limit = limit
    }
}
