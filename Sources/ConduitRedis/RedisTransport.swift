package import NIOCore

/// A kept way to Redis, whatever stands there: one server, the master that Sentinel names, or the masters of a Cluster.
///
/// Loop-bound, as ``RedisLink`` is, whose promises all of them make: it never queues while it is down, it calls
/// ``onReady`` whenever it is up anew, and ``onLost`` when what was sent may be lost.
package protocol RedisTransport: AnyObject {
    /// It is up; called each time anew. Subscriptions are the owner's to renew.
    var onReady: (() -> Void)? { get set }
    /// It was up and is no more.
    var onLost: ((RedisError) -> Void)? { get set }
    /// An attempt to come up failed; another will follow.
    var onConnectFailed: ((RedisError) -> Void)? { get set }
    /// The answers to ``publishInOrder(channel:payload:)``, in its order. Not called for those that are owed when
    /// ``onLost`` is called.
    var onPublished: ((Result<RedisValue, RedisError>) -> Void)? { get set }
    /// The channel and the payload of a message. Of a transport for subscriptions, as are the next four.
    var onMessage: ((ByteBuffer, ByteBuffer) -> Void)? { get set }
    /// Redis confirmed a channel.
    var onSubscribed: ((ByteBuffer) -> Void)? { get set }
    /// Redis confirmed that a channel is not listened to any more.
    var onUnsubscribed: ((ByteBuffer) -> Void)? { get set }
    /// Redis refused these channels.
    var onSubscribeRefused: (([String], RedisError) -> Void)? { get set }
    /// These channels aren't heard any more, though the connection is there: their slot has moved to another server.
    /// Whoever wants them still subscribes to them again.
    var onChannelsLost: (([String]) -> Void)? { get set }

    /// Whether it is up.
    var isReady: Bool { get }
    /// How often it came up so far.
    var connections: Int { get }
    /// The command that publishes what its subscriptions hear: `PUBLISH`, or `SPUBLISH` in a Cluster. For scripts.
    var publishWord: String { get }

    /// Begins to connect, for as long as it takes.
    func start()
    /// Makes all connections anew.
    func forceReconnect(reason: String)
    /// Waits for owed answers, at most `timeout`, and closes for good.
    func close(timeout: TimeAmount) -> EventLoopFuture<Void>
    /// Sends one command. When that is not possible now, the completion is called at once, before this returns.
    func send(_ arguments: [RedisArgument], _ completion: RedisLink.Completion?)
    /// Publishes; the answer goes to the completion.
    func publish(channel: ByteBuffer, payload: ByteBuffer, _ completion: RedisLink.Completion?)
    /// Publishes; the answer goes to ``onPublished``. Returns why it was not taken; `nil` when it was.
    func publishInOrder(channel: ByteBuffer, payload: ByteBuffer) -> RedisError?
    /// Subscribes in few commands. An error says that nothing was sent.
    @discardableResult
    func subscribe(_ channels: [String]) -> RedisError?
    /// The reverse.
    @discardableResult
    func unsubscribe(_ channels: [String]) -> RedisError?
}

extension RedisTransport {
    package func send(_ arguments: [RedisArgument]) { send(arguments, nil) }
}

extension RedisLink: RedisTransport {
    package var publishWord: String { isSharded ? "SPUBLISH" : "PUBLISH" }
}
