package import Logging
package import NIOCore

extension RedisConfiguration {
    /// The two ways to Redis that a member of a cluster needs. RESP2 has no pushes among answers, so there are two.
    package struct Transports {
        package let commands: any RedisTransport
        package let subscriptions: any RedisTransport
    }

    /// Makes them, not started yet.
    package func makeTransports(eventLoop: any EventLoop, logger: Logger) -> Transports {
        Transports(
            commands: RedisLink(eventLoop: eventLoop, configuration: self, role: .commands, logger: logger),
            subscriptions: RedisLink(eventLoop: eventLoop, configuration: self, role: .subscriptions, logger: logger))
    }
}
