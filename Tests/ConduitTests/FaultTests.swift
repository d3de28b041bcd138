import ConduitTesting
import Foundation
import NIOCore
import Testing

/// Real nodes and a real Redis, ended, stopped and cut off while messages flow.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct FaultTests {
    /// How long Redis is away; `FAULT_OUTAGE_SECONDS` makes it longer.
    private static var outage: Duration {
        .seconds(Int(ProcessInfo.processInfo.environment["FAULT_OUTAGE_SECONDS"] ?? "") ?? 6)
    }

    /// Waits until so many nodes listen to a room.
    private func listening(_ count: Int, to room: String, _ redis: RedisServer) async throws {
        try await eventually("\(count) nodes listen to \(room)") {
            try await redis.redisCLI("PUBSUB", "NUMSUB", "conduit:room:{\(room)}").hasSuffix("\n\(count)")
        }
    }

    /// Waits until every listener has got the last message of each of its own node's senders.
    private func drained(_ listeners: [TrafficListener], sender: Int, total: Int) async throws {
        for listener in listeners {
            try await eventually("message \(total - 1) of sender \(sender) arrives") {
                listener.numbers(from: sender).last == total - 1
            }
        }
    }

    /// The members that Redis holds for a room: `<node>/<client>`.
    private func membersInRedis(_ room: String, _ redis: RedisServer) async throws -> Set<String> {
        let keys = try await redis.redisCLI("HKEYS", "conduit:members:{\(room)}")
        return Set(keys.split(separator: "\n").compactMap { $0.split(separator: "/").last.map(String.init) })
    }

    /// How many entries of `conduit:events` tell this of this node.
    private func events(_ name: String, of node: String, _ redis: RedisServer) async throws -> Int {
        let text = try await redis.redisCLI("--json", "XRANGE", "conduit:events", "-", "+")
        guard let entries = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[Any]] else {
            throw NodeProcess.Failure(description: "not a stream: \(text.prefix(300))")
        }
        return entries.count { entry in
            let fields = (entry.last as? [String]) ?? []
            return fields.contains(name) && fields.contains(node)
        }
    }

    // MARK: Two nodes with one id

    @Test func theDoubleOfALivingNodeEndsAndSaysWhy() async throws {
        let redis = try await RedisServer.start()
        let first = try await NodeProcess.start("twin", redis: redis.url)
        let double = try await NodeProcess.start("twin", redis: redis.url, waitsForRedis: false)
        #expect(try await double.exitCode() == 78)
        let lines = double.log.split(separator: "\n").filter { $0.hasPrefix("conduit: ") }
        #expect(lines.count == 1 && lines[0].contains("the node id twin belongs to another running node on "))
        #expect(lines.first?.contains("CONDUIT_NODE_ID") == true)
        #expect(try await !first.isDegraded())
    }

    @Test func aNodeThatWasKilledComesBackUnderItsId() async throws {
        let redis = try await RedisServer.start()
        let first = try await NodeProcess.start("phoenix", redis: redis.url, ["CONDUIT_CLUSTER_LEASE": "3s"])
        first.signal(SIGKILL)
        _ = try await first.exitCode()
        // Ready within the bound of a start: about the time of the lease.
        let second = try await NodeProcess.start("phoenix", redis: redis.url, ["CONDUIT_CLUSTER_LEASE": "3s"])
        #expect(second.isRunning)
    }

    // MARK: A node dies

    @Test func killedNodeIsMissedOnceAndItsMembersLeave() async throws {
        let redis = try await RedisServer.start()
        let first = try await NodeProcess.start("first", redis: redis.url)
        let second = try await NodeProcess.start("second", redis: redis.url)
        let doomed = try await NodeProcess.start("doomed", redis: redis.url)
        let room = "hall"
        let onFirst = try await TrafficListener.connect(to: first, room: room, presence: true)
        let alsoFirst = try await TrafficListener.connect(to: first, room: room)
        let onSecond = try await TrafficListener.connect(to: second, room: room, presence: true)
        let lost = [
            try await TrafficListener.connect(to: doomed, room: room),
            try await TrafficListener.connect(to: doomed, room: room),
        ]
        let survivors = [try await onFirst.clientID(), try await alsoFirst.clientID(), try await onSecond.clientID()]
        let lostIDs = [try await lost[0].clientID(), try await lost[1].clientID()]
        try await listening(3, to: room, redis)
        for client in [onFirst, onSecond] {
            try await eventually("the roster is whole") { try await client.roster(room).count == 5 }
        }

        let traffic = Traffic(from: [onFirst, onSecond, lost[0]], to: room)
        try await eventually("traffic flows from and to the doomed node") {
            onFirst.numbers(from: 2).count > 50 && lost[1].numbers(from: 0).count > 50
        }
        let clock = ContinuousClock()
        let killed = clock.now
        doomed.signal(SIGKILL)
        let due = Set(lostIDs.map { TrafficListener.Leaving(client: $0, reason: "node_lost") })
        for client in [onFirst, onSecond] {
            try await eventually("its members are reported as lost") {
                Set(client.left) == due && client.rosterCount == 3
            }
        }
        let took = clock.now - killed
        #expect(try await doomed.exitCode() == 128 + SIGKILL)
        // Told once, not by each survivor.
        #expect(onFirst.left.count == 2)
        #expect(onSecond.left.count == 2)
        for client in [onFirst, onSecond] { #expect(try await client.roster(room) == Set(survivors)) }
        #expect(try await membersInRedis(room, redis) == Set(survivors))
        #expect(try await events("node_down", of: "doomed", redis) == 1)
        #expect(try await redis.redisCLI("ZRANGE", "conduit:nodes", "0", "-1").contains("doomed") == false)
        try await listening(2, to: room, redis)

        // Traffic among the survivors never stopped: nothing lost, nothing twice, all in order.
        let totals = await traffic.stop()
        for sender in [0, 1] {
            try await drained([onFirst, alsoFirst, onSecond], sender: sender, total: totals[sender])
            for client in [onFirst, alsoFirst, onSecond] {
                #expect(client.numbers(from: sender) == Array(0..<totals[sender]))
            }
        }
        #expect(onFirst.numbers(from: 2).isStrictlyAscending)
        #expect(onSecond.numbers(from: 2).isStrictlyAscending)
        print("kill -9: members gone after \(took); among survivors \(Latencies(onSecond.arrivals))")
    }

    // MARK: Redis dies

    @Test func killedRedisStopsNothingLocalAndRelayingComesBack() async throws {
        try await redisIsAway(
            "killed", for: Self.outage,
            begin: { redis in try await redis.kill() },
            end: { redis in try await redis.restart() })
    }

    @Test func hangingRedisStopsNothingLocalAndRelayingComesBack() async throws {
        // Longer than a lease: each node's has run out when Redis goes on.
        try await redisIsAway(
            "hanging", for: .seconds(6),
            begin: { redis in redis.pause() },
            end: { redis in redis.resume() })
    }

    private func redisIsAway(
        _ what: String, for outage: Duration, begin: (RedisServer) async throws -> Void,
        end: (RedisServer) async throws -> Void
    ) async throws {
        let redis = try await RedisServer.start()
        let first = try await NodeProcess.start("first", redis: redis.url)
        let second = try await NodeProcess.start("second", redis: redis.url)
        let room = "hall"
        let onFirst = [
            try await TrafficListener.connect(to: first, room: room, presence: true),
            try await TrafficListener.connect(to: first, room: room),
        ]
        let onSecond = [
            try await TrafficListener.connect(to: second, room: room, presence: true),
            try await TrafficListener.connect(to: second, room: room),
        ]
        let leaver = try await TrafficListener.connect(to: second, room: room)
        try await listening(2, to: room, redis)
        try await eventually("the roster is whole") { try await onFirst[0].roster(room).count == 5 }

        let traffic = Traffic(from: [onFirst[0], onSecond[0]], to: room)
        try await eventually("traffic flows both ways") {
            onFirst[1].numbers(from: 1).count > 100 && onSecond[1].numbers(from: 0).count > 100
        }
        let marks = (onFirst[1].arrivals.count, onSecond[1].arrivals.count)
        let clock = ContinuousClock()
        let began = clock.now
        try await begin(redis)

        // Degraded, and said so, with 200.
        for node in [first, second] {
            try await eventually("\(node.id) is degraded") { try await node.isDegraded() }
        }
        let noticed = clock.now - began
        // Life goes on: one comes, one goes.
        let comer = try await TrafficListener.connect(to: first, room: room)
        await leaver.socket.drop()
        var before = (onFirst[1].numbers(from: 0).count, onSecond[1].numbers(from: 1).count)
        while clock.now - began < outage {
            try await eventually("local messages arrive while Redis is away") {
                onFirst[1].numbers(from: 0).count > before.0 && onSecond[1].numbers(from: 1).count > before.1
            }
            before = (onFirst[1].numbers(from: 0).count, onSecond[1].numbers(from: 1).count)
            #expect(try await first.isDegraded())
            try await clock.sleep(until: min(began + outage, clock.now + .milliseconds(200)))
        }
        let during = (onFirst[1].arrivals.dropFirst(marks.0), onSecond[1].arrivals.dropFirst(marks.1))
        let local = Latencies(during.0.filter { $0.sender == 0 } + during.1.filter { $0.sender == 1 })

        let back = clock.now
        try await end(redis)
        for node in [first, second] {
            try await eventually("\(node.id) is ready again") {
                try await !node.isDegraded()
            }
        }
        let ready = clock.now - back
        // What is sent from now on crosses.
        let sent = (onFirst[1].numbers(from: 0).last ?? 0, onSecond[1].numbers(from: 1).last ?? 0)
        try await eventually("relaying comes back by itself") {
            onSecond[1].numbers(from: 0).last ?? 0 > sent.0 && onFirst[1].numbers(from: 1).last ?? 0 > sent.1
        }
        let relayed = clock.now - back

        // Presence is the truth, on both nodes and in Redis.
        var truth: Set<String> = []
        for client in onFirst + onSecond + [comer] { truth.insert(try await client.clientID()) }
        for client in [onFirst[0], onSecond[0]] {
            try await eventually("the roster is the truth") {
                try await client.roster(room) == truth
            }
        }
        try await eventually("Redis holds the truth") {
            try await self.membersInRedis(room, redis) == truth
        }

        let totals = await traffic.stop()
        try await drained(onFirst + onSecond, sender: 0, total: totals[0])
        try await drained(onFirst + onSecond, sender: 1, total: totals[1])
        // Every local message arrived, in order, once.
        for client in onFirst { #expect(client.numbers(from: 0) == Array(0..<totals[0])) }
        for client in onSecond { #expect(client.numbers(from: 1) == Array(0..<totals[1])) }
        // What crossed came in order and once; what was under way when Redis went may be missing.
        for client in onSecond { #expect(client.numbers(from: 0).isStrictlyAscending) }
        for client in onFirst { #expect(client.numbers(from: 1).isStrictlyAscending) }
        let missed = totals[0] - onSecond[1].numbers(from: 0).count + totals[1] - onFirst[1].numbers(from: 1).count
        print(
            "Redis \(what) for \(outage): noticed after \(noticed); local meanwhile \(local); back: ready after \(ready),",
            "relaying after \(relayed); not relayed \(missed) of \(totals[0] + totals[1])")
        // The outbox was delivered: what was sent during the outage is far more than what may be under way when it begins.
        #expect(missed <= (totals[0] + totals[1]) / 20)
        if missed > 0 {
            for node in [first, second] {
                let figures = try await redis.redisCLI(
                    "HMGET", "conduit:node:\(node.id)", "relay_published", "relay_received", "relay_dropped",
                    "relay_gaps", "dropped")
                print("\(node.id): published, received, dropped, gaps, local drops", figures.split(separator: "\n"))
                print(node.log)
            }
        }
        // Nobody was told that those who stayed had left for good.
        for client in [onFirst[0], onSecond[0]] { #expect(client.rosterCount == truth.count) }
    }

    // MARK: Redis was never there

    @Test func nodeStartsWithoutItsRedisAndFindsItLater() async throws {
        let redis = try await RedisServer.start()
        try await redis.kill()
        let first = try await NodeProcess.start("first", redis: redis.url, waitsForRedis: false)
        let second = try await NodeProcess.start("second", redis: redis.url, waitsForRedis: false)
        for node in [first, second] {
            try await eventually("\(node.id) says that it is degraded") { try await node.isDegraded() }
            try await eventually("the log names the trouble") { node.log.lowercased().contains("redis") }
        }
        let room = "hall"
        let a = try await TrafficListener.connect(to: first, room: room)
        let b = try await TrafficListener.connect(to: first, room: room)
        let c = try await TrafficListener.connect(to: second, room: room)
        let traffic = Traffic(from: [a], to: room)
        try await eventually("messages are delivered locally") { b.numbers(from: 0).count > 50 }
        #expect(try await a.roster(room).count == 2)
        try await redis.restart()
        for node in [first, second] {
            try await eventually("\(node.id) is ready") { try await !node.isDegraded() }
        }
        let sent = b.numbers(from: 0).last ?? 0
        try await eventually("messages cross") { c.numbers(from: 0).last ?? 0 > sent }
        for client in [a, c] {
            try await eventually("the roster is whole") { try await client.roster(room).count == 3 }
        }
        let totals = await traffic.stop()
        try await drained([b, c], sender: 0, total: totals[0])
        #expect(b.numbers(from: 0) == Array(0..<totals[0]))
        #expect(c.numbers(from: 0).isStrictlyAscending)
    }

    @Test func wrongPasswordIsNamedAndTriedSlowly() async throws {
        let redis = try await RedisServer.start(RedisServer.Options(password: "right"))
        let url = redis.url.replacingOccurrences(of: ":right@", with: ":wrong@")
        let node = try await NodeProcess.start("first", redis: url, waitsForRedis: false)
        try await eventually("it says that it is degraded") { try await node.isDegraded() }
        try await eventually("the log names the password") {
            node.log.contains("WRONGPASS") || node.log.lowercased().contains("password")
        }
        // The password itself is nobody's business.
        #expect(!node.log.contains("wrong@") && !node.log.contains("\"wrong\""))
        func refusals() async throws -> Int {
            let text = try await redis.redisCLI("INFO", "errorstats")
            let figure = text.split(separator: "errorstat_WRONGPASS:count=").dropFirst().first?.prefix { $0.isNumber }
            return Int(figure ?? "") ?? 0
        }
        let clock = ContinuousClock()
        let began = clock.now
        let before = try await refusals()
        let a = try await TrafficListener.connect(to: node, room: "hall")
        let b = try await TrafficListener.connect(to: node, room: "hall")
        let traffic = Traffic(from: [a], to: "hall")
        // The window in which attempts are counted; a busy machine may make it a longer one.
        try await clock.sleep(for: .seconds(4))
        let attempts = try await refusals() - before
        let seconds = (clock.now - began) / .seconds(1)
        #expect(Double(attempts) <= seconds - 1, "\(attempts) attempts in \(seconds) s")
        let totals = await traffic.stop()
        try await drained([b], sender: 0, total: totals[0])
        #expect(b.numbers(from: 0) == Array(0..<totals[0]))
        // It still tries: the right password is found without a restart.
        try await redis.redisCLI("CONFIG", "SET", "requirepass", "wrong")
        try await eventually("it is ready when the password fits") {
            try await !node.isDegraded()
        }
        print("wrong password: \(attempts) attempts in \(seconds) s")
    }

    // MARK: A node is told to stop

    @Test func terminatedNodeSaysGoodbyeAndLeavesNothingBehind() async throws {
        let redis = try await RedisServer.start()
        let stays = try await NodeProcess.start("stays", redis: redis.url)
        // Its members leave at once, not when its lease runs out.
        let goes = try await NodeProcess.start("goes", redis: redis.url, ["CONDUIT_CLUSTER_LEASE": "10m"])
        let room = "hall"
        let watcher = try await TrafficListener.connect(to: stays, room: room, presence: true)
        let clients = [
            try await TrafficListener.connect(to: goes, room: room),
            try await TrafficListener.connect(to: goes, room: room, subprotocols: ["conduit.v1.json"]),
        ]
        let ids = [try await clients[0].clientID(), try await clients[1].clientID()]
        try await listening(2, to: room, redis)
        // Told already: a client that comes and goes within one interval of presence_diff is never spoken of.
        try await eventually("the watcher knows of all") { watcher.rosterCount == 3 }
        let clock = ContinuousClock()
        let began = clock.now
        goes.signal(SIGTERM)
        for client in clients {
            #expect(try await client.socket.waitForCloseCode() == 3001)
            await client.socket.drop()
        }
        #expect(try await goes.exitCode() == 0, "\(goes.log.suffix(2000))")
        print("SIGTERM: ended after \(clock.now - began)")
        let due = Set(ids.map { TrafficListener.Leaving(client: $0, reason: "disconnected") })
        try await eventually("its members leave") { Set(watcher.left) == due && watcher.rosterCount == 1 }
        #expect(try await redis.redisCLI("EXISTS", "conduit:node:goes") == "0")
        #expect(try await redis.redisCLI("ZSCORE", "conduit:nodes", "goes") == "")
        #expect(try await redis.redisCLI("EXISTS", "conduit:node:goes:rooms") == "0")
        #expect(try await membersInRedis(room, redis) == [try await watcher.clientID()])
        try await listening(1, to: room, redis)
        #expect(try await events("node_down", of: "goes", redis) == 1)
    }

    @Test func secondSignalStopsAtOnce() async throws {
        // A patient node: it waits a minute for its balancer.
        let node = try await NodeProcess.start(
            "alone", ["CONDUIT_SHUTDOWN_TIMEOUT": "10m", "CONDUIT_DRAIN_WAIT": "1m"])
        let client = try await TestWebSocket.connect(port: node.port)
        node.signal(SIGTERM)
        try await eventually("it has heard the first one") { try await node.get("/ready").status == 503 }
        #expect(try await client.request("ping").type == "pong")
        node.signal(SIGTERM)
        // An end in order would be 0, a minute later.
        #expect(try await node.exitCode() == 143, "\(node.log)")
        #expect(node.log.contains("stopped at once"))
    }
}
