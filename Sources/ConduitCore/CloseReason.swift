/// Why the server ends a connection: number, text and advice, one table for clients, logs and metrics.
///
/// Numbers below 3000 are RFC 6455's own (section 7.4.1). 3000–3499 say "come back later",
/// 3500–3999 say "don't come back unchanged".
public struct CloseReason: Hashable, Sendable {
    /// The number in the close frame.
    public let code: UInt16
    /// The text in the close frame; also the label of the metric.
    public let text: String

    /// Whether a client should come back by itself.
    public var reconnect: Bool { code < 3500 && code != 1002 && code != 1003 && code != 1007 && code != 1009 }

    private init(_ code: UInt16, _ text: String) {
        self.code = code
        self.text = text
    }

    /// The client closed first; its code is answered.
    public static let normal = CloseReason(1000, "normal")
    /// A frame broke RFC 6455.
    public static let protocolError = CloseReason(1002, "protocol error")
    /// A binary message, which no protocol here takes.
    public static let unsupportedData = CloseReason(1003, "unsupported data")
    /// Text that is not UTF-8.
    public static let invalidText = CloseReason(1007, "invalid UTF-8")
    /// A compressed message that can't be expanded.
    public static let invalidData = CloseReason(1007, "invalid compressed data")
    /// A message over the limit, in bytes or in frames.
    public static let tooLarge = CloseReason(1009, "message too large")
    /// An error of the server's own.
    public static let internalError = CloseReason(1011, "internal error")
    /// Closed by the application; come back later.
    public static let closed = CloseReason(3000, "closed")
    /// This node is stopping or shedding load; another one will take you.
    public static let shutdown = CloseReason(3001, "shutdown")
    /// The token ran out.
    public static let tokenExpired = CloseReason(3005, "token expired")
    /// The client reads more slowly than it is sent to.
    public static let slowConsumer = CloseReason(3008, "slow consumer")
    /// No sign of life.
    public static let noPong = CloseReason(3012, "no pong")
    /// Too many messages.
    public static let tooManyRequests = CloseReason(3013, "too many requests")
    /// The token was refused.
    public static let invalidToken = CloseReason(3500, "invalid token")
    /// The request can't be understood.
    public static let badRequest = CloseReason(3501, "bad request")
    /// An administrator closed it.
    public static let forceDisconnect = CloseReason(3503, "disconnected")
    /// Too many connections.
    public static let connectionLimit = CloseReason(3504, "connection limit")
    /// Not allowed.
    public static let permissionDenied = CloseReason(3507, "permission denied")

    /// Every reason that this server gives, one for a number.
    public static let all: [CloseReason] = [
        normal, protocolError, unsupportedData, invalidText, tooLarge, internalError, closed, shutdown, tokenExpired,
        slowConsumer, noPong, tooManyRequests, invalidToken, badRequest, forceDisconnect, connectionLimit,
        permissionDenied,
    ]
}
