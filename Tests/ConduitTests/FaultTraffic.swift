import ConduitTesting
import Foundation
import NIOCore
import NIOPosix

/// Publishers and listeners on every node, all on one loop, and the judge that they report to.
///
/// Loop-bound; tests reach it through ``FaultTrafficRef``.
final class FaultTraffic {
    /// Who speaks, where, and how fast.
    struct Plan: Sendable {
        var nodes = 3
        var fastRooms = 3
        var orderedRooms = 2
        /// Messages a second of each publisher to each room; one publisher a node.
        var fastRate = 40.0
        var orderedRate = 15.0
        /// Bytes that are added to each message in fast rooms.
        var padding = 0
        /// Ordered listeners that go to another node every so often.
        var hoppers = 1
        var hopEvery = Duration.milliseconds(1500)
        var orderedNamespace = "log"
    }

    let loop: any EventLoop
    let plan: Plan
    let roomNames: [String]
    let kinds: [DeliveryJudge.RoomKind]
    var judge: DeliveryJudge
    /// The public port of each node; `nil` where none runs.
    var ports: [Int?]
    /// Nodes whose end is no goodbye: publishers there lose what the node had not passed on.
    var killed: Set<Int> = []
    private(set) var publishers: [FaultPublisher] = []
    private(set) var listeners: [FaultListener] = []
    private(set) var observers: [FaultObserver] = []
    private(set) var isPublishing = false
    private var isRunning = true
    private var publisherCount = 0
    private var ticker: RepeatedTask?
    private var nextTick = 0
    /// How late this loop was; what a listener reads late by that is not the server's fault.
    var lateness = LatencySample()
    /// What came beside messages, by type and code, for the report.
    var notes: [String: Int] = [:]

    /// Microseconds of the clock that everything is stamped with.
    static var now: Int { Int(NIODeadline.now().uptimeNanoseconds / 1_000) }

    init(plan: Plan, ports: [Int?], loop: any EventLoop) {
        self.plan = plan
        self.loop = loop
        self.ports = ports
        roomNames =
            (0..<plan.fastRooms).map { "hall:\($0)" }
            + (0..<plan.orderedRooms).map { "\(plan.orderedNamespace):\($0)" }
        kinds =
            Array(repeating: .fast, count: plan.fastRooms) + Array(repeating: .ordered, count: plan.orderedRooms)
        judge = DeliveryJudge(rooms: kinds)
    }

    var fastRooms: Range<Int> { 0..<plan.fastRooms }
    var orderedRooms: Range<Int> { plan.fastRooms..<plan.fastRooms + plan.orderedRooms }

    func start() {
        for node in 0..<plan.nodes {
            observers.append(FaultObserver(traffic: self, node: node))
            publishers.append(FaultPublisher(traffic: self, number: nextPublisher(), home: node))
            if !fastRooms.isEmpty {
                listeners.append(
                    FaultListener(traffic: self, number: listeners.count, home: node, rooms: Array(fastRooms)))
            }
            if !orderedRooms.isEmpty {
                listeners.append(
                    FaultListener(traffic: self, number: listeners.count, home: node, rooms: Array(orderedRooms)))
            }
        }
        if !orderedRooms.isEmpty {
            for hopper in 0..<plan.hoppers {
                let listener = FaultListener(
                    traffic: self, number: listeners.count, home: hopper % plan.nodes, rooms: Array(orderedRooms))
                listener.hops = true
                listeners.append(listener)
            }
        }
        for observer in observers { observer.connect() }
        for publisher in publishers { publisher.connect() }
        for listener in listeners { listener.connect() }
        nextTick = Self.now + 10_000
        let this = NIOLoopBound(self, eventLoop: loop)
        ticker = loop.scheduleRepeatedTask(initialDelay: .milliseconds(10), delay: .milliseconds(10)) { _ in
            this.value.tick()
        }
    }

    func stop() {
        isRunning = false
        ticker?.cancel()
        for observer in observers { observer.socket?.drop() }
        for publisher in publishers { publisher.socket?.drop() }
        for listener in listeners { listener.socket?.drop() }
    }

    func setPublishing(_ isOn: Bool) {
        isPublishing = isOn
        for publisher in publishers { publisher.began(at: Self.now) }
    }

    private func tick() {
        let now = Self.now
        if nextTick > 0 { lateness.add(max(0, now - nextTick)) }
        nextTick = now + 10_000
        for publisher in publishers { publisher.tick(now) }
        for listener in listeners { listener.tick(now) }
    }

    func nextPublisher() -> Int {
        publisherCount += 1
        return publisherCount - 1
    }

    func note(_ what: String) { notes[what, default: 0] += 1 }

    /// Does something after a while, unless all is over.
    func later(_ milliseconds: Int64, _ work: @escaping () -> Void) {
        loop.assumeIsolated().scheduleTask(in: .milliseconds(milliseconds)) {
            if self.isRunning { work() }
        }
    }

    /// A running node: `wanted`, or the next one that runs.
    func runningNode(from wanted: Int) -> Int? {
        (0..<plan.nodes).map { (wanted + $0) % plan.nodes }.first { ports[$0] != nil }
    }

    // MARK: How far things are

    /// Every publisher, listener and observer is connected and in its rooms.
    var isComplete: Bool { whoIsMissing.isEmpty }

    var whoIsMissing: [String] {
        publishers.filter { $0.socket?.isOpen != true }.map { "publisher of node \($0.home)" }
            + listeners.filter { !$0.isInAllRooms }.map { "listener \($0.number) (node \($0.node))" }
            + observers.filter { ports[$0.node] != nil && $0.socket?.isOpen != true }.map { "observer \($0.node)" }
    }

    /// Each listener has had something of every node's publishers in each of its rooms.
    var isEverybodyReached: Bool {
        listeners.allSatisfy { listener in
            listener.rooms.allSatisfy { listener.heardNodes[$0]?.count ?? 0 >= plan.nodes }
        }
    }

    /// Who is in a room, by client id.
    func truth(_ room: Int) -> Set<String> {
        Set(listeners.compactMap { $0.memberships[room] != nil && $0.isConnected ? $0.clientID : nil })
    }

    /// Asks each running node who is in each room, and compares: what differs, in words.
    func comparePresence() -> EventLoopFuture<[String]> {
        var answers: [EventLoopFuture<String?>] = []
        for observer in observers where ports[observer.node] != nil {
            for room in roomNames.indices {
                let node = observer.node
                answers.append(
                    observer.members(of: roomNames[room]).assumeIsolated().map { members -> String? in
                        guard let members else { return "node \(node) doesn't answer" }
                        let truth = self.truth(room)
                        guard members != truth else { return nil }
                        return "\(self.roomNames[room]) on node \(node): "
                            + "\(members.subtracting(truth).count) too many, \(truth.subtracting(members).count) missing"
                    }.nonisolated())
            }
        }
        return EventLoopFuture.whenAllSucceed(answers, on: loop).map { $0.compactMap { $0 } }
    }
}

@available(*, unavailable)
extension FaultTraffic: Sendable {}

/// The Sendable door to the traffic.
struct FaultTrafficRef: Sendable {
    private let loop: any EventLoop
    private let traffic: NIOLoopBound<FaultTraffic>

    static func start(_ plan: FaultTraffic.Plan, ports: [Int?]) async throws -> FaultTrafficRef {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await loop.submit {
            let traffic = FaultTraffic(plan: plan, ports: ports, loop: loop)
            traffic.start()
            return FaultTrafficRef(loop: loop, traffic: NIOLoopBound(traffic, eventLoop: loop))
        }.get()
    }

    func query<T: Sendable>(_ work: @escaping @Sendable (FaultTraffic) throws -> T) async throws -> T {
        try await loop.submit { try work(traffic.value) }.get()
    }

    /// As ``FaultTraffic/comparePresence()``.
    func comparePresence() async throws -> [String] {
        try await loop.flatSubmit { traffic.value.comparePresence() }.get()
    }

    func stop() { loop.execute { traffic.value.stop() } }
}
