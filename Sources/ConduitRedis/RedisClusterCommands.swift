import Logging
package import NIOCore

/// Commands for a Redis Cluster: each goes to the server that has its key's slot, over one link a server.
///
/// What is published into one channel, and what is done with the keys of one slot, keeps its order while the slot moves:
/// from the first redirection on, everything for that slot waits until all that is under way has been answered, and goes
/// on from there in the old order. One lost link means that the bus is lost until all are back. Loop-bound.
package final class RedisClusterCommands: RedisTransport {
    private struct Entry {
        enum What {
            case command([RedisArgument])
            case publish(channel: ByteBuffer, payload: ByteBuffer)

            /// About what it takes while it waits.
            var bytes: Int {
                switch self {
                case .command(let words): words.reduce(64) { $0 + $1.sizeHint }
                case .publish(let channel, let payload): 64 + channel.readableBytes + payload.readableBytes
                }
            }
        }
        enum Waiting {
            case completion(RedisLink.Completion?)
            case inOrder(UInt64)
        }
        let what: What
        let waiting: Waiting
        let slot: Int
        var redirections = 0
        /// The server that must take this one command although the slot isn't its own yet.
        var asked: RedisConfiguration.Endpoint?

        var bytes: Int { what.bytes }
    }

    /// What waits for a slot that is on the move.
    private struct Hold {
        /// Redirected, in the order of the answers, which is that of the questions.
        var returned: [Entry] = []
        /// Not sent yet.
        var queue = CircularBuffer<Entry>()
        var notBefore = NIODeadline.distantPast
        let since = NIODeadline.now()
        var hasTimer = false
    }

    private static let retry = TimeAmount.milliseconds(20)

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
    private var holds: [Int: Hold] = [:]
    private var heldBytes = 0
    private var inFlight = [Int32](repeating: 0, count: RedisSlot.count)
    private var order = RedisAnswerOrder<Result<RedisValue, RedisError>>()
    /// Answers of an earlier generation come too late for anybody but their own completion.
    private var generation = 0
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
        failHeld(RedisError(.notConnected, "the link was closed"))
        var ends = links.values.map { $0.close(timeout: timeout) }
        if let rest = scout.release(self) { ends.append(rest) }
        let end = EventLoopFuture<Void>.andAllComplete(ends, on: eventLoop)
        // What is owed to callers comes through here, who may have let go by then.
        end.assumeIsolated().whenComplete { _ in withExtendedLifetime(self) {} }
        return end
    }

    private func sweep() {
        eventLoop.assumeIsolated().scheduleTask(in: configuration.topologyInterval) { [weak self] in
            guard let self, !self.isClosed else { return }
            let limit = NIODeadline.now() - self.configuration.commandTimeout
            if self.holds.values.contains(where: { $0.since < limit }) {
                self.lose(RedisError(.timedOut, "a slot of the Cluster is nowhere to be found"))
            }
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
            eventLoop: eventLoop, configuration: own, role: .commands, isSharded: true, locator: nil, logger: logger)
        link.onReady = { [weak self] in self?.linkReady() }
        link.onLost = { [weak self] in self?.linkLost(endpoint, $0) }
        link.onConnectFailed = { [weak self] in self?.connectFailed($0) }
        links[endpoint] = link
        link.start()
        return link
    }

    private func linkReady() {
        guard !isClosed else { return }
        becomeReady()
        flushAll()
    }

    private func linkLost(_ endpoint: RedisConfiguration.Endpoint, _ error: RedisError) {
        guard !isClosed else { return }
        scout.refreshSoon()
        if scout.map?.masters.contains(endpoint) == true { lose(error) }
    }

    private func connectFailed(_ error: RedisError) {
        guard !isClosed else { return }
        scout.refreshSoon()
        lastError = error
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

    /// The bus is lost: the owner sends again what it must, when all servers are there.
    private func lose(_ error: RedisError) {
        lastError = error
        guard isReady else { return }
        isReady = false
        generation += 1
        inFlight = [Int32](repeating: 0, count: RedisSlot.count)
        order.removeAll()
        failHeld(RedisError(.connectionLost, error.message, underlying: error.underlying))
        scout.refreshSoon()
        onLost?(error)
        // All links may be there still.
        eventLoop.assumeIsolated().execute { [weak self] in self?.becomeReady() }
    }

    private func failHeld(_ error: RedisError) {
        let held = holds.values.flatMap { $0.returned + Array($0.queue) }
        holds = [:]
        heldBytes = 0
        for entry in held {
            if case .completion(let completion) = entry.waiting { completion?(.failure(error)) }
        }
    }

    /// Servers that have no slot any more are left when they owe nothing.
    private func closeUnused() {
        guard let map = scout.map, holds.isEmpty else { return }
        for (endpoint, link) in links where !map.masters.contains(endpoint) && link.pendingReplies == 0 {
            links[endpoint] = nil
            _ = link.close(timeout: .seconds(1))
        }
    }

    // MARK: Verbs

    package func send(_ arguments: [RedisArgument], _ completion: RedisLink.Completion?) {
        guard isReady, let map = scout.map else {
            completion?(.failure(notReady))
            return
        }
        switch RedisCommandPlace(of: arguments) {
        case .slot(let slot):
            let entry = Entry(what: .command(arguments), waiting: .completion(completion), slot: slot)
            if let error = dispatch(entry) { completion?(.failure(error)) }
        case .anywhere:
            guard let first = map.masters.first else {
                completion?(.failure(notReady))
                return
            }
            link(to: first).send(arguments, completion)
        case .everywhere:
            for (index, endpoint) in map.masters.enumerated() {
                link(to: endpoint).send(arguments, index == 0 ? completion : nil)
            }
        }
    }

    package func publish(channel: ByteBuffer, payload: ByteBuffer, _ completion: RedisLink.Completion?) {
        guard isReady else {
            completion?(.failure(notReady))
            return
        }
        let entry = Entry(
            what: .publish(channel: channel, payload: payload), waiting: .completion(completion),
            slot: RedisSlot.of(channel))
        if let error = dispatch(entry) { completion?(.failure(error)) }
    }

    package func publishInOrder(channel: ByteBuffer, payload: ByteBuffer) -> RedisError? {
        guard isReady else { return notReady }
        let slot = RedisSlot.of(channel)
        let what = Entry.What.publish(channel: channel, payload: payload)
        // A place in the order is for what is taken only: nothing else would ever give it up.
        if let error = refusal(slot, bytes: what.bytes) { return error }
        take(Entry(what: what, waiting: .inOrder(order.ask()), slot: slot))
        return nil
    }

    package func subscribe(_ channels: [String]) -> RedisError? { Self.wrongKind }
    package func unsubscribe(_ channels: [String]) -> RedisError? { Self.wrongKind }

    private static let wrongKind = RedisError(.invalidCommand, "not a command for a connection for commands")
    private var notReady: RedisError {
        RedisError(.notConnected, lastError?.message ?? "no connection to Redis yet", underlying: lastError?.underlying)
    }

    // MARK: Ways

    /// Why nothing can be taken for a slot now; `nil` when it can.
    private func refusal(_ slot: Int, bytes: Int) -> RedisError? {
        if holds[slot] == nil, let owner = scout.map?.owner(of: slot), let link = links[owner], link.isReady {
            return link.refusal(for: .commands)
        }
        return heldBytes + bytes > configuration.maxPendingBytes
            ? RedisError(.overloaded, "\(heldBytes) bytes wait for slots that move") : nil
    }

    private func dispatch(_ entry: Entry) -> RedisError? {
        if let error = refusal(entry.slot, bytes: entry.bytes) { return error }
        take(entry)
        return nil
    }

    private func take(_ entry: Entry) {
        if holds[entry.slot] == nil, let owner = scout.map?.owner(of: entry.slot), let link = links[owner], link.isReady
        {
            transmit(entry, over: link, to: owner)
        } else {
            heldBytes += entry.bytes
            holds[entry.slot, default: Hold()].queue.append(entry)
            flushSoon(entry.slot, after: Self.retry)
        }
    }

    private func transmit(_ entry: Entry, over link: RedisLink, to endpoint: RedisConfiguration.Endpoint) {
        inFlight[entry.slot] += 1
        let generation = generation
        let answered: RedisLink.Completion = { [weak self] in self?.answered(entry, $0, generation, endpoint) }
        if entry.asked != nil { link.send(["ASKING"], nil) }
        switch entry.what {
        case .command(let arguments): link.send(arguments, answered)
        case .publish(let channel, let payload): link.publish(channel: channel, payload: payload, answered)
        }
    }

    private func answered(
        _ entry: Entry, _ result: Result<RedisValue, RedisError>, _ generation: Int,
        _ endpoint: RedisConfiguration.Endpoint
    ) {
        guard generation == self.generation else {
            // The owner was told that the outcome is unknown; a completion is owed all the same.
            if case .completion(let completion) = entry.waiting { completion?(result) }
            return
        }
        inFlight[entry.slot] -= 1
        if case .failure(let error) = result, error.code == .connectionLost, !isClosed {
            if case .completion(let completion) = entry.waiting { completion?(result) }
            return lose(error)
        }
        if case .failure(let error) = result, case .host(let host, _) = endpoint, !isClosed,
            let redirection = RedisRedirection(error, host: host)
        {
            redirect(entry, redirection, error)
        } else {
            complete(entry, result)
        }
        if holds[entry.slot] != nil, inFlight[entry.slot] == 0 { flush(entry.slot) }
    }

    private func complete(_ entry: Entry, _ result: Result<RedisValue, RedisError>) {
        switch entry.waiting {
        case .completion(let completion): completion?(result)
        case .inOrder(let number):
            order.answer(number, result)
            while let next = order.next() { onPublished?(next) }
        }
    }

    private func redirect(_ entry: Entry, _ redirection: RedisRedirection, _ error: RedisError) {
        var entry = entry
        entry.redirections += 1
        entry.asked = nil
        switch redirection {
        case .moved(_, let endpoint):
            scout.learn(entry.slot, endpoint)
            _ = link(to: endpoint)
        case .ask(let endpoint):
            entry.asked = endpoint
            _ = link(to: endpoint)
        case .tryAgain: scout.refreshSoon()
        }
        guard entry.redirections <= configuration.maxRedirections else {
            // Those behind it must not overtake it: the owner is told to send all of them again.
            let rest = holds.removeValue(forKey: entry.slot).map { $0.returned + Array($0.queue) } ?? []
            heldBytes -= rest.reduce(0) { $0 + $1.bytes }
            for entry in [entry] + rest { complete(entry, .failure(error)) }
            return
        }
        heldBytes += entry.bytes
        holds[entry.slot, default: Hold()].returned.append(entry)
        // Two servers that send each other's clients back and forth need time to agree.
        if redirection == .tryAgain || entry.redirections > 2 {
            let wait = min(Self.retry * entry.redirections, .milliseconds(250))
            holds[entry.slot]?.notBefore = .now() + wait
        }
    }

    private func flushAll() { for slot in Array(holds.keys) { flush(slot) } }

    private func flushSoon(_ slot: Int, after wait: TimeAmount) {
        guard holds[slot]?.hasTimer == false else { return }
        holds[slot]?.hasTimer = true
        eventLoop.assumeIsolated().scheduleTask(in: wait) { [weak self] in
            self?.holds[slot]?.hasTimer = false
            self?.flush(slot)
        }
    }

    /// Sends what waits for a slot as far as it goes to one server; the rest follows when that has answered.
    private func flush(_ slot: Int) {
        guard isReady, inFlight[slot] == 0, let hold = holds[slot] else { return }
        let now = NIODeadline.now()
        guard hold.notBefore <= now else { return flushSoon(slot, after: hold.notBefore - now) }
        if !hold.returned.isEmpty {
            holds[slot]?.queue = CircularBuffer(hold.returned + Array(hold.queue))
            holds[slot]?.returned = []
        }
        var run: (endpoint: RedisConfiguration.Endpoint, isAsked: Bool)?
        while let entry = holds[slot]?.queue.first {
            guard let endpoint = entry.asked ?? scout.map?.owner(of: slot) else {
                scout.refreshSoon()
                return flushSoon(slot, after: Self.retry)
            }
            if let run, run.endpoint != endpoint || run.isAsked != (entry.asked != nil) { return }
            let link = link(to: endpoint)
            guard link.refusal(for: .commands) == nil else { return flushSoon(slot, after: Self.retry) }
            run = (endpoint, entry.asked != nil)
            holds[slot]?.queue.removeFirst()
            heldBytes -= entry.bytes
            transmit(entry, over: link, to: endpoint)
        }
        // After commands that went to a server which doesn't have the slot yet, the others wait once more.
        if run?.isAsked != true || inFlight[slot] == 0 { holds[slot] = nil }
    }
}

extension RedisClusterCommands: RedisClusterObserver {
    func mapChanged() {
        guard !isClosed, let map = scout.map else { return }
        for endpoint in map.masters { _ = link(to: endpoint) }
        becomeReady()
        flushAll()
    }

    func noMap(_ error: RedisError) {
        lastError = error
        if !isReady, !isClosed { onConnectFailed?(error) }
    }
}

@available(*, unavailable)
extension RedisClusterCommands: Sendable {}
