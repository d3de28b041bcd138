/// Whoever made a connection and wants to know its end; one for many connections.
///
/// A callback on the channel's close future would say the same, for some hundred bytes a connection.
package protocol ConnectionObserver: AnyObject, Sendable {
    /// A connection that was admitted is gone. Called once, on its loop.
    func connectionEnded()
}
