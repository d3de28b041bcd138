package import ConduitCore

/// A peer broke RFC 6455: how to close, and what it did in words for a log line.
package struct WebSocketError: Error, Hashable, Sendable {
    /// What the close frame says.
    package let reason: CloseReason
    /// Which rule was broken.
    package let detail: String

    package init(_ reason: CloseReason, _ detail: String) {
        self.reason = reason
        self.detail = detail
    }
}
