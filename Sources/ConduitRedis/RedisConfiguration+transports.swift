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
        switch topology {
        case .cluster(let seeds):
            let scout = RedisClusterScout(seeds: seeds, configuration: self, eventLoop: eventLoop, logger: logger)
            return Transports(
                commands: RedisClusterCommands(configuration: self, scout: scout, logger: logger),
                subscriptions: RedisClusterSubscriptions(configuration: self, scout: scout, logger: logger))
        case .single:
            return Transports(
                commands: RedisLink(eventLoop: eventLoop, configuration: self, role: .commands, logger: logger),
                subscriptions: RedisLink(
                    eventLoop: eventLoop, configuration: self, role: .subscriptions, logger: logger))
        case .sentinel(let master, let sentinels):
            let watch = RedisSentinelWatch(
                master: master, sentinels: sentinels, configuration: self, eventLoop: eventLoop, logger: logger)
            let links = [RedisLink.Role.commands, .subscriptions].map { role in
                let link = RedisLink(
                    eventLoop: eventLoop, configuration: self, role: role, locator: watch, logger: logger)
                watch.serve(link)
                return link
            }
            return Transports(commands: links[0], subscriptions: links[1])
        }
    }

    /// Makes the one for commands alone.
    package func makeCommands(eventLoop: any EventLoop, logger: Logger) -> any RedisTransport {
        switch topology {
        case .single:
            return RedisLink(eventLoop: eventLoop, configuration: self, role: .commands, logger: logger)
        case .cluster(let seeds):
            let scout = RedisClusterScout(seeds: seeds, configuration: self, eventLoop: eventLoop, logger: logger)
            return RedisClusterCommands(configuration: self, scout: scout, logger: logger)
        case .sentinel(let master, let sentinels):
            let watch = RedisSentinelWatch(
                master: master, sentinels: sentinels, configuration: self, eventLoop: eventLoop, logger: logger)
            let link = RedisLink(
                eventLoop: eventLoop, configuration: self, role: .commands, locator: watch, logger: logger)
            watch.serve(link)
            return link
        }
    }

    /// Makes the one for subscriptions alone.
    package func makeSubscriptions(eventLoop: any EventLoop, logger: Logger) -> any RedisTransport {
        switch topology {
        case .single:
            return RedisLink(eventLoop: eventLoop, configuration: self, role: .subscriptions, logger: logger)
        case .cluster(let seeds):
            let scout = RedisClusterScout(seeds: seeds, configuration: self, eventLoop: eventLoop, logger: logger)
            return RedisClusterSubscriptions(configuration: self, scout: scout, logger: logger)
        case .sentinel(let master, let sentinels):
            let watch = RedisSentinelWatch(
                master: master, sentinels: sentinels, configuration: self, eventLoop: eventLoop, logger: logger)
            let link = RedisLink(
                eventLoop: eventLoop, configuration: self, role: .subscriptions, locator: watch, logger: logger)
            watch.serve(link)
            return link
        }
    }
}
