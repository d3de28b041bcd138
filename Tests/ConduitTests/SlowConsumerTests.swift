import Conduit
import ConduitCluster
import ConduitTesting
import NIOCore
import Testing

/// Members that stop reading for a while, over real sockets: what they get afterwards is what their rooms' rules say, and
/// nobody else notices.
@Suite(.timeLimit(.minutes(5)))
struct SlowConsumerTests {
    private static func configuration(_ slow: RoomPolicy.Slow, pendingBytes: Int = 128 << 10) -> NodeConfiguration {
        var configuration = TestNode.configuration()
        configuration.eventLoops = 1
        configuration.hub.pendingBytes = pendingBytes
        // However long the machine takes for it: this is not about time.
        configuration.hub.writeTimeoutMilliseconds = 600_000
        configuration.hub.idleTimeoutMilliseconds = 600_000
        var policy = RoomPolicy()
        policy.slow = slow
        configuration.hub.rooms = RoomPolicies(namespaces: ["feed": policy], rest: RoomPolicy())
        configuration.cluster.rooms = configuration.hub.rooms
        return configuration
    }

    /// One that stops reading, one that reads, and what they were sent.
    private final class Members {
        let node: TestNode
        let slow: TestWebSocket
        let healthy: TestWebSocket
        private let sender: TestWebSocket
        private(set) var sent = 0
        private(set) var largestPending = 0
        private let keys: Int

        init(_ node: TestNode, keys: Int = 0, tls: TestCertificates? = nil) async throws {
            self.node = node
            self.keys = keys
            func connect(_ receiveBufferBytes: Int? = nil) async throws -> TestWebSocket {
                try await TestWebSocket.connect(
                    port: node.node.httpPort, receiveBufferBytes: receiveBufferBytes,
                    segmentBytes: receiveBufferBytes == nil ? nil : 1_000, authority: tls?.caFile)
            }
            self.slow = try await connect(4096)
            self.healthy = try await connect()
            self.sender = try await connect()
            for client in [slow, healthy] {
                let joined = try await client.request("join_room", #"{"room":"feed:1","presence":true}"#)
                #expect(joined.type == "room_joined")
            }
        }

        /// Sends until the node says what it should; everything reaches the healthy one meanwhile, in order.
        ///
        /// Large messages until the sockets' buffers are full, then smaller ones, `small` of them at least.
        func send(small: Int = 0, until isEnough: (HubStatistics) -> Bool) async throws {
            var smallOnes = 0
            while true {
                let statistics = await node.hub.statistics()
                largestPending = max(largestPending, statistics.largestPendingBytes)
                if isEnough(statistics), smallOnes >= small { return }
                let isFull = statistics.stalledClients > 0
                let padding = String(repeating: "x", count: isFull ? 2_000 : 16_000)
                smallOnes = isFull ? smallOnes + 20 : 0
                try #require(sent < 100_000, "it never happened")
                for _ in 0..<20 { try await sendOne(padding) }
                for number in sent - 20..<sent {
                    let event = try await healthy.next(type: "m")
                    #expect(event.int("n") == number)
                }
            }
        }

        func sendOne(_ padding: String = "") async throws {
            let key = keys > 0 ? #","key":"k\#(sent % keys)""# : ""
            try await sender.send(
                #"{"type":"broadcast","data":{"room":"feed:1","type":"m","payload":{"n":\#(sent),"x":"\#(padding)"}\#(key)}}"#
            )
            sent += 1
        }

        /// Reads on, and returns what came up to the message that is sent now.
        func readOn() async throws -> [Int] {
            try await slow.resumeReading()
            let node = self.node
            try await eventually("everything is written") {
                await node.hub.statistics().stalledClients == 0
            }
            try await sendOne()
            var all: [Int] = []
            while all.last != sent - 1 { all.append(try #require(try await slow.next(type: "m").int("n"))) }
            let last = try await healthy.next(type: "m")
            #expect(last.int("n") == sent - 1)
            return all
        }

        func close() async throws { for client in [slow, healthy, sender] { try await client.close() } }
    }

    private func isRising(_ numbers: [Int]) -> Bool { zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 } }

    private func told(_ client: TestWebSocket) async throws -> Int {
        var missed = 0
        for case .text(let text) in client.waitingMessages {
            guard let event = TestEvent(text), event.type == "room_state", event.string("state") == "gap" else {
                continue
            }
            missed += event.int("missed") ?? 0
        }
        return missed
    }

    private func check(
        _ slow: RoomPolicy.Slow, reason: String, keys: Int = 0, tls: TestCertificates? = nil,
        _ body: (Members, [Int]) async throws -> Void
    ) async throws {
        var configuration = Self.configuration(slow)
        if let tls {
            configuration.gateway.tls = ServerTLS(certificateFile: tls.certificateFile, keyFile: tls.keyFile)
        }
        try await TestNode.with(configuration) { node in
            let members = try await Members(node, keys: keys, tls: tls)
            // Twice: it works again after it has worked.
            for _ in 0..<2 {
                let before = await node.hub.statistics().dropped[reason, default: 0]
                let start = members.sent
                try await members.slow.stopReading()
                try await members.send(small: 200) { $0.dropped[reason, default: 0] > before + 100 }
                #expect(await node.hub.statistics().stalledClients == 1)
                let dropped = await node.hub.statistics().dropped[reason, default: 0] - before
                let all = try await members.readOn()
                #expect(isRising(all))
                #expect(all.count + Int(dropped) == members.sent - start)
                #expect(members.largestPending <= 128 << 10 && members.largestPending > 1_000)
                try await body(members, all)
            }
            let statistics = await node.hub.statistics()
            #expect(statistics.closed.isEmpty && statistics.slowClosed.values.allSatisfy { $0 == 0 })
            #expect(statistics.pendingBytes == 0 && statistics.stalledClients == 0)
            try await members.close()
        }
    }

    @Test func theOldestAreLeftOutAndTold() async throws {
        try await check(.dropOldest, reason: "drop_oldest") { members, all in
            // What waited in the end is all there; the last was sent when nothing waited.
            #expect(all.suffix(40) == Array(members.sent - 40..<members.sent)[...])
        }
    }

    @Test func theSameOverTLS() async throws {
        try await check(.dropOldest, reason: "drop_oldest", tls: try await TestCertificates.make()) { members, all in
            #expect(all.suffix(40) == Array(members.sent - 40..<members.sent)[...])
        }
    }

    @Test func theNewestAreLeftOut() async throws {
        try await check(.dropNewest, reason: "drop_newest") { members, all in
            // The last few before the one that was sent when nothing waited are gone.
            #expect(all.last == members.sent - 1)
            #expect(all.dropLast().last.map { $0 < members.sent - 50 } == true)
        }
    }

    @Test func ofEachKeyTheNewestIsThere() async throws {
        try await check(.conflate, reason: "conflate", keys: 5) { members, all in
            #expect(all.suffix(6) == Array(members.sent - 6..<members.sent)[...])
            let event = try await members.healthy.request("ping")
            #expect(event.type == "pong")
        }
    }

    @Test func gapsAreToldWhereTheyWereAskedFor() async throws {
        try await TestNode.with(Self.configuration(.dropOldest)) { node in
            let members = try await Members(node)
            try await members.slow.stopReading()
            try await members.send { $0.dropped["drop_oldest", default: 0] > 100 }
            _ = try await members.readOn()
            let slow = members.slow
            try await eventually("all gaps are told") {
                try await told(slow) == Int(await node.hub.statistics().dropped["drop_oldest", default: 0])
            }
            #expect(try await told(members.healthy) == 0)
            try await members.close()
        }
    }

    @Test func keysAreDeliveredWhereTheyMeanSomething() async throws {
        try await TestNode.with(Self.configuration(.conflate)) { node in
            let client = try await node.connect()
            for room in ["feed:1", "other"] {
                _ = try await client.request("join_room", #"{"room":"\#(room)"}"#)
                try await client.send(
                    #"{"type":"broadcast","data":{"room":"\#(room)","type":"m","payload":1,"key":"k"}}"#)
                let event = try await client.next(type: "m")
                #expect(event.object["key"] as? String == (room == "other" ? nil : "k"))
            }
            try node.hub.broadcast("m", .null, to: "feed:1", key: "own")
            let event = try await client.next(type: "m")
            #expect(event.object["key"] as? String == "own" && event.room == "feed:1")
            #expect(throws: RequestError.self) { try node.hub.broadcast("m", .null, to: "feed:1", key: "") }
            try await client.close()
        }
    }

    @Test func keysReachOtherNodes() async throws {
        let redis = try await RedisServer.start()
        func configuration(_ name: String) throws -> NodeConfiguration {
            var configuration = Self.configuration(.conflate)
            configuration.nodeID = try #require(NodeID("\(name)"))
            try configuration.joinCluster(redisURL: redis.url)
            return configuration
        }
        try await TestNode.with(try configuration("one")) { one in
            try await TestNode.with(try configuration("two")) { two in
                try await eventually { one.node.readiness == "ready" && two.node.readiness == "ready" }
                let (sender, reader) = (try await one.connect(), try await two.connect())
                _ = try await reader.request("join_room", #"{"room":"feed:1"}"#)
                try await sender.send(
                    #"{"type":"broadcast","data":{"room":"feed:1","type":"m","payload":1,"key":"k"}}"#)
                let event = try await reader.next(type: "m")
                #expect(event.object["key"] as? String == "k" && event.room == "feed:1")
                for client in [sender, reader] { try await client.close() }
            }
        }
        try await redis.stop()
    }

    /// Whatever the rule: who takes nothing at all for long enough is closed.
    @Test func aSocketThatTakesNothingIsClosedAllTheSame() async throws {
        var configuration = Self.configuration(.dropOldest)
        configuration.hub.writeTimeoutMilliseconds = 300
        try await TestNode.with(configuration) { node in
            let members = try await Members(node)
            try await members.slow.stopReading()
            try await members.send { $0.slowClosed["write_timeout"] == 1 }
            #expect(await node.hub.statistics().pendingBytes == 0)
            try await members.slow.resumeReading()
            await members.slow.drop()
            try await members.healthy.close()
        }
    }

    /// Closed with 3008, and whole again after it came back: what an ordered room's member has missed is replayed.
    @Test func anOrderedRoomIsResumedByWhoWasTooSlow() async throws {
        let redis = try await RedisServer.start()
        var configuration = try TestNode.configuration(redis: redis.url, name: "slow")
        var ordered = RoomPolicy()
        ordered.mode = .ordered
        configuration.hub.rooms = RoomPolicies(namespaces: ["log": ordered], rest: RoomPolicy())
        configuration.cluster.rooms = configuration.hub.rooms
        configuration.hub.writeTimeoutMilliseconds = 300
        try await TestNode.with(configuration) { node in
            try await eventually { node.node.readiness == "ready" }
            let (slow, sender) = (try await node.connect(receiveBufferBytes: 4096), try await node.connect())
            let joined = try await slow.request("join_room", #"{"room":"log:1"}"#)
            let epoch = try #require(joined.string("epoch"))
            try await slow.stopReading()
            let padding = String(repeating: "x", count: 8_000)
            var sent = 0
            while await node.hub.statistics().slowClosed["write_timeout"] == 0 {
                try #require(sent < 20_000, "it was never closed")
                let ack = try await sender.request(
                    "broadcast",
                    #"{"room":"log:1","type":"m","payload":{"n":\#(sent),"x":"\#(sent < 900 ? padding : "")"}}"#)
                #expect(ack.type == "ack")
                sent += 1
            }
            try await slow.resumeReading()
            let code = try await slow.waitForCloseCode()
            // Cut off where it has not read the close frame in time.
            #expect(code == 3008 || code == nil)
            var offsets: [Int] = []
            func note(_ text: String) {
                guard let event = TestEvent(text), event.type == "m" else { return }
                offsets.append(event.object["offset"] as? Int ?? -1)
            }
            for case .text(let text) in slow.waitingMessages { note(text) }
            let again = try await node.connect()
            let resumed = try await again.request(
                "join_room", #"{"room":"log:1","recover":{"epoch":"\#(epoch)","offset":\#(offsets.last ?? 0)}}"#)
            #expect(resumed.data["recovered"] as? Bool == true, "\(resumed)")
            while offsets.count < sent { note(try await again.next(type: "m").text) }
            #expect(offsets == Array(1...sent))
            for client in [again, sender] { try await client.close() }
        }
        try await redis.stop()
    }

    /// When too much waits on the whole node, those go for whom most waits.
    @Test(arguments: [RoomPolicy.Slow.disconnect, .dropOldest]) func aNodeHasABoundToo(_ slow: RoomPolicy.Slow)
        async throws
    {
        var configuration = Self.configuration(slow, pendingBytes: 400 << 10)
        configuration.eventLoops = 2
        configuration.hub.nodePendingBytes = 1 << 20
        try await TestNode.with(configuration) { node in
            var crowd: [TestWebSocket] = []
            for _ in 0..<8 { crowd.append(try await node.connect(receiveBufferBytes: 4096)) }
            for client in crowd { _ = try await client.request("join_room", #"{"room":"feed:1"}"#) }
            let members = try await Members(node)
            for client in crowd { try await client.stopReading() }
            try await members.send { ($0.slowClosed["node_pending"] ?? 0) > 0 }
            try await eventually("less waits") { await node.hub.statistics().pendingBytes <= 1 << 20 }
            #expect(try await members.slow.request("ping").type == "pong")
            for client in crowd { await client.drop() }
            try await eventually { await node.hub.clientCount() == 3 }
            #expect(await node.hub.statistics().pendingBytes == 0)
            try await members.close()
        }
    }
}
