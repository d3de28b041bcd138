/// Why a command, a connection or a URL did not do what it was asked for. Never holds a password.
package struct RedisError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The small closed set that code decides by.
    package enum Code: String, Hashable, Sendable {
        /// There is no connection now; nothing was sent.
        case notConnected = "not_connected"
        /// The connection ended before the answer came; the command may or may not have been carried out.
        case connectionLost = "connection_lost"
        /// The connection could not be made.
        case connectFailed = "connect_failed"
        /// No answer in time.
        case timedOut = "timed_out"
        /// Redis wants another user or password.
        case authentication
        /// Redis answered with an error; the message is Redis's own text.
        case server
        /// Redis (or what answers in its place) sent bytes that are not RESP2, or more than we take.
        case protocolViolation = "protocol_violation"
        /// TLS could not be set up or the peer's certificate was refused.
        case tls
        /// Too much waits for this connection already; nothing was sent.
        case overloaded
        /// The caller asked for something that this connection can't do; nothing was sent.
        case invalidCommand = "invalid_command"
    }

    package let code: Code
    package let message: String
    /// The error below this one, in words.
    package let underlying: String?

    package init(_ code: Code, _ message: String, underlying: String? = nil) {
        self.code = code
        self.message = message
        self.underlying = underlying
    }

    /// The first word of an error that Redis sent, such as `NOPERM` or `BUSY`.
    package var serverPrefix: Substring? {
        code == .server ? message.prefix { $0 != " " } : nil
    }

    /// Whether Redis will carry out the same command later: it runs a script, loads its data, changes roles or moves
    /// slots.
    package var isPassing: Bool {
        switch serverPrefix {
        case "BUSY", "LOADING", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "READONLY": true
        default: false
        }
    }

    package var description: String {
        underlying.map { "\(code.rawValue): \(message) (\($0))" } ?? "\(code.rawValue): \(message)"
    }
}
