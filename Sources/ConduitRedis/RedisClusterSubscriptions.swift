import Logging
package import NIOCore

/// Subscriptions to the sharded channels of a Redis Cluster: each at the server that has its slot, over one link a server.
///
/// A server that loses a slot says so for each channel; these are reported as lost, one by one, and whoever wants them
/// subscribes again. One lost link means that all subscriptions are lost. Loop-bound.
package final class RedisClusterSubscriptions: RedisTransport {
    private struct Home {
        let slot: Int
        let endpoint: RedisConfiguration.Endpoint
        var attempts = 0
    }

    private static let retry = TimeAmount.milliseconds(50)
    /// Attempts while the Cluster says that it is down.
    private static let patience = 100
    /// How long a server may take to say by itself that it has lost a slot.
    private static let grace = TimeAmount.milliseconds(150)

    package var onReady: (() -> Void)?
    package var onLost: ((RedisError) -> Void)?
    package var onConnectFailed: ((RedisError) -> Void)?
    package var onPublished: ((Result<RedisValue, RedisError>) -> Void)?
    package var onMessage: ((ByteBuffer, ByteBuffer) -> Void)?
    package var onSubscribed: ((ByteBuffer) -> Void)?
    package var onUnsubscribed: ((ByteBuffer) -> Void)?
    package var onSubscribeRefused: (([String], RedisError) -> Void)?
    package var onChannelsLost: (([String]) -> Void)?
    package private(set) var isReady = false
    package private(set) var connections = 0
    package var publishWord: String { "SPUBLISH" }

    private let eventLoop: any EventLoop
    private let configuration: RedisConfiguration
    private let scout: RedisClusterScout
    private let logger: Logger
    private var links: [RedisConfiguration.Endpoint: RedisLink] = [:]
    /// Where each channel that is wanted was asked for.
    private var homes: [String: Home] = [:]
    /// Channels that wait for a link that isn't there yet.
    private var waiting: [RedisConfiguration.Endpoint: [String]] = [:]
    /// Channels that are given up at a server that has their slot no more, though it goes on to serve them.
    private var leaving: Set<String> = []
    private var isLeaveDue = false
    private var lostInTurn: [String] = []
    private var lastError: RedisError?
    private var isClosed = false

    init(configuration: RedisConfiguration, scout: RedisClusterScout, logger: Logger) {
        self.eventLoop = scout.eventLoop
        self.configuration = configuration
        self.scout = scout
        self.logger = logger
        scout.observe(self)
    }

    // MARK: Life

    package func start() {
        scout.start()
        sweep()
    }

    package func forceReconnect(reason: String) {
        for link in Array(links.values) { link.forceReconnect(reason: reason) }
    }

    package func close(timeout: TimeAmount) -> EventLoopFuture<Void> {
        isClosed = true
        isReady = false
        var ends = links.values.map { $0.close(timeout: timeout) }
        if let rest = scout.release(self) { ends.append(rest) }
        return .andAllComplete(ends, on: eventLoop)
    }

    private func sweep() {
        eventLoop.assumeIsolated().scheduleTask(in: configuration.topologyInterval) { [weak self] in
            guard let self, !self.isClosed else { return }
            self.closeUnused()
            self.sweep()
        }
    }

    private func link(to endpoint: RedisConfiguration.Endpoint) -> RedisLink {
        if let link = links[endpoint] { return link }
        var own = configuration
        own.endpoint = endpoint
        own.topology = .single
        let link = RedisLink(
            eventLoop: eventLoop, configuration: own, role: .subscriptions, isSharded: true, locator: nil,
            logger: logger)
        link.onReady = { [weak self] in self?.linkReady(endpoint) }
        link.onLost = { [weak self] in self?.linkLost(endpoint, $0) }
        link.onConnectFailed = { [weak self] in self?.connectFailed($0) }
        link.onMessage = { [weak self] in self?.onMessage?($0, $1) }
        link.onSubscribed = { [weak self] in self?.subscribed($0, at: endpoint) }
        link.onUnsubscribed = { [weak self] in self?.unsubscribed($0) }
        link.onChannelsLost = { [weak self] in self?.takenAway($0, at: endpoint) }
        link.onSubscribeRefused = { [weak self] in self?.refused($0, $1, at: endpoint) }
        links[endpoint] = link
        link.start()
        return link
    }

    private func linkReady(_ endpoint: RedisConfiguration.Endpoint) {
        guard !isClosed else { return }
        let channels = waiting.removeValue(forKey: endpoint) ?? []
        becomeReady()
        // Somebody may have lost interest meanwhile.
        send(channels.filter { homes[$0]?.endpoint == endpoint }, to: endpoint)
    }

    private func linkLost(_ endpoint: RedisConfiguration.Endpoint, _ error: RedisError) {
        guard !isClosed else { return }
        scout.refreshSoon()
        if scout.map?.masters.contains(endpoint) == true { return lose(error) }
        // A server that has left the Cluster takes its channels with it.
        for (channel, home) in homes where home.endpoint == endpoint {
            homes[channel] = nil
            lost(channel)
        }
    }

    private func connectFailed(_ error: RedisError) {
        guard !isClosed else { return }
        scout.refreshSoon()
        lastError = error
        // A server that has taken slots over and can't be reached: what was asked of it is asked again elsewhere.
        for (endpoint, channels) in waiting where scout.map?.masters.contains(endpoint) != true {
            waiting[endpoint] = nil
            route(channels.filter { homes[$0] != nil })
        }
        if !isReady { onConnectFailed?(error) }
    }

    private func becomeReady() {
        guard !isReady, !isClosed, let map = scout.map, map.isComplete,
            map.masters.allSatisfy({ links[$0]?.isReady == true })
        else { return }
        isReady = true
        connections += 1
        onReady?()
    }

    private func lose(_ error: RedisError) {
        lastError = error
        guard isReady else { return }
        isReady = false
        homes = [:]
        waiting = [:]
        leaving = []
        lostInTurn = []
        // What the others are subscribed to is not known to be wanted any more.
        for link in Array(links.values) where link.isReady {
            link.forceReconnect(reason: "another server of the Cluster was lost")
        }
        onLost?(error)
    }

    /// Channels at a server that has lost their slot are given up there first: what it has sent comes before the new
    /// server's messages. It does so by itself when the slot is given away, but not when it becomes a replica.
    private func leaveMisplaced() {
        guard isReady, let map = scout.map else { return }
        var left: [RedisConfiguration.Endpoint: [String]] = [:]
        for (channel, home) in homes
        where map.owner(of: home.slot) != home.endpoint && links[home.endpoint]?.isReady == true {
            left[home.endpoint, default: []].append(channel)
        }
        for (endpoint, channels) in left {
            guard links[endpoint]?.unsubscribe(channels) == nil else { continue }
            for channel in channels {
                homes[channel] = nil
                leaving.insert(channel)
            }
        }
    }

    private func closeUnused() {
        guard let map = scout.map else { return }
        let used = Set(homes.values.map(\.endpoint))
        for (endpoint, link) in links
        where !map.masters.contains(endpoint) && !used.contains(endpoint) && link.pendingReplies == 0 {
            links[endpoint] = nil
            _ = link.close(timeout: .seconds(1))
        }
    }

    // MARK: Verbs

    package func subscribe(_ channels: [String]) -> RedisError? {
        guard isReady else {
            return RedisError(.notConnected, lastError?.message ?? "no connection to Redis yet")
        }
        route(channels)
        return nil
    }

    package func unsubscribe(_ channels: [String]) -> RedisError? {
        var groups: [RedisConfiguration.Endpoint: [String]] = [:]
        for channel in channels {
            leaving.remove(channel)
            if let home = homes.removeValue(forKey: channel) { groups[home.endpoint, default: []].append(channel) }
        }
        for (endpoint, some) in groups { links[endpoint]?.unsubscribe(some) }
        return nil
    }

    package func send(_ arguments: [RedisArgument], _ completion: RedisLink.Completion?) {
        completion?(.failure(Self.wrongKind))
    }

    package func publish(channel: ByteBuffer, payload: ByteBuffer, _ completion: RedisLink.Completion?) {
        completion?(.failure(Self.wrongKind))
    }

    package func publishInOrder(channel: ByteBuffer, payload: ByteBuffer) -> RedisError? { Self.wrongKind }

    private static let wrongKind = RedisError(.invalidCommand, "not a command for a connection for subscriptions")

    // MARK: Ways

    /// Asks for each channel where the map says that its slot is.
    private func route(_ channels: [String]) {
        var groups: [RedisConfiguration.Endpoint: [String]] = [:]
        var homeless: [String] = []
        for channel in channels {
            let slot = homes[channel]?.slot ?? RedisSlot.of(channel)
            guard let endpoint = scout.map?.owner(of: slot) else {
                homeless.append(channel)
                continue
            }
            homes[channel] = Home(slot: slot, endpoint: endpoint, attempts: homes[channel]?.attempts ?? 0)
            groups[endpoint, default: []].append(channel)
        }
        for (endpoint, some) in groups { send(some, to: endpoint) }
        if !homeless.isEmpty {
            scout.refreshSoon()
            onSubscribeRefused?(homeless, RedisError(.server, "CLUSTERDOWN no server has the slot"))
        }
    }

    private func send(_ channels: [String], to endpoint: RedisConfiguration.Endpoint) {
        guard !channels.isEmpty else { return }
        let link = link(to: endpoint)
        guard link.isReady else {
            waiting[endpoint, default: []] += channels
            return
        }
        if link.subscribe(channels) != nil, link.isReady { link.forceReconnect(reason: "SSUBSCRIBE was not taken") }
    }

    private func subscribed(_ channel: ByteBuffer, at endpoint: RedisConfiguration.Endpoint) {
        let name = String(buffer: channel)
        guard homes[name]?.endpoint == endpoint else { return }
        homes[name]?.attempts = 0
        onSubscribed?(channel)
    }

    private func unsubscribed(_ channel: ByteBuffer) {
        if leaving.remove(String(buffer: channel)) != nil {
            lost(String(buffer: channel))
        } else {
            onUnsubscribed?(channel)
        }
    }

    private func takenAway(_ channels: [String], at endpoint: RedisConfiguration.Endpoint) {
        for channel in channels {
            let wasLeaving = leaving.remove(channel) != nil
            guard homes[channel]?.endpoint == endpoint || wasLeaving else { continue }
            if homes[channel]?.endpoint == endpoint { homes[channel] = nil }
            lost(channel)
        }
    }

    /// Tells of lost channels together: a slot may hold many.
    private func lost(_ channel: String) {
        lostInTurn.append(channel)
        guard lostInTurn.count == 1 else { return }
        scout.refreshSoon()
        eventLoop.assumeIsolated().execute { [weak self] in
            guard let self, self.isReady, !self.lostInTurn.isEmpty else { return }
            let channels = self.lostInTurn
            self.lostInTurn = []
            self.onChannelsLost?(channels)
        }
    }

    private func refused(_ channels: [String], _ error: RedisError, at endpoint: RedisConfiguration.Endpoint) {
        let own = channels.filter { homes[$0]?.endpoint == endpoint }
        guard case .host(let host, _) = endpoint, let redirection = RedisRedirection(error, host: host) else {
            for channel in own { homes[channel] = nil }
            onSubscribeRefused?(own, error)
            return
        }
        if case .moved(let slot, let owner) = redirection {
            scout.learn(slot, owner)
        } else {
            scout.refreshSoon()
        }
        var again: [String] = []
        var given: [String] = []
        var attempts = 0
        for channel in own {
            attempts = (homes[channel]?.attempts ?? 0) + 1
            homes[channel]?.attempts = attempts
            // A fail-over takes seconds, and all servers refuse until it is over.
            if attempts > (redirection == .tryAgain ? Self.patience : configuration.maxRedirections) {
                homes[channel] = nil
                given.append(channel)
            } else {
                again.append(channel)
            }
        }
        if !given.isEmpty { onSubscribeRefused?(given, error) }
        guard !again.isEmpty else { return }
        if case .moved = redirection, attempts <= 2 { return route(again) }
        eventLoop.assumeIsolated().scheduleTask(in: min(Self.retry * attempts, .milliseconds(200))) { [weak self] in
            guard let self, self.isReady else { return }
            self.route(again.filter { self.homes[$0]?.endpoint == endpoint })
        }
    }
}

extension RedisClusterSubscriptions: RedisClusterObserver {
    func mapChanged() {
        guard !isClosed, let map = scout.map else { return }
        for endpoint in map.masters { _ = link(to: endpoint) }
        becomeReady()
        guard !isLeaveDue else { return }
        isLeaveDue = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.grace) { [weak self] in
            self?.isLeaveDue = false
            self?.leaveMisplaced()
        }
    }

    func noMap(_ error: RedisError) {
        lastError = error
        if !isReady, !isClosed { onConnectFailed?(error) }
    }
}

@available(*, unavailable)
extension RedisClusterSubscriptions: Sendable {}
