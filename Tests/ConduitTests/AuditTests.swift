import Conduit
import ConduitCluster
import ConduitTesting
import Foundation
import NIOCore
import Testing

@testable import ConduitCommand

/// `conduit audit` on real nodes: traffic adds up, and a loss is named.
@Suite(.timeLimit(.minutes(5))) struct AuditTests {
    private func node(_ id: String, _ url: String) async throws -> ConduitNode {
        let configuration = try NodeConfiguration.load(environment: [
            "CONDUIT_NODE_ID": id, "CONDUIT_HTTP_PORT": "0", "CONDUIT_ADMIN_ENABLED": "false",
            "CONDUIT_REDIS_URL": url, "CONDUIT_NODE_EVENT_LOOPS": "1", "CONDUIT_LOG_LEVEL": "error",
        ])
        let node = try await ConduitNode.start(configuration: configuration)
        try await eventually("\(id) is ready") { node.readiness == "ready" }
        return node
    }

    private func join(_ node: ConduitNode, _ room: String) async throws -> TestWebSocket {
        let socket = try await TestWebSocket.connect(port: node.httpPort)
        _ = try await socket.request("join_room", "{\"room\":\"\(room)\"}")
        return socket
    }

    private func audit(_ redis: RedisServer, _ arguments: String...) async throws -> ChildProcess.Outcome {
        try await Program.run(["audit"] + arguments, environment: ["CONDUIT_REDIS_URL": redis.url])
    }

    private func say(_ socket: TestWebSocket, _ room: String?, _ number: Int) async throws {
        let place = room.map { "\"room\":\"\($0)\"," } ?? ""
        try await socket.send(
            "{\"type\":\"broadcast\",\"data\":{\(place)\"type\":\"n\",\"payload\":{\"n\":\(number)}}}")
    }

    @Test func aClusterWithTrafficAddsUp() async throws {
        let redis = try await RedisServer.start()
        let nodes = [try await node("first", redis.url), try await node("second", redis.url)]
        var sockets: [TestWebSocket] = []
        for node in nodes { sockets.append(try await join(node, "lobby")) }
        let traffic = Task { [sockets] in
            for number in 0..<600 {
                try await say(sockets[number % 2], number % 3 == 0 ? nil : "lobby", number)
                // The pace only: while the nodes are asked, messages are under way.
                if number % 4 == 0 { try await Task.sleep(for: .milliseconds(5)) }
            }
        }
        let during = try await audit(redis)
        #expect(during.status == 0, "\(during.output)")
        #expect(during.output.contains("adds up"))
        try await traffic.value
        // An answer behind all that was said: the nodes have published it.
        for socket in sockets { _ = try await socket.request("ping") }
        let after = try await audit(redis, "--format", "json")
        #expect(after.status == 0, "\(after.output)")
        let json = try JSONSerialization.jsonObject(with: Data(after.output.utf8)) as? [String: Any]
        let sum = try #require(json?["sum"] as? [String: Int])
        #expect(sum["published"] == 600)
        #expect(sum["expected"] == sum["arrived"].map { $0 + (sum["echoed"] ?? 0) })
        #expect(sum["arrived"] == 600 && sum["received"] == 600 && sum["unrecoverable"] == 0)
        #expect((json?["compared"] as? Int) == 4, "two channels in both directions")
        let room = try await audit(redis, "lobby")
        #expect(room.status == 0, "\(room.output)")
        #expect(room.output.contains("second: 200") && room.output.contains("first: 200"))
        #expect(try await redis.redisCLI("KEYS", "conduit:audit:*").isEmpty, "nothing stays behind")
        for node in nodes { await node.shutdown() }
    }

    @Test func aPlantedLossIsFoundAndNamed() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await DeafProxy.start(to: redis.port)
        let first = try await node("first", redis.url)
        let second = try await node("second", "redis://127.0.0.1:\(proxy.port)")
        let here = try await join(first, "lobby"), there = try await join(second, "lobby")
        for number in 1...5 { try await say(here, "lobby", number) }
        for number in 1...5 { #expect(try await there.next(type: "n").int("n") == number) }
        proxy.swallow("\"n\":6}")
        try await say(here, "lobby", 6)
        try await eventually { proxy.hasSwallowed }
        let outcome = try await audit(redis)
        #expect(outcome.status == 1, "\(outcome.output)")
        #expect(outcome.output.contains("does not add up"))
        #expect(
            outcome.output.contains(
                "second has seen first's messages in conduit:room:{lobby} up to number 5 of 6: 1 missing"))
        // The next message shows the hole; it is filled, and the numbers add up again.
        try await say(here, "lobby", 7)
        for number in 6...7 { #expect(try await there.next(type: "n").int("n") == number) }
        let healed = try await audit(redis)
        #expect(healed.status == 0, "\(healed.output)")
        for node in [first, second] { await node.shutdown() }
        await proxy.stop()
    }

    @Test func whatDiffersIsNamed() throws {
        func answer(_ node: String, _ rows: String...) -> [[UInt8]] {
            rows.map { Array("{\"node\":\"\(node)\",\"incarnation\":7,\($0)}".utf8) }
        }
        let end = "\"kind\":\"end\",\"truncated\":false"
        let a = AuditAnswer.read(
            answer("a", "\"kind\":\"sent\",\"rows\":[[\"x\",5],[\"y\",1]]", end)
                + answer(
                    "b",
                    "\"kind\":\"seen\",\"rows\":[[\"x\",\"a\",7,4],[\"y\",\"a\",6,0],[\"y\",\"a\"],[1,2,3,4]]",
                    "\"kind\":\"ordered\",\"rows\":[[\"r\",\"e\",3]]", end)
                + answer("../evil", end) + [Array("junk".utf8), []])
        #expect(a.map(\.node) == ["a", "b"])
        var report = AuditReport(
            nodes: ["a", "b", "c"], first: a, before: a, last: a, tops: ["r": LogPosition(epoch: "e", offset: 4)])
        #expect(
            report.differences == [
                "c did not answer", "b has seen a's messages in x up to number 4 of 5: 1 missing",
                "b has delivered r up to offset 3 of 4: 1 missing",
            ], "numbers of an earlier life mean nothing")
        #expect(report.compared == 2)
        var late = a
        late[1].seen = [.init(channel: "x", origin: "a", incarnation: 7, last: 9)]
        late[1].ordered = ["r": LogPosition(epoch: "f", offset: 9)]
        report = AuditReport(
            nodes: ["a", "b"], first: a, before: a, last: late, tops: ["r": LogPosition(epoch: "e", offset: 4)])
        #expect(report.differences == ["b is in epoch f of r, the log in e"])
        report = AuditReport(nodes: ["a", "b"], first: a, before: a, last: late)
        #expect(report.addsUp && report.verdict.hasSuffix("adds up\n"))
    }

    @Test func receptionsMustAddUpWhereNothingHasGone() {
        func node(_ figures: [String: UInt64]) -> [AuditAnswer] {
            var answer = AuditAnswer(node: "a")
            answer.figures = figures
            answer.isComplete = true
            return [answer]
        }
        let base: [String: UInt64] = ["expected": 10, "arrived": 7, "echoed": 3, "waiting": 0]
        func report(_ changes: [String: UInt64], before: [String: UInt64]? = nil) -> AuditReport {
            let last = base.merging(changes) { $1 }
            return AuditReport(nodes: ["a"], first: node(last), before: node(before ?? last), last: node(last))
        }
        #expect(report([:]).addsUp && report([:]).remarks.isEmpty)
        #expect(report(["arrived": 6]).differences == ["10 receptions were expected, 9 came"])
        #expect(report(["arrived": 6], before: base).remarks.count == 1, "traffic goes on")
        #expect(report(["arrived": 6, "healed": 1]).addsUp)
        #expect(report(["arrived": 6, "nodes_gone": 1]).addsUp)
        #expect(report(["arrived": 6, "unrecoverable": 3]).remarks.contains { $0.contains("3 messages were lost") })
    }
}
