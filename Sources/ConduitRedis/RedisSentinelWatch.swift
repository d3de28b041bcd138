import ConduitTelemetry
import Logging
import NIOCore

/// Knows the master of one name: asks every Sentinel every few seconds, hears from them when it changes, and moves the
/// links that are elsewhere.
///
/// Loop-bound, shared by the two links of a node. Of several answers the one with the highest configuration epoch counts,
/// so a Sentinel that was cut off from the others can't lead a node back to the old master.
final class RedisSentinelWatch: RedisLocator {
    private enum Report {
        /// Nothing yet.
        case awaited
        case master(RedisConfiguration.Endpoint, epoch: Int64)
        case failed(RedisError)
    }

    private final class WeakLink {
        weak var link: RedisLink?
        init(_ link: RedisLink) { self.link = link }
    }

    private static let switched = "+switch-master"
    private let eventLoop: any EventLoop
    private let master: String
    private let interval: TimeAmount
    private var sentinels: [RedisLink] = []
    private var listeners: [RedisLink] = []
    private var reports: [Report]
    private var waiting: [(Result<RedisConfiguration.Endpoint, RedisError>) -> Void] = []
    private var served: [WeakLink] = []
    private var timer: Scheduled<Void>?
    private var isClosed = false
    private var hasWarned = false
    private let logger: Logger
    /// The master as it is known now.
    private(set) var current: RedisConfiguration.Endpoint?

    init(
        master: String, sentinels: [RedisConfiguration.Endpoint], configuration: RedisConfiguration,
        eventLoop: any EventLoop, logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.master = master
        self.logger = logger
        self.interval = configuration.topologyInterval
        self.reports = Array(repeating: .awaited, count: sentinels.count)
        for endpoint in sentinels {
            var own = configuration
            own.endpoint = endpoint
            own.topology = .single
            own.username = configuration.sentinelUsername
            own.password = configuration.sentinelPassword
            self.sentinels.append(
                RedisLink(eventLoop: eventLoop, configuration: own, role: .commands, logger: logger))
            listeners.append(
                RedisLink(eventLoop: eventLoop, configuration: own, role: .subscriptions, logger: logger))
        }
    }

    /// A link that must be at the master.
    func serve(_ link: RedisLink) { served.append(WeakLink(link)) }

    func locate(_ done: @escaping (Result<RedisConfiguration.Endpoint, RedisError>) -> Void) {
        startOnce()
        if let current { return done(.success(current)) }
        waiting.append(done)
        judge()
    }

    func failed(_ error: RedisError) { askAll() }

    func released() -> EventLoopFuture<Void>? {
        served.removeAll { $0.link == nil || $0.link?.phase == .closed || $0.link?.phase == .closing }
        guard served.isEmpty, !isClosed else { return nil }
        isClosed = true
        timer?.cancel()
        waiting = []
        let links = sentinels + listeners
        (sentinels, listeners) = ([], [])
        return .andAllComplete(links.map { $0.close(timeout: .seconds(1)) }, on: eventLoop)
    }

    private func startOnce() {
        guard timer == nil, !isClosed else { return }
        poll()
        for (index, link) in sentinels.enumerated() {
            link.onReady = { [weak self] in self?.ask(index) }
            link.onLost = { [weak self] in self?.report(.failed($0), from: index) }
            link.onConnectFailed = { [weak self] in self?.report(.failed($0), from: index) }
            link.start()
        }
        for link in listeners {
            link.onReady = { [weak link] in link?.subscribe([Self.switched]) }
            link.onMessage = { [weak self] _, _ in self?.askAll() }
            link.start()
        }
    }

    private func poll() {
        timer = eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in
            guard let self, !self.isClosed else { return }
            self.askAll()
            self.poll()
        }
    }

    private func askAll() { for index in sentinels.indices { ask(index) } }

    private func ask(_ index: Int) {
        guard sentinels.indices.contains(index), sentinels[index].isReady else { return }
        sentinels[index].send(["SENTINEL", "MASTER", .string(master)]) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let value): self.report(Self.read(value), from: index)
            case .failure(let error): self.report(.failed(error), from: index)
            }
        }
    }

    /// Fields and values in turn.
    private static func read(_ value: RedisValue) -> Report {
        let words = value.array ?? []
        var fields: [String: RedisValue] = [:]
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            if let name = words[index].string { fields[name] = words[index + 1] }
        }
        guard let host = fields["ip"]?.string, !host.isEmpty, let port = fields["port"]?.integer,
            (1...65_535).contains(port)
        else { return .failed(RedisError(.protocolViolation, "Sentinel answered strangely")) }
        return .master(.host(host, port: Int(port)), epoch: fields["config-epoch"]?.integer ?? 0)
    }

    private func report(_ report: Report, from index: Int) {
        guard !isClosed, reports.indices.contains(index) else { return }
        reports[index] = report
        judge()
    }

    /// Draws conclusions from the newest answers.
    private func judge() {
        var best: (endpoint: RedisConfiguration.Endpoint, epoch: Int64)?
        var failure: RedisError?
        var isAwaited = false
        for report in reports {
            switch report {
            case .awaited: isAwaited = true
            case .failed(let error): failure = error
            case .master(let endpoint, let epoch):
                if let known = best, known.epoch > epoch || (known.epoch == epoch && endpoint != current) { continue }
                best = (endpoint, epoch)
            }
        }
        // What is known stays known while no Sentinel answers: the master itself may be well.
        if let best {
            if let current, current != best.endpoint {
                logger.info("Sentinel names another master", metadata: [LogKey.address: "\(best.endpoint)"])
            }
            current = best.endpoint
            hasWarned = false
        }
        let answer: Result<RedisConfiguration.Endpoint, RedisError>
        if let current {
            answer = .success(current)
        } else if let failure, !isAwaited {
            let error = RedisError(
                .connectFailed, "no Sentinel names the master \(master)", underlying: failure.description)
            if !hasWarned { logger.warning("no master is known", metadata: [LogKey.error: "\(error)"]) }
            hasWarned = true
            answer = .failure(error)
        } else {
            return
        }
        let waiting = waiting
        self.waiting = []
        for done in waiting { done(answer) }
        guard let current else { return }
        for entry in served { entry.link?.move(to: current, reason: "Sentinel names \(current) as the master") }
    }
}

@available(*, unavailable)
extension RedisSentinelWatch: Sendable {}
