package import ConduitCore

/// A peer broke RFC 6455: how to close, and what it did in words for a log line.
package struct WebSocketError: Error, Hashable, Sendable {
    /// What the close frame says.
    package let reason: CloseReason
    /// Which rule was broken.
    package let detail: String
    /// The limit that was gone over, if it was one.
    package let limit: ClientLimit?

    package init(_ reason: CloseReason, _ detail: String, limit: ClientLimit? = nil) {
        self.reason = reason
        self.detail = detail
        self.limit = limit
    }
}
