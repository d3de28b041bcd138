package import ConduitCore
package import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
package import Logging
package import NIOCore

/// The Sendable door to a node's bridge: takes the shards' events and the few verbs of administration.
///
/// Make it, hand it to the hub as its relay, then ``start(sink:)`` it with the hub.
package final class BridgeRef: HubRelay {
    /// The loop that owns the bridge; one of the shards' loops may be it.
    package let eventLoop: any EventLoop
    /// This node's name.
    package let node: NodeID
    private let configuration: ClusterConfiguration
    private let bridge: NIOLoopBoundBox<Bridge?>
    private let cell: StatusCell
    private let owed = OwedEvents()
    private let logger: Logger

    package init(node: NodeID, configuration: ClusterConfiguration, eventLoop: any EventLoop, logger: Logger) {
        self.node = node
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        self.bridge = NIOLoopBoundBox.makeEmptyBox(valueType: Bridge.self, eventLoop: eventLoop)
        self.cell = StatusCell(configuration.redis == nil ? .alone : .connecting)
    }

    /// Begins to serve the hub, and to connect. Call it before clients are accepted.
    package func start(sink: any ShardSink) {
        eventLoop.execute { [self] in
            guard bridge.value == nil else { return }
            let made = Bridge(
                node: node, configuration: configuration, eventLoop: eventLoop, sink: sink, status: cell,
                owedEvents: owed, logger: logger)
            bridge.value = made
            made.start()
        }
    }

    /// Whether the others are heard; cheap, from any thread.
    package var status: ClusterStatus { cell.value }

    package var confirmsRooms: Bool { cell.isConnected }

    package var relaysMessages: Bool { configuration.redis != nil }

    package func relay(_ events: [HubEvent], fromShard index: Int) {
        let (events, weight) = owed.admit(events)
        eventLoop.execute { [bridge, owed] in
            owed.settle(weight)
            bridge.value?.take(events, fromShard: index)
        }
    }

    /// What was counted so far.
    package func statistics() async -> ClusterStatistics {
        let asked = eventLoop.submit { [bridge] in bridge.value?.statistics() }
        return (try? await asked.get()) ?? ClusterStatistics()
    }

    /// The members of a room that this node knows of, by client id: all of them on a node alone.
    package func localMembers(of room: RoomName) async -> [Member] {
        let asked = eventLoop.submit { [bridge] in bridge.value?.presence.members(of: room) ?? [] }
        return ((try? await asked.get()) ?? []).sorted { $0.client.rawValue < $1.client.rawValue }
    }

    /// Says to the other nodes and to operators what this node is about to do.
    package func setState(_ state: NodeState) {
        eventLoop.execute { [bridge] in bridge.value?.change(to: state) }
    }

    /// Ends the connections of a user, on every node.
    package func disconnect(_ user: UserID, _ reason: CloseReason = .forceDisconnect) {
        eventLoop.execute { [bridge] in bridge.value?.disconnect(.user(user), reason) }
    }

    /// Ends a connection, on whichever node it is.
    package func disconnect(_ client: ClientID, _ reason: CloseReason = .forceDisconnect) {
        eventLoop.execute { [bridge] in bridge.value?.disconnect(.client(client), reason) }
    }

    /// Leaves the cluster: what is owed is sent, this node's traces are removed, the links are closed. Call it when the
    /// hub has closed its clients. Returns when that is done, or when the deadline has passed.
    package func drain(within deadline: TimeAmount) async {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute { [bridge] in
            guard let bridge = bridge.value else { return promise.succeed() }
            bridge.drain(until: .now() + deadline, promise)
        }
        try? await promise.futureResult.get()
    }

    /// Ends without a word to anybody, as a crash does. For tests.
    package func abandon() async {
        let promise = eventLoop.makePromise(of: Void.self)
        eventLoop.execute { [bridge] in
            guard let bridge = bridge.value else { return promise.succeed() }
            bridge.close(promise)
        }
        try? await promise.futureResult.get()
    }
}

extension Bridge {
    /// Waits for the outbox, then leaves, then closes; each step only as long as there is time.
    func drain(until deadline: NIODeadline, _ promise: EventLoopPromise<Void>) {
        flush(isUrgent: true)
        guard phase != .closed else { return promise.succeed() }
        if phase == .live, !outbox.isEmpty || !orderedPublishes.isEmpty, NIODeadline.now() < deadline - .milliseconds(500) {
            eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(10)) { self.drain(until: deadline, promise) }
            return
        }
        var isLeaving = true
        let end = {
            guard isLeaving else { return }
            isLeaving = false
            self.close(promise)
        }
        eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { end() }
        leave(end)
    }

    /// Closes both links for good.
    func close(_ promise: EventLoopPromise<Void>) {
        guard phase != .closed else { return promise.succeed() }
        phase = .closed
        answerAwaited()
        handOff.flush(to: sink)
        if configuration.redis != nil { status.value = .alone }
        let links = [subscriptions, commands].compactMap { $0?.close(timeout: .seconds(1)) }
        EventLoopFuture.andAllComplete(links, on: eventLoop).assumeIsolated().whenComplete { _ in self.closed(promise) }
    }

    /// Waits for the answer of the hub that is under way: the loop may stop as soon as the promise is kept.
    private func closed(_ promise: EventLoopPromise<Void>) {
        guard figures.isAsking else { return promise.succeed() }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(5)) { self.closed(promise) }
    }
}
