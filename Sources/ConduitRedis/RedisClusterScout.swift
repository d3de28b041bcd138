import ConduitTelemetry
import Logging
import NIOCore

/// What is told to those who follow the map of a Cluster.
protocol RedisClusterObserver: AnyObject {
    /// Slots are elsewhere now.
    func mapChanged()
    /// No server gives a map, and all were asked.
    func noMap(_ error: RedisError)
}

/// Knows which server of a Cluster has which slot: asks one of them every few seconds and whenever somebody was sent
/// elsewhere, and goes on to the next one when it doesn't answer.
///
/// Loop-bound, shared by the two transports of a node.
final class RedisClusterScout {
    private final class WeakObserver {
        weak var observer: (any RedisClusterObserver)?
        init(_ observer: any RedisClusterObserver) { self.observer = observer }
    }

    /// How long what a server said of a slot outweighs what the others still believe.
    private static let belief = TimeAmount.seconds(5)
    private static let debounce = TimeAmount.milliseconds(50)

    let eventLoop: any EventLoop
    private let seeds: [RedisConfiguration.Endpoint]
    private let interval: TimeAmount
    private let rotation: RedisRotation
    private let logger: Logger
    private var link: RedisLink?
    private var observers: [WeakObserver] = []
    private var learned: [Int: (endpoint: RedisConfiguration.Endpoint, until: NIODeadline)] = [:]
    private var timer: Scheduled<Void>?
    private var isStarted = false
    private var isAsking = false
    private var isDue = false
    private var hasWarned = false
    /// The newest map.
    private(set) var map: RedisSlotMap?

    init(
        seeds: [RedisConfiguration.Endpoint], configuration: RedisConfiguration, eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.seeds = seeds
        self.interval = configuration.topologyInterval
        self.rotation = RedisRotation(seeds)
        self.logger = logger
        var own = configuration
        own.topology = .single
        link = RedisLink(eventLoop: eventLoop, configuration: own, role: .commands, locator: rotation, logger: logger)
    }

    func observe(_ observer: any RedisClusterObserver) { observers.append(WeakObserver(observer)) }

    func start() {
        guard !isStarted, let link else { return }
        isStarted = true
        link.onReady = { [weak self] in
            self?.isAsking = false
            self?.ask()
        }
        link.onLost = { [weak self] _ in self?.isAsking = false }
        link.onConnectFailed = { [weak self] error in
            guard let self, self.rotation.hasTriedAll else { return }
            for entry in self.observers { entry.observer?.noMap(error) }
        }
        link.start()
        poll()
    }

    /// One of its users is closed. The future is kept when nothing of the scout is left.
    func release(_ observer: any RedisClusterObserver) -> EventLoopFuture<Void>? {
        observers.removeAll { $0.observer == nil || $0.observer === observer }
        guard observers.isEmpty, let link else { return nil }
        timer?.cancel()
        self.link = nil
        return link.close(timeout: .seconds(1))
    }

    private func poll() {
        timer = eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in
            guard let self, self.link != nil else { return }
            self.ask()
            self.poll()
        }
    }

    /// Asks soon: several reasons within a moment are one question.
    func refreshSoon() {
        guard !isDue else { return }
        isDue = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.debounce) { [weak self] in
            self?.isDue = false
            self?.ask()
        }
    }

    private func ask() {
        guard let link, link.isReady, !isAsking else { return }
        isAsking = true
        link.send(["CLUSTER", "SLOTS"]) { [weak self] result in
            guard let self else { return }
            self.isAsking = false
            switch result {
            case .success(let value): self.read(value)
            case .failure(let error) where error.code == .server: self.refused(error)
            case .failure: break
            }
        }
    }

    private func read(_ value: RedisValue) {
        guard case .host(let host, _)? = link?.endpoint, var read = RedisSlotMap(value, host: host) else {
            return refused(RedisError(.protocolViolation, "CLUSTER SLOTS was answered with no map"))
        }
        rotation.succeeded()
        hasWarned = false
        let now = NIODeadline.now()
        learned = learned.filter { $0.value.until > now }
        for (slot, entry) in learned { read.move(slot, to: entry.endpoint) }
        adopt(read)
    }

    /// A server that is no part of a Cluster, or not yet, or keeps its map from us.
    private func refused(_ error: RedisError) {
        if !hasWarned {
            hasWarned = true
            logger.error(
                "Redis gives no map of a Cluster", metadata: [LogKey.error: "\(error)", LogKey.address: "\(place)"])
        }
        for entry in observers { entry.observer?.noMap(error) }
    }

    private var place: String { link?.endpoint?.description ?? "" }

    /// A server has sent a command for a slot to another one.
    func learn(_ slot: Int, _ endpoint: RedisConfiguration.Endpoint) {
        refreshSoon()
        learned[slot] = (endpoint, .now() + Self.belief)
        guard var corrected = map, corrected.owner(of: slot) != endpoint else { return }
        corrected.move(slot, to: endpoint)
        adopt(corrected)
    }

    private func adopt(_ new: RedisSlotMap) {
        guard new != map else { return }
        map = new
        var known = new.masters + new.replicas
        for seed in seeds where !known.contains(seed) { known.append(seed) }
        rotation.endpoints = known
        for entry in observers { entry.observer?.mapChanged() }
    }
}

@available(*, unavailable)
extension RedisClusterScout: Sendable {}
