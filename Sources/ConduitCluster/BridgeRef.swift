package import ConduitCore
package import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
package import Logging
package import NIOCore
import Synchronization

/// The Sendable door to a node's bridges: takes the shards' events and the few verbs of administration.
///
/// There is one bridge for each independent Redis server, in most clusters one in all; each is a whole one with its own
/// lease, roster and outbox. Rooms and users are spread over them by ``ServerChoice``; everything else goes over the
/// first. They live on one loop. Make the door, hand it to the hub as its relay, then ``start(sink:)`` it with the hub.
package final class BridgeRef: HubRelay {
    /// The loop that owns the bridges; one of the shards' loops may be it.
    package let eventLoop: any EventLoop
    /// This node's name.
    package let node: NodeID
    /// Where each room and user lives.
    let choice: ServerChoice
    let configuration: ClusterConfiguration
    /// Empty until it is started.
    let bridges: NIOLoopBoundBox<[Bridge]?>
    private let cells: [StatusCell]
    private let owed = OwedEvents()
    private let conflicts = Mutex(Conflicts())
    private let orders = Mutex<(@Sendable (NodeOrder) -> Void)?>(nil)
    private let tracer: MessageTracer?
    private let logger: Logger

    package init(
        node: NodeID, configuration: ClusterConfiguration, eventLoop: any EventLoop, tracer: MessageTracer? = nil,
        logger: Logger
    ) {
        self.tracer = tracer
        self.node = node
        self.configuration = configuration
        self.choice = configuration.choice
        self.eventLoop = eventLoop
        self.logger = logger
        self.bridges = NIOLoopBoundBox.makeEmptyBox(valueType: [Bridge].self, eventLoop: eventLoop)
        let isAlone = configuration.servers.isEmpty
        self.cells = (0..<choice.count).map { _ in StatusCell(isAlone ? .alone : .connecting) }
    }

    /// Begins to serve the hub, and to connect. Call it before clients are accepted.
    package func start(sink: any ShardSink) {
        eventLoop.execute { [self] in
            guard bridges.value == nil else { return }
            let sends = SharedSends()
            let servers = configuration.servers
            let made = cells.indices.map { index in
                var logger = logger
                if servers.count > 1 { logger[metadataKey: LogKey.server] = "\(index)" }
                return Bridge(
                    node: node, configuration: configuration.only(servers.isEmpty ? nil : servers[index]),
                    eventLoop: eventLoop, sink: sink, status: cells[index],
                    // What was dropped on the way to the bridges is counted once.
                    owedEvents: index == 0 ? owed : OwedEvents(), sends: sends,
                    tracer: tracer, logger: logger)
            }
            bridges.value = made
            for (index, bridge) in made.enumerated() {
                bridge.isCommon = index == ServerChoice.common
                bridge.onConflict = { [weak self] in self?.found($0) }
                if bridge.isCommon { bridge.onOrder = { [weak self] in self?.ordered($0) } }
                bridge.rosterCounts = { [bridges, choice] names in Self.rosterCounts(bridges.value, choice, names) }
                if made.count > 1 { bridge.nodeStatistics = { [bridges] in Self.statistics(bridges.value) } }
                bridge.start()
            }
        }
    }

    private struct Conflicts {
        var first: NodeIDConflict?
        var handler: (@Sendable (NodeIDConflict) -> Void)?
    }

    /// Calls `body` when another running node goes by this node's id: then the bridges have ended, and the node must.
    package func onConflict(_ body: @escaping @Sendable (NodeIDConflict) -> Void) {
        let conflict = conflicts.withLock { conflicts in
            conflicts.handler = body
            return conflicts.first
        }
        if let conflict { body(conflict) }
    }

    private func found(_ conflict: NodeIDConflict) {
        let handler = conflicts.withLock { conflicts -> (@Sendable (NodeIDConflict) -> Void)? in
            guard conflicts.first == nil else { return nil }
            conflicts.first = conflict
            return conflicts.handler
        }
        for bridge in bridges.value ?? [] where bridge.phase != .closed {
            bridge.close(eventLoop.makePromise(of: Void.self))
        }
        handler?(conflict)
    }

    /// Calls `body` with what this node is told to do through another one.
    package func onOrder(_ body: @escaping @Sendable (NodeOrder) -> Void) { orders.withLock { $0 = body } }

    private func ordered(_ order: NodeOrder) { orders.withLock { $0 }?(order) }

    /// Does something with one bridge, on the loop, and doesn't wait.
    func withBridge(_ index: Int, _ body: @escaping @Sendable (Bridge) -> Void) {
        eventLoop.execute { [bridges] in
            guard let all = bridges.value, all.indices.contains(index) else { return }
            body(all[index])
        }
    }

    /// Ends all bridges in the way that `body` says and waits for it.
    private func end(_ body: @escaping @Sendable (Bridge, EventLoopPromise<Void>) -> Void) async {
        let ended = eventLoop.flatSubmit { [bridges, eventLoop] in
            let ends = (bridges.value ?? []).map { bridge in
                let promise = eventLoop.makePromise(of: Void.self)
                body(bridge, promise)
                return promise.futureResult
            }
            return EventLoopFuture.andAllComplete(ends, on: eventLoop)
        }
        try? await ended.get()
    }

    private static func statistics(_ bridges: [Bridge]?) -> ClusterStatistics {
        .sum((bridges ?? []).map { $0.statistics() })
    }

    /// Whether the others are heard, over the worst of the servers; cheap, from any thread.
    package var status: ClusterStatus { cells.count == 1 ? cells[0].value : .worst(of: cells.map(\.value)) }

    package var confirmsRooms: Bool { cells.contains { $0.isConnected } }

    package var relaysMessages: Bool { configuration.redis != nil }

    package func relay(_ events: [HubEvent], fromShard index: Int) {
        let (events, weight) = owed.admit(events)
        eventLoop.execute { [bridges, owed, choice] in
            owed.settle(weight)
            guard let all = bridges.value else { return }
            if all.count == 1 { return all[0].take(events, fromShard: index) }
            for (bridge, part) in zip(all, choice.split(events)) where !part.isEmpty {
                bridge.take(part, fromShard: index)
            }
        }
    }

    /// What was counted so far.
    package func statistics() async -> ClusterStatistics {
        let asked = eventLoop.submit { [bridges] in Self.statistics(bridges.value) }
        return (try? await asked.get()) ?? ClusterStatistics()
    }

    /// The members of a room that this node knows of, by client id: all of them on a node alone.
    package func localMembers(of room: RoomName) async -> [Member] {
        let asked = eventLoop.submit { [bridges, choice] in
            bridges.value?[choice.index(of: room)].presence.members(of: room) ?? []
        }
        return ((try? await asked.get()) ?? []).sorted { $0.client.rawValue < $1.client.rawValue }
    }

    /// Other policies of rooms from now on.
    package func reload(rooms: RoomPolicies, replayBytes: Int) {
        for index in cells.indices { withBridge(index) { $0.reload(rooms: rooms, replayBytes: replayBytes) } }
    }

    /// Says to the other nodes and to operators what this node is about to do.
    package func setState(_ state: NodeState) {
        for index in cells.indices { withBridge(index) { $0.change(to: state) } }
    }

    /// Says how to know whether the node takes clients: those that do share them evenly.
    package func onAccepts(_ body: @escaping @Sendable () -> Bool) {
        for index in cells.indices { withBridge(index) { $0.accepts = body } }
    }

    /// Ends the connections of a user, on every node.
    package func disconnect(_ user: UserID, _ reason: CloseReason = .forceDisconnect) {
        withBridge(choice.index(of: user)) { $0.disconnect(.user(user), reason) }
    }

    /// Ends a connection, on whichever node it is.
    package func disconnect(_ client: ClientID, _ reason: CloseReason = .forceDisconnect) {
        withBridge(ServerChoice.common) { $0.disconnect(.client(client), reason) }
    }

    /// Makes tokens good no more, on every node, and ends the connections that came with them. Returns when this node holds
    /// to it, with whether Redis has it too, so that nodes that are out of reach or start later will; a node alone holds to
    /// it by itself. A task that is cancelled doesn't wait for Redis: `false`.
    package func revoke(_ revocation: Revocation) async -> Bool {
        let done = eventLoop.flatSubmit { [bridges, eventLoop] in
            let promise = eventLoop.makePromise(of: Bool.self)
            if let bridge = bridges.value?[ServerChoice.common] {
                bridge.revoke(revocation) { promise.succeed($0) }
            } else {
                promise.succeed(false)
            }
            return promise.futureResult
        }
        return (try? await done.getUnlessCancelled()) ?? false
    }

    /// Leaves the cluster: what is owed is sent, this node's traces are removed, the links are closed. Call it when the
    /// hub has closed its clients. Returns when that is done, or when the deadline has passed.
    package func drain(within deadline: TimeAmount) async {
        await end { $0.drain(until: .now() + deadline, $1) }
    }

    /// Ends without a word to anybody, as a crash does. For tests.
    package func abandon() async {
        await end { $0.close($1) }
    }
}

extension Bridge {
    /// Waits for the outbox, then leaves, then closes; each step only as long as there is time.
    func drain(until deadline: NIODeadline, _ promise: EventLoopPromise<Void>) {
        flush(isUrgent: true)
        guard phase != .closed else { return promise.succeed() }
        if isUnfinished, NIODeadline.now() < deadline - .milliseconds(500) {
            eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(10)) { self.drain(until: deadline, promise) }
            return
        }
        // Nobody else is waited for any more: what waits for them is better sent to those who listen.
        if case .greeting = phase, !outbox.isEmpty { becomeLive() }
        var isLeaving = true
        let end = {
            guard isLeaving else { return }
            isLeaving = false
            self.close(promise)
        }
        eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { end() }
        leave(end)
    }

    /// Whether it is too early to leave.
    private var isUnfinished: Bool {
        // Also while a link is being made again: what waits leaves as soon as the others are in reach.
        if !outbox.isEmpty || !orderedPublishes.isEmpty { return true }
        // Redis is there, and it won't be long until this node can strike itself off.
        return registered && !canAssert && (commands?.isReady == true || subscriptions?.isReady == true)
    }

    /// Counts what other nodes will never get of this one.
    private func leaveBehind() {
        let count = outbox.giveUp()
        guard count > 0 else { return }
        drop(RelayDrop.leftBehind, UInt64(count))
        logger.warning("messages for other nodes have not left before the end", metadata: [LogKey.count: "\(count)"])
    }

    /// Closes both links for good.
    func close(_ promise: EventLoopPromise<Void>) {
        guard phase != .closed else { return promise.succeed() }
        phase = .closed
        answerAwaited()
        endSurveys()
        handOff.flush(to: sink)
        if configuration.redis != nil { status.value = .alone }
        let links = [subscriptions, commands].compactMap { $0?.close(timeout: .seconds(1)) }
        EventLoopFuture.andAllComplete(links, on: eventLoop).assumeIsolated().whenComplete { _ in
            self.leaveBehind()
            self.closed(promise)
        }
    }

    /// Waits for the answer of the hub that is under way: the loop may stop as soon as the promise is kept.
    private func closed(_ promise: EventLoopPromise<Void>) {
        guard figures.isAsking || surveysAnswered > 0 else { return promise.succeed() }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(5)) { self.closed(promise) }
    }
}
