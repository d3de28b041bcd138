import ConduitTesting
import Foundation
import NIOCore
import Testing

@testable import Conduit

/// A node that stops, seen by its clients, its balancer and the other nodes.
@Suite(.timeLimit(.minutes(5))) struct DrainTests {
    /// Whoever has a token is the user of that name; nobody in particular otherwise.
    static let authenticate: AuthenticationHandler = { handshake in
        var identity = Identity.anonymous
        identity.user = handshake.token.flatMap { UserID($0.value) }
        return identity
    }

    static func start(
        _ name: String, _ redis: RedisServer?, admin: Bool = false,
        _ change: (inout NodeConfiguration) -> Void = { _ in }
    ) async throws -> TestNode {
        var configuration = try TestNode.configuration(redis: redis?.url, name: name)
        var ordered = RoomPolicy()
        ordered.mode = .ordered
        configuration.hub.rooms.namespaces["log"] = ordered
        configuration.admin.isEnabled = admin
        configuration.admin.port = 0
        configuration.gateway.echo = true
        configuration.drain = DrainConfiguration()
        configuration.drain.wait = .zero
        change(&configuration)
        let node = try await TestNode.start(configuration, authenticate: authenticate)
        try await eventually("\(name) is ready") { node.node.readiness == "ready" }
        return node
    }

    private func get(_ node: TestNode, _ path: String) async throws -> TestHTTPResponse {
        let socket = try await TestSocket.connect(port: node.node.httpPort)
        try await socket.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return try #require(TestHTTPResponse(try await socket.waitForClose()))
    }

    @Test func theBalancerHasTimeToSeeIt() async throws {
        let node = try await Self.start("one", nil) {
            $0.drain.wait = .seconds(8)
            $0.shutdownTimeout = .seconds(60)
        }
        let first = try await node.connect(subprotocols: ["conduit.v1.json"])
        let stopped = Task { await node.node.shutdown() }
        try await eventually { node.node.readiness == "draining" }
        let ready = try await get(node, "/ready")
        #expect(ready.status == 503 && ready.body.contains("draining"))
        // It hasn't seen it yet, and sends one more.
        let second = try await node.connect()
        #expect(try await second.request("ping").type == "pong")
        #expect(try await first.request("ping").type == "pong")
        let reconnect = try await first.next(type: "reconnect")
        #expect(reconnect.string("reason") == "drain")
        #expect((0...1_000).contains(try #require(reconnect.int("after_ms"))))
        for client in [first, second] { #expect(try await client.waitForCloseCode() == 3001) }
        await stopped.value
    }

    @Test func upgradesAreRefusedAndClientsServedWhileTheyWaitForTheirTurn() async throws {
        let redis = try await RedisServer.start()
        let node = try await Self.start("one", redis) { $0.drain.rate = 2 }
        let other = try await Self.start("two", redis)
        let clients = try await withThrowingTaskGroup(of: TestWebSocket.self) { group in
            for index in 0..<8 { group.addTask { try await node.connect(token: "u\(index)") } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let listener = try await other.connect(token: "listener")
        for client in clients + [listener] { _ = try await client.request("join_room", #"{"room":"log:1"}"#) }
        let echo = try await TestWebSocket.connect(port: node.node.httpPort, path: "/echo")
        let began = ContinuousClock.now
        let stopped = Task { await node.node.shutdown() }
        try await eventually { try await get(node, "/ready").status == 503 }
        try await eventually { (try? await node.connect()) == nil }
        // Each of those who are there publishes to an ordered room, until it is closed.
        var kept: [Int] = []
        for number in 0..<200 {
            let open = clients.filter { !$0.waitingMessages.contains { if case .close = $0 { true } else { false } } }
            guard let client = open.last else { break }
            let answer = try? await client.request(
                "broadcast", #"{"room":"log:1","type":"t","payload":{"n":\#(number)},"key":"\#(number)"}"#,
                timeout: .seconds(1))
            if answer?.type == "ack" { kept.append(number) }
        }
        #expect(!kept.isEmpty)
        for client in clients + [echo] { #expect(try await client.waitForCloseCode() == 3001) }
        #expect(ContinuousClock.now - began >= .milliseconds(2_800), "eight at two a second")
        var heard: [Int] = []
        while let last = kept.last, heard.last != last {
            heard.append(try #require(try await listener.next(type: "t").int("n")))
        }
        #expect(Set(heard).isSuperset(of: kept) && heard == heard.sorted() && Set(heard).count == heard.count)
        await stopped.value
        await other.node.shutdown()
    }

    @Test func usersWhoComeBackElsewhereAreNotSeenLeaving() async throws {
        let redis = try await RedisServer.start()
        let node = try await Self.start("one", redis) {
            $0.drain.presenceGrace = .seconds(60)
            // The grace is a quarter of this at most.
            $0.shutdownTimeout = .seconds(240)
        }
        let other = try await Self.start("two", redis)
        let watcher = try await other.connect(token: "watcher", subprotocols: ["conduit.v1.json"])
        _ = try await watcher.request("join_room", #"{"room":"hall","presence":true}"#)
        let users = (0..<6).map { "u\($0)" }
        var clients: [TestWebSocket] = []
        for user in users {
            let client = try await node.connect(token: user, subprotocols: ["conduit.v1.json"])
            _ = try await client.request("join_room", #"{"room":"hall"}"#)
            clients.append(client)
        }
        func diffs() -> String {
            watcher.waitingMessages.map { message -> String in
                if case .text(let text) = message, text.contains("presence_diff") { text } else { "" }
            }.joined()
        }
        // Who comes and goes between two diffs is in neither.
        try await eventually { users.allSatisfy { diffs().contains("\"\($0)\"") } }
        let stopped = Task { await node.node.shutdown() }
        var back: [TestWebSocket] = []
        for (user, client) in zip(users, clients) {
            #expect(try await client.waitForCloseCode() == 3001)
            let again = try await other.connect(token: user)
            _ = try await again.request("join_room", #"{"room":"hall"}"#)
            back.append(again)
        }
        let began = ContinuousClock.now
        await stopped.value
        #expect(ContinuousClock.now - began < .seconds(60), "it waits for nobody who is back")
        try await eventually { diffs().contains("disconnected") }
        #expect(!diffs().contains("users_left"), "\(diffs())")
        try await eventually {
            let roster = try await watcher.request("presence", #"{"room":"hall"}"#)
            return roster.int("count") == 7 && roster.int("users") == 7
        }
        await other.node.shutdown()
    }

    @Test func aTimeThatIsTooShortRaisesThePace() async throws {
        let node = try await Self.start("one", nil) {
            $0.drain.rate = 1
            $0.shutdownTimeout = .seconds(12)
            // Several loops would be seen one after the other, however they go.
            $0.eventLoops = 1
        }
        var clients: [TestWebSocket] = []
        for _ in 0..<40 { clients.append(try await node.connect()) }
        let stopped = Task { await node.node.shutdown() }
        // At one a second it would be eight, and all the others at once when the time is over.
        try await eventually("they go one after the other") {
            (13...36).contains(await node.hub.statistics().shed["drain", default: 0])
        }
        await stopped.value
        for client in clients { #expect(try await client.waitForCloseCode() == 3001) }
    }

    @Test func theTimesFitIntoTheTimeout() {
        let usual = DrainTimes(DrainConfiguration(), within: .seconds(30), isWaiting: true)
        #expect(usual.wait == .seconds(3) && usual.handOver == .seconds(5) && usual.told == .seconds(24))
        #expect(usual.clientsEnd == .seconds(29) && usual.delay == .seconds(1))
        // Ten thousand clients at the usual pace.
        #expect((usual.told - usual.wait).nanoseconds >= 10_000 * 1_000_000_000 / 500)
        #expect(DrainTimes(DrainConfiguration(), within: .seconds(30), isWaiting: false).wait == .zero)
        for timeout in [Duration.milliseconds(10), .seconds(1), .seconds(5), .seconds(3_600)] {
            let times = DrainTimes(DrainConfiguration(), within: timeout, isWaiting: true)
            #expect(times.wait + times.wait <= times.end && times.wait <= times.told)
            #expect(times.told + times.handOver <= times.clientsEnd && times.clientsEnd < times.end)
            #expect(times.delay < times.handOver)
        }
    }

    @Test func whoIsUnderWayIsCountedUntilBackOrAMinuteIsOver() {
        let start = ContinuousClock.now
        var away = ClientsUnderWay()
        away.look(total: 1_000, nodes: 1, now: start)
        away.sent(100, now: start)
        away.look(total: 900, nodes: 1, now: start + .seconds(5))
        #expect(away.count == 100)
        away.sent(50, now: start + .seconds(5))
        away.look(total: 890, nodes: 1, now: start + .seconds(10))
        #expect(away.count == 110)
        away.look(total: 900, nodes: 2, now: start + .seconds(15))
        #expect(away.count == 110, "a node has come")
        away.look(total: 900, nodes: 2, now: start + .seconds(60))
        #expect(away.count == 50)
        away.look(total: 900, nodes: 2, now: start + .seconds(65))
        #expect(away.count == 0)
    }

    @Test func settingsThatContradictEachOtherAreNamed() throws {
        func problems(_ settings: [String: String]) -> String {
            do throws(ConfigurationError) {
                _ = try NodeConfiguration.load(environment: settings)
                return ""
            } catch {
                return error.problems.map(\.description).joined(separator: "\n")
            }
        }
        #expect(problems(["CONDUIT_SHUTDOWN_TIMEOUT": "1s"]) == "", "a default that is too long is cut")
        #expect(
            problems(["CONDUIT_SHUTDOWN_TIMEOUT": "10s", "CONDUIT_DRAIN_WAIT": "6s"])
                .contains("drain.wait must not be longer than half of shutdown.timeout"))
        #expect(
            problems(["CONDUIT_DRAIN_RECONNECT_DELAY": "10s"])
                .contains("drain.reconnect-delay must be shorter than drain.presence-grace"))
        #expect(problems(["CONDUIT_REBALANCE_MODE": "auto"]).contains("needs redis.url"))
        let read = try NodeConfiguration.load(environment: [
            "CONDUIT_DRAIN_WAIT": "7s", "CONDUIT_DRAIN_RATE": "9", "CONDUIT_DRAIN_RECONNECT_DELAY": "2s",
            "CONDUIT_DRAIN_PRESENCE_GRACE": "4s", "CONDUIT_REBALANCE_MODE": "auto", "CONDUIT_REBALANCE_SHARE": "20",
            "CONDUIT_REBALANCE_TOLERANCE": "3", "CONDUIT_REDIS_URL": "redis://h",
        ])
        #expect(read.drain.wait == .seconds(7) && read.drain.rate == 9 && read.drain.reconnectDelay == .seconds(2))
        #expect(read.drain.presenceGrace == .seconds(4) && read.rebalance.mode == .auto)
        #expect(read.rebalance.share == 20 && read.rebalance.tolerance == 3)
    }

    // MARK: By the admin port

    @Test func anyNodeDrainsAnyOther() async throws {
        let redis = try await RedisServer.start()
        let one = try await NodeProcess.start("one", redis: redis.url, ["CONDUIT_AUTH_OPEN": "true"])
        let two = try await NodeProcess.start("two", redis: redis.url)
        let admin = "http://127.0.0.1:\(one.adminPort)"
        let unknown = try await Program.run("drain", "--admin", admin, "three")
        #expect(unknown.status == 69 && unknown.output.contains("404"), "\(unknown)")
        let outcome = try await Program.run("drain", "--admin", admin, "two", "--timeout", "5")
        #expect(outcome.status == 0, "\(outcome)")
        #expect(outcome.output == #"{"node_id":"two","state":"draining","unreachable":[]}"# + "\n")
        #expect(try await two.exitCode() == 0)
        let itself = try await Program.run("drain", "--admin", admin, "one")
        #expect(itself.status == 0, "\(itself)")
        #expect(try await one.exitCode() == 0)
        let events = try await redis.redisCLI("XRANGE", "conduit:events", "-", "+")
        for word in ["node_draining", "shutdown"] { #expect(events.components(separatedBy: word).count == 3) }
    }

    @Test func aNodeThatHearsNothingIsSaidToBeUnreachable() async throws {
        let redis = try await RedisServer.start()
        let one = try await NodeProcess.start("one", redis: redis.url, ["CONDUIT_CLUSTER_LEASE": "60s"])
        let two = try await NodeProcess.start("two", redis: redis.url, ["CONDUIT_CLUSTER_LEASE": "60s"])
        two.signal(SIGSTOP)
        let admin = "http://127.0.0.1:\(one.adminPort)"
        let outcome = try await Program.run("drain", "--admin", admin, "two")
        two.signal(SIGCONT)
        #expect(outcome.status == 69 && outcome.output.contains("two can't be reached"), "\(outcome)")
        try await redis.kill()
        try await eventually { try await one.isDegraded() }
        let blind = try await Program.run("rebalance", "--admin", admin)
        #expect(blind.status == 69 && blind.output.contains("503"), "\(blind)")
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalDrainsAndExitsWithNothing(signal: Int32) async throws {
        let node = try await NodeProcess.start("one", ["CONDUIT_DRAIN_WAIT": "1s"])
        let client = try await TestWebSocket.connect(port: node.port)
        node.signal(signal)
        if signal == SIGTERM {
            try await eventually { try await node.get("/ready").status == 503 }
            #expect(try await client.request("ping").type == "pong")
        }
        #expect(try await client.waitForCloseCode() == 3001)
        #expect(try await node.exitCode() == 0)
    }
}
