import ConduitCluster
import ConduitCore
import ConduitTesting
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@testable import Conduit

/// A client that goes where its node sends it: to the one that has the fewest.
private final class Wanderer: Sendable {
    let reasons = NIOLockedValueBox<[String]>([])
    private let task = NIOLockedValueBox<Task<Void, Never>?>(nil)

    init(_ socket: TestWebSocket, next: @escaping @Sendable () async throws -> TestWebSocket) {
        let reasons = reasons
        let task = Task {
            var socket = socket
            while !Task.isCancelled {
                guard let event = try? await socket.next(type: "reconnect", timeout: .seconds(120)) else { return }
                // On a busy machine a connection may fail: a client tries again.
                var another: TestWebSocket?
                try? await eventually("it is back") {
                    another = try? await next()
                    return another != nil || Task.isCancelled
                }
                guard let another else { return }
                reasons.withLockedValue { $0.append(event.string("reason") ?? "?") }
                socket = another
            }
        }
        self.task.withLockedValue { $0 = task }
    }

    deinit { task.withLockedValue { $0?.cancel() } }
}

@Suite struct ArrivalWatchTests {
    fileprivate let one: NodeID
    fileprivate let two: NodeID

    init() throws {
        one = try #require(NodeID("one"))
        two = try #require(NodeID("two"))
    }

    /// Steps with so many to send away each, of whom `arriving` arrive at the other node two steps later.
    fileprivate func run(
        _ watch: inout ArrivalWatch, _ count: inout Int, steps: Int, perStep: Int, arriving: Bool
    ) -> (sent: [Int], edges: [ArrivalWatch.Edge]) {
        var sent: [Int] = []
        var edges: [ArrivalWatch.Edge] = []
        for step in 0..<steps {
            if arriving, step >= 2 { count += sent[step - 2] }
            if let edge = watch.look(others: [two: count], mean: 500) { edges.append(edge) }
            let number = min(perStep, watch.allowance)
            watch.sent(number)
            sent.append(number)
        }
        return (sent, edges)
    }

    @Test func whereTheyArriveNothingIsHeldBack() {
        var watch = ArrivalWatch()
        var count = 0
        let (sent, edges) = run(&watch, &count, steps: 60, perStep: 8, arriving: true)
        #expect(sent.allSatisfy { $0 == 8 } && edges.isEmpty && !watch.isHalted)
    }

    @Test func whereTheyDontPausesDoubleUpToAnHour() {
        var watch = ArrivalWatch()
        var count = 0
        let (sent, edges) = run(&watch, &count, steps: 5_000, perStep: 8, arriving: false)
        #expect(edges == [.halted(sent: 8, arrived: 0)], "one line")
        #expect(sent.prefix(3) == [8, 8, 0], "two steps, and it is known")
        let probes = sent.indices.filter { $0 >= 2 && sent[$0] > 0 }
        #expect(probes.allSatisfy { sent[$0] == ArrivalWatch.probe })
        let pauses = zip(probes, probes.dropFirst()).map { $1 - $0 - 2 }
        #expect(pauses.prefix(4) == [12, 24, 48, 96] && pauses.max() == ArrivalWatch.longestPause)
        #expect(pauses.last == ArrivalWatch.longestPause)
    }

    @Test func whoArrivesAgainEndsIt() {
        var watch = ArrivalWatch()
        var count = 0
        _ = run(&watch, &count, steps: 10, perStep: 8, arriving: false)
        #expect(watch.isHalted)
        let (sent, edges) = run(&watch, &count, steps: 30, perStep: 8, arriving: true)
        #expect(edges == [.resumed] && !watch.isHalted && sent.last == 8)
        _ = run(&watch, &count, steps: 10, perStep: 8, arriving: false)
        #expect(watch.isHalted)
        // Others come there by themselves: the balancer is mended.
        count += 4
        #expect(watch.look(others: [two: count], mean: 500) == .resumed)
    }

    @Test func aCommandEndsThePause() {
        var watch = ArrivalWatch()
        var count = 0
        _ = run(&watch, &count, steps: 5, perStep: 8, arriving: false)
        #expect(watch.allowance == 0)
        watch.tryNow()
        #expect(watch.allowance == ArrivalWatch.probe && watch.isHalted)
    }

    @Test func whatOthersHaveIsForgottenWhenTheyGo() {
        var watch = ArrivalWatch()
        for others in [[one: 10, two: 10], [one: 10], [one: 10, two: 0], [two: 0], [one: 10]] {
            #expect(watch.look(others: others, mean: 500) == nil)
            watch.sent(100)
        }
        #expect(!watch.isHalted)
    }
}

extension ArrivalWatchTests {
    /// Those who are sent away would go to it; a long pause would make it wait for an hour.
    @Test func aNodeThatComesEndsALongPause() throws {
        var watch = ArrivalWatch()
        var count = 0
        let (sent, _) = run(&watch, &count, steps: 500, perStep: 8, arriving: false)
        let last = try #require(sent.lastIndex { $0 > 0 })
        #expect(sent.count - last > ArrivalWatch.firstPause && watch.isHalted)
        var others = [two: 0, one: 0]
        #expect(watch.look(others: others, mean: 500) == nil)
        var steps = 0
        while watch.allowance == 0, steps < 100 {
            steps += 1
            #expect(watch.look(others: others, mean: 500) == nil)
        }
        #expect(watch.allowance == ArrivalWatch.probe && steps < ArrivalWatch.firstPause)
        // They go to the new one.
        watch.sent(4)
        #expect(watch.look(others: others, mean: 500) == nil)
        others[one] = 4
        #expect(watch.look(others: others, mean: 500) == .resumed)
        #expect(!watch.isHalted)
    }

    @Test func whoArrivesAtANodeThatHasJustComeHasArrived() {
        var watch = ArrivalWatch()
        _ = watch.look(others: [two: 0], mean: 500)
        watch.sent(8)
        var joined = 0
        for step in 0..<10 {
            // Two steps after they were sent, all to the new one.
            if step >= 1 { joined += 8 }
            #expect(watch.look(others: [two: 0, one: joined], mean: 500) == nil)
            watch.sent(8)
        }
        #expect(!watch.isHalted)
    }

    @Test func aNodeThatComesAndGoesIsNotProbedAllTheTime() {
        var watch = ArrivalWatch()
        var count = 0
        _ = run(&watch, &count, steps: 500, perStep: 8, arriving: false)
        var sent = 0
        for step in 0..<120 {
            _ = watch.look(others: step / 3 % 2 == 0 ? [two: 0, one: 0] : [two: 0], mean: 500)
            let number = min(8, watch.allowance)
            watch.sent(number)
            sent += number
        }
        // Each of forty changes may send four again while some are sent to try.
        #expect(watch.isHalted && sent <= 40 * ArrivalWatch.probe, "\(sent)")
    }

    private func steps() -> RebalanceSteps { RebalanceSteps(share: 100, tolerance: 5) }

    /// A node that has halted, in its longest pause but one.
    private func halted(_ rebalance: inout RebalanceSteps, own: Int, steps: Int) -> Bool {
        let start = ContinuousClock.now
        for step in 0..<steps {
            _ = rebalance.step(
                own: own, others: [two: 0], isPushed: false, seconds: 5, most: 100, now: start + .seconds(5 * step))
        }
        return rebalance.watch.isHalted && rebalance.watch.allowance == 0
    }

    @Test func aPauseEndsWhenNobodyHasToBeSent() {
        var rebalance = steps()
        #expect(halted(&rebalance, own: 100, steps: 300))
        let now = ContinuousClock.now + .seconds(2_000)
        func step(_ own: Int, _ other: Int) -> Int {
            rebalance.step(own: own, others: [two: other], isPushed: false, seconds: 5, most: 100, now: now).count
        }
        #expect(step(100, 1) == 0 && rebalance.watch.isHalted, "there is still a surplus")
        // Most of its own have gone by themselves.
        #expect(step(2, 1) == 0 && !rebalance.watch.isHalted)
        #expect(step(2, 1) == 0 && !rebalance.watch.isHalted)
        #expect(step(100, 0) > 0, "and it may begin anew")
    }

    @Test func figuresBeyondReasonAreAddedUp() throws {
        var rebalance = steps()
        let most = NodeLoad.mostClients
        for _ in 0..<5 {
            let (count, edge) = rebalance.step(
                own: most, others: [one: most, two: most], isPushed: true, seconds: 5, most: 10)
            #expect(count == 0 && edge == nil)
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct RebalanceTests {
    /// An order may come before the node has begun by itself.
    @Test(arguments: [RebalanceConfiguration.Mode.auto, .off])
    func anEarlyOrderDoesNotEndWhatGoesOnByItself(mode: RebalanceConfiguration.Mode) async throws {
        let node = try await TestNode.start()
        var configuration = RebalanceConfiguration()
        configuration.mode = mode
        let bridge = BridgeRef(
            node: node.hub.node, configuration: ClusterConfiguration(),
            eventLoop: MultiThreadedEventLoopGroup.singleton.any(), logger: Logger(label: "test"))
        bridge.start(sink: node.hub)
        let rebalancer = Rebalancer(
            configuration, drain: DrainConfiguration(), heartbeat: .milliseconds(10), hub: node.hub, bridge: bridge,
            logger: Logger(label: "test"))
        rebalancer.runNow()
        rebalancer.start()
        try await eventually("the order was looked at") { !rebalancer.isCommanded }
        if mode == .off {
            try await eventually("there is nothing to do") { !rebalancer.isRunning }
        } else {
            for _ in 0..<100 {
                #expect(rebalancer.isRunning)
                _ = await node.hub.openCount()
            }
        }
        rebalancer.stop()
        await bridge.abandon()
        await node.node.shutdown()
    }

    private func start(_ name: String, _ redis: RedisServer, _ mode: RebalanceConfiguration.Mode) async throws
        -> TestNode
    {
        try await DrainTests.start(name, redis, admin: true) {
            $0.drain.presenceGrace = .seconds(2)
            $0.rebalance.mode = mode
            // Quickly, for a test.
            $0.rebalance.share = 3_000
            $0.rebalance.interval = .milliseconds(500)
            $0.cluster.heartbeatMilliseconds = 100
            $0.drain.reconnectDelay = .milliseconds(100)
        }
    }

    private func counts(_ nodes: [TestNode]) async -> [Int] {
        var counts: [Int] = []
        for node in nodes { counts.append(await node.hub.clientCount()) }
        return counts
    }

    /// Thirty clients on one node, and another one that has none.
    private func wanderers(_ one: TestNode, _ two: TestNode) async throws -> [Wanderer] {
        var wanderers: [Wanderer] = []
        for _ in 0..<30 {
            let socket = try await one.connect(subprotocols: ["conduit.v1.json"])
            wanderers.append(Wanderer(socket) { try await two.connect(subprotocols: ["conduit.v1.json"]) })
        }
        return wanderers
    }

    @Test func aNodeThatJoinsGetsItsShare() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .auto)
        let two = try await start("two", redis, .auto)
        let wanderers = try await wanderers(one, two)
        try await eventually("both have about the same") {
            let counts = await counts([one, two])
            return counts.reduce(0, +) == 30 && counts.allSatisfy { (14...16).contains($0) }
        }
        #expect(await two.hub.statistics().shed["rebalance"] == 0)
        func reasons() -> [String] { wanderers.flatMap { $0.reasons.withLockedValue { $0 } } }
        // The node counts a client before the client notes why it came.
        try await eventually("each has noted why it went") { reasons().count >= 14 }
        #expect(reasons().allSatisfy { $0 == "rebalance" } && reasons().count <= 16)
        for node in [one, two] { await node.node.shutdown() }
    }

    /// The balancer sends nobody to a node that says that it takes clients: its check fails there, or its weight is 0.
    @Test func whoDoesNotArriveIsNotSentForEver() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .auto)
        let two = try await start("two", redis, .auto)
        let target = NIOLockedValueBox(one)
        var wanderers: [Wanderer] = []
        for _ in 0..<30 {
            let socket = try await one.connect(subprotocols: ["conduit.v1.json"])
            wanderers.append(
                Wanderer(socket) {
                    try await target.withLockedValue { $0 }.connect(subprotocols: ["conduit.v1.json"])
                })
        }
        func figures() async throws -> (halts: Int, isHalted: Bool, shed: Int) {
            let socket = try await TestSocket.connect(port: try #require(one.node.adminPort))
            try await socket.send("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            let page = try #require(TestHTTPResponse(try await socket.waitForClose())).body
            func value(_ name: String) -> Int? {
                page.split(separator: "\n").first { $0.hasPrefix(name + " ") }
                    .flatMap { Int($0.dropFirst(name.count + 1)) }
            }
            return (
                try #require(value("conduit_rebalance_halts_total")),
                try #require(value("conduit_rebalance_halted")) == 1,
                try #require(value(#"conduit_shed_total{reason="rebalance"}"#))
            )
        }
        try await eventually("it stops", within: .seconds(60)) { try await figures().isHalted }
        let first = try await figures()
        // Three steps at most, of a quarter of its clients each here: two heartbeats and a delay are waited for.
        #expect(first.halts == 1 && first.shed <= 30)
        try await eventually("some are sent to try", within: .seconds(60)) { try await figures().shed > first.shed }
        let second = try await figures()
        #expect(second.halts == 1 && second.isHalted && second.shed <= first.shed + ArrivalWatch.probe)
        try await eventually("everybody is back") { await counts([one, two]) == [30, 0] }
        target.withLockedValue { $0 = two }
        try await eventually("both have about the same", within: .seconds(60)) {
            let counts = await counts([one, two])
            return counts.reduce(0, +) == 30 && counts.allSatisfy { (14...16).contains($0) }
        }
        try await eventually("it goes on") { try await !figures().isHalted }
        withExtendedLifetime(wanderers) {}
        for node in [one, two] { await node.node.shutdown() }
    }

    @Test func withoutACommandNothingMovesWhereItIsOff() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .off)
        let two = try await start("two", redis, .off)
        let wanderers = try await wanderers(one, two)
        let admin = "http://127.0.0.1:\(try #require(two.node.adminPort))"
        // Its figures are written with its heartbeat.
        try await eventually { try await redis.redisCLI("HGET", "conduit:node:one", "clients") == "30" }
        #expect(await one.hub.statistics().shed["rebalance"] == 0)
        let outcome = try await Program.run("rebalance", "--admin", admin)
        #expect(outcome.output == #"{"started":["one"],"mean":15.0,"unreachable":[]}"# + "\n", "\(outcome)")
        try await eventually("both have about the same") {
            await counts([one, two]).allSatisfy { (14...16).contains($0) }
        }
        // What the others say is as old as their last heartbeat.
        try await eventually("nobody has too many") {
            try await Program.run("rebalance", "--admin", admin).output.hasPrefix(#"{"started":[],"mean":15.0"#)
        }
        #expect(wanderers.flatMap { $0.reasons.withLockedValue { $0 } }.count <= 16)
        // Not while a node is on its way out.
        _ = try await redis.redisCLI("HSET", "conduit:node:three", "state", "draining", "clients", "0")
        _ = try await redis.redisCLI("ZADD", "conduit:nodes", "99999999999999", "three")
        try await eventually {
            let refused = try await Program.run("rebalance", "--admin", admin)
            return refused.status == 69 && refused.output.contains("three is draining")
        }
        for node in [one, two] { await node.node.shutdown() }
    }

    @Test func aDrainTakesThePlaceOfARebalance() async throws {
        let redis = try await RedisServer.start()
        let one = try await start("one", redis, .auto)
        let two = try await start("two", redis, .off)
        let wanderers = try await wanderers(one, two)
        try await eventually("some are under way", within: .seconds(60)) {
            await one.hub.statistics().shed["rebalance", default: 0] > 0
        }
        await one.node.shutdown()
        try await eventually("all are elsewhere") { await two.hub.clientCount() == 30 }
        func reasons() -> [String] { wanderers.flatMap { $0.reasons.withLockedValue { $0 } } }
        // The node counts a client before the client notes why it came.
        try await eventually("each has noted why it went") { reasons().count >= 30 }
        #expect(reasons().count == 30 && Set(reasons()) == ["rebalance", "drain"], "each is told once: \(reasons())")
        await two.node.shutdown()
    }
}
