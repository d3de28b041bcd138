package import ConduitCore
import ConduitRedis
import ConduitWire
package import NIOCore

/// How many clients a node said that it has, at its last heartbeat.
package struct NodeLoad: Sendable, Hashable {
    package let node: NodeID
    package let clients: Int
    /// More than any node has. Anybody may write into Redis, and what nodes say of themselves is added up.
    package static let mostClients = 1 << 32
    /// `starting`, `ready` or `draining`; `lost` when its lease ran out.
    package let state: String
    /// Whether it takes clients; `false` while it has as much as it can do.
    package let accepts: Bool

    package init(node: NodeID, clients: Int, state: String, accepts: Bool = true) {
        self.node = node
        self.clients = clients
        self.state = state
        self.accepts = accepts
    }
}

// Clients that go to other nodes: what those have, and what is told to them.
extension Bridge {
    /// Asks Redis what each node of the directory has said of itself, and one that may be too new to be there; `nil` when
    /// that can't be had, or not of all.
    func loads(_ newcomer: NodeID?, _ done: @escaping ([NodeLoad]?) -> Void) {
        guard phase == .live, let commands, commands.isReady else { return done(nil) }
        let known = Set(directory.nodes.keys).union([node])
        let nodes = newcomer.map { known.union([$0]) } ?? known
        var owed = nodes.count
        var loads: [NodeLoad] = []
        var isWhole = true
        for id in nodes {
            commands.send(["HMGET", .string(keys.node(id)), "clients", "state", "accepts"]) { result in
                owed -= 1
                if case .success(let value) = result, let fields = value.array, fields.count == 3 {
                    let clients = min(max(0, fields[0].string.flatMap { Int($0) } ?? 0), NodeLoad.mostClients)
                    let state = fields[1].string
                    if state != nil || known.contains(id) {
                        loads.append(
                            NodeLoad(
                                node: id, clients: clients, state: state ?? "lost", accepts: fields[2].string != "0"))
                    }
                } else {
                    isWhole = false
                }
                if owed == 0 { done(isWhole ? loads : nil) }
            }
        }
    }
}

extension BridgeRef {
    private static let pollInterval = TimeAmount.milliseconds(20)

    /// What each node that this one knows has said of itself, this one too, and one that it may not know yet; `nil` while
    /// Redis is away. Empty on a node alone.
    package func loads(with newcomer: NodeID? = nil) async -> [NodeLoad]? {
        let asked = eventLoop.flatSubmit { [bridges, eventLoop] in
            let promise = eventLoop.makePromise(of: [NodeLoad]?.self)
            if let bridge = bridges.value?[ServerChoice.common] {
                if bridge.phase == .alone {
                    promise.succeed([])
                } else {
                    bridge.loads(newcomer) { promise.succeed($0) }
                }
            } else {
                promise.succeed(nil)
            }
            return promise.futureResult
        }
        return (try? await asked.getUnlessCancelled()) ?? nil
    }

    /// Tells one node, or all of them, what to do; this one does it without being told.
    package func tell(_ order: NodeOrder, to node: NodeID? = nil) {
        withBridge(ServerChoice.common) { bridge in
            let message: ControlMessage =
                switch order {
                case .drain(let milliseconds): .drain(milliseconds: milliseconds)
                case .rebalance: .rebalance
                }
            bridge.publishNow(node.map { .node($0) } ?? .control, message)
            bridge.needsFlush()
        }
    }

    /// Returns when the users of the clients that were sent away are back on other nodes, when their time is over, or at
    /// the deadline. At once while nobody can be seen coming back.
    package func waitForHandOvers(until deadline: NIODeadline) async {
        let done = eventLoop.flatSubmit { [bridges, eventLoop] in
            let promise = eventLoop.makePromise(of: Void.self)
            Self.waitForHandOvers(bridges.value ?? [], until: deadline, on: eventLoop, promise)
            return promise.futureResult
        }
        try? await done.get()
    }

    private static func waitForHandOvers(
        _ bridges: [Bridge], until deadline: NIODeadline, on eventLoop: any EventLoop, _ promise: EventLoopPromise<Void>
    ) {
        let isWaiting = bridges.contains { $0.phase == .live && $0.grace.awaitsUsers }
        guard isWaiting, NIODeadline.now() < deadline else { return promise.succeed() }
        eventLoop.assumeIsolated().scheduleTask(in: pollInterval) {
            waitForHandOvers(bridges, until: deadline, on: eventLoop, promise)
        }
    }
}
