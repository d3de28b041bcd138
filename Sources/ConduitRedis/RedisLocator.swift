import NIOCore

/// Says where the server of a link is, anew for each attempt to connect. Loop-bound, like the link.
protocol RedisLocator: AnyObject {
    /// The endpoint of the next attempt; `done` is called once, now or later, and is of no use to an attempt that ended.
    func locate(_ done: @escaping (Result<RedisConfiguration.Endpoint, RedisError>) -> Void)
    /// An attempt failed, or a connection was lost: what was said may be out of date.
    func failed(_ error: RedisError)
    /// The link is closed for good. The future is kept when nothing of the locator is left that only the link needed.
    func released() -> EventLoopFuture<Void>?
}

/// Takes one endpoint after the other: any of them will do.
final class RedisRotation: RedisLocator {
    /// Never empty.
    var endpoints: [RedisConfiguration.Endpoint]
    private var next = 0
    /// Attempts that failed since the last success.
    private(set) var failures = 0

    init(_ endpoints: [RedisConfiguration.Endpoint]) { self.endpoints = endpoints }

    func locate(_ done: @escaping (Result<RedisConfiguration.Endpoint, RedisError>) -> Void) {
        guard !endpoints.isEmpty else { return done(.failure(RedisError(.connectFailed, "no server is named"))) }
        next %= endpoints.count
        done(.success(endpoints[next]))
    }

    func failed(_ error: RedisError) {
        failures += 1
        next += 1
    }

    func succeeded() { failures = 0 }

    /// Whether each of them was tried without success.
    var hasTriedAll: Bool { failures >= endpoints.count }

    func released() -> EventLoopFuture<Void>? { nil }
}
