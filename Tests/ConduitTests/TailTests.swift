import Conduit
import ConduitCommand
import ConduitTesting
import Foundation
import Synchronization
import Testing

/// `conduit tail` on real Redis servers, with real nodes.
@Suite(.timeLimit(.minutes(5))) struct TailTests {
    /// A tail that runs; its lines as they come.
    private final class Tail: Sendable {
        private let process: SpawnedProcess
        private let read = Mutex<[String]>([])

        init(_ arguments: String...) throws {
            process = try SpawnedProcess(
                [try Program.path, "tail"] + arguments,
                environment: ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("CONDUIT_") })
            Thread.detachNewThread { [output = process.output, weak self] in
                var rest = ""
                while true {
                    let data = output.availableData
                    guard !data.isEmpty else { return }
                    rest += String(decoding: data, as: UTF8.self)
                    while let end = rest.firstIndex(of: "\n") {
                        let line = String(rest[..<end])
                        self?.read.withLock { $0.append(line) }
                        rest.removeSubrange(...end)
                    }
                }
            }
        }

        deinit { process.signal(SIGKILL) }

        var lines: [String] { read.withLock { $0 } }

        func wait() async throws -> Int32 { try await process.wait() }

        /// Waits until so many lines have come.
        func lines(_ count: Int) async throws -> [String] {
            do {
                try await eventually("\(count) lines") { self.lines.count >= count }
            } catch {
                throw TestTimeout(description: "\(error): \(lines)")
            }
            return lines
        }
    }

    private func object(_ line: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
    }

    private func add(_ redis: RedisServer, _ id: String, _ fields: String...) async throws {
        try await redis.redisCLI(["XADD", "conduit:events", id] + fields)
    }

    @Test func eventsArePrintedAndFollowed() async throws {
        let redis = try await RedisServer.start()
        for number in 1...4 { try await add(redis, "\(number)000-0", "event", "node_up", "node", "n\(number)") }
        let tail = try Tail("--redis-url", redis.url, "--json", "-n", "2", "--count", "5")
        #expect(try await tail.lines(2).map { try object($0)["node"] as? String } == ["n3", "n4"])
        try await add(redis, "*", "event", "room_occupied", "node", "n1", "room", "\u{1B}[2J \"x\"\n")
        try await add(redis, "*", "event", "redis_lost", "node", "n2", "at", "12")
        let events = try await tail.lines(4).map(object)
        #expect(events[2]["event"] as? String == "room_occupied")
        #expect(events[2]["room"] as? String == "\u{1B}[2J \"x\"\n")
        #expect(events[3]["field_at"] as? String == "12")
        #expect((events[3]["at"] as? Int ?? 0) > 1_000_000_000_000)
        // Redis goes and comes back: said once, and nothing that is still there is missed.
        try await redis.stop()
        #expect(try await tail.lines(5)[4].contains("Redis is away"))
        try await redis.restart()
        try await add(redis, "*", "event", "node_down", "node", "n2", "lost", "n3")
        let last = try await tail.lines(7)
        #expect(last[5].contains("Redis is back") || last[6].contains("Redis is back"))
        #expect(last.contains { $0.contains("node_down") })
        #expect(try await tail.wait() == 0)
    }

    @Test func textIsReadableAndHarmless() async throws {
        let redis = try await RedisServer.start()
        try await add(redis, "1795858530120-0", "event", "room_vacated", "node", "n1", "room", "a b\u{1B}[2J\u{202E}")
        let recent = try await Program.run("tail", "--redis-url", redis.url, "--count", "1")
        #expect(
            recent.output == "2026-11-28T09:35:30.120Z  room_vacated    n1  room=\"a b\\u{1B}[2J\\u202e\"\n",
            "\(recent.output)")
        for since in ["2026-11-28T09:35:30Z", "2026-11-28T09:35:30.120Z", "9999d"] {
            let outcome = try await Program.run("tail", "--redis-url", redis.url, "--since", since, "--count", "1")
            #expect(outcome.output.contains("room_vacated"), "\(since): \(outcome)")
        }
        for wrong in [
            ["--since", "yesterday"], ["--since", "5m", "-n", "3"], ["--room", "a", "--since", "5m"], ["--room", ""],
            ["--presence"], ["-n", "1001"], ["--count", "0"],
        ] {
            #expect(try await Program.run(["tail", "--redis-url", redis.url] + wrong).status == 64, "\(wrong)")
        }
    }

    @Test func withoutTheRightToWaitTheStreamIsLookedAt() async throws {
        let redis = try await RedisServer.start(
            RedisServer.Options(users: ["looker on >s3cr3t ~conduit:* &conduit:* -@all +auth +ping +xrange +xrevrange"])
        )
        let tail = try Tail("--redis-url", "redis://looker:s3cr3t@127.0.0.1:\(redis.port)", "--json", "--count", "2")
        try await add(redis, "*", "event", "node_up", "node", "n1")
        _ = try await tail.lines(1)
        try await add(redis, "*", "event", "node_up", "node", "n2")
        #expect(try await tail.lines(2).map { try object($0)["node"] as? String } == ["n1", "n2"])
        #expect(try await tail.wait() == 0)
    }

    @Test func severalServersAreOneStreamOfEvents() async throws {
        let first = try await RedisServer.start(), second = try await RedisServer.start()
        try await add(first, "1000-0", "event", "node_up", "node", "n1")
        try await add(second, "1000-0", "event", "node_up", "node", "n1")
        try await add(second, "2000-0", "event", "room_occupied", "node", "n1", "room", "r")
        let outcome = try await Program.run(
            "tail", "--redis-url", "\(first.url),\(second.url)", "--json", "--count", "2")
        let events = try outcome.output.split(separator: "\n").map { try object(String($0)) }
        #expect(Set(events.compactMap { $0["event"] as? String }) == ["node_up", "room_occupied"], "\(outcome)")
        #expect(events.first { $0["event"] as? String == "room_occupied" }?["server"] as? Int == 1)
    }

    // MARK: Rooms

    private func node(_ id: String, _ redis: String) async throws -> ConduitNode {
        let configuration = try NodeConfiguration.load(environment: [
            "CONDUIT_NODE_ID": id, "CONDUIT_HTTP_PORT": "0", "CONDUIT_ADMIN_ENABLED": "false",
            "CONDUIT_NODE_EVENT_LOOPS": "1", "CONDUIT_LOG_LEVEL": "error", "CONDUIT_ROOMS_CHAT_MODE": "ordered",
            "CONDUIT_REDIS_URL": redis,
        ])
        let node = try await ConduitNode.start(configuration: configuration)
        try await eventually("\(id) is ready") { node.readiness == "ready" }
        return node
    }

    enum Shape: String, CaseIterable, Sendable { case single, several, cluster }

    private func url(_ shape: Shape) async throws -> (url: String, owner: [AnyObject]) {
        switch shape {
        case .single:
            let redis = try await RedisServer.start()
            return (redis.url, [redis])
        case .several:
            let servers = [try await RedisServer.start(), try await RedisServer.start()]
            return (servers.map(\.url).joined(separator: ","), servers)
        case .cluster:
            let cluster = try await RedisCluster.start()
            return (cluster.url, [cluster])
        }
    }

    @Test(arguments: Shape.allCases) func messagesOfARoomAreFollowed(shape: Shape) async throws {
        let (url, owner) = try await url(shape)
        let node = try await node("first", url)
        let ann = try await TestWebSocket.connect(port: node.httpPort, path: "/ws")
        // Several rooms, so that several servers have some.
        for room in ["lobby", "attic", "cellar {1}"] {
            let tail = try Tail("--redis-url", url, "--room", room, "--count", "2")
            let quoted = "\"\(room)\""
            try await eventually("\(room) is heard", poll: .milliseconds(100)) {
                // Redis keeps nothing of a fast room: what is said before the tail listens is gone.
                try await ann.send(
                    #"{"type":"broadcast","data":{"room":\#(quoted),"type":"fast","payload":{"a":"\u007f"}}}"#)
                return !tail.lines.isEmpty
            }
            let line = try object(try await tail.lines(1)[0])
            #expect(line["room"] as? String == room)
            #expect(line["node"] as? String == "first")
            let message = try #require(line["message"] as? [String: Any])
            #expect(
                message["type"] as? String == "fast" && (message["data"] as? [String: Any])?["a"] as? String == "\u{7F}"
            )
            try await ann.send(#"{"type":"broadcast","data":{"room":\#(quoted),"type":"fast","payload":2}}"#)
            #expect(try await tail.wait() == 0)
        }
        await node.shutdown()
        withExtendedLifetime(owner) {}
    }

    @Test(arguments: Shape.allCases) func anOrderedRoomIsFollowedFromItsLogOn(shape: Shape) async throws {
        let (url, owner) = try await url(shape)
        let node = try await node("first", url)
        let ann = try await TestWebSocket.connect(port: node.httpPort, path: "/ws")
        #expect(try await ann.request("join_room", #"{"room":"chat:a"}"#).type == "room_joined")
        func say(_ number: Int) async throws {
            let ack = try await ann.request(
                "broadcast", #"{"room":"chat:a","type":"kept","payload":{"n":\#(number)}}"#)
            #expect(ack.int("offset") == number, "\(ack)")
        }
        for number in 1...3 { try await say(number) }
        let tail = try Tail("--redis-url", url, "--room", "chat:a", "-n", "2", "--count", "4")
        _ = try await tail.lines(2)
        for number in 4...5 { try await say(number) }
        #expect(try await tail.wait() == 0)
        let lines = try tail.lines.map(object)
        #expect(lines.map { $0["offset"] as? Int } == [2, 3, 4, 5])
        #expect(Set(lines.compactMap { $0["epoch"] as? String }).count == 1)
        #expect(
            lines.map { ($0["message"] as? [String: Any])?["type"] as? String } == Array(repeating: "kept", count: 4))
        #expect(lines.allSatisfy { ($0["at"] as? Int ?? 0) > 1_000_000_000_000 })
        await node.shutdown()
        withExtendedLifetime(owner) {}
    }

    @Test func whatAnOrderedRoomSaidWhileTheTailWasAwayIsReadFromItsLog() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        let node = try await node("first", redis.url)
        let ann = try await TestWebSocket.connect(port: node.httpPort, path: "/ws")
        _ = try await ann.request("join_room", #"{"room":"chat:a"}"#)
        func say(_ number: Int) async throws {
            _ = try await ann.request("broadcast", #"{"room":"chat:a","type":"kept","payload":\#(number)}"#)
        }
        let tail = try Tail(
            "--redis-url", "redis://127.0.0.1:\(proxy.port)", "--room", "chat:a", "-n", "1", "--presence", "--count",
            "9")
        try await say(1)
        _ = try await tail.lines(1)
        var refuses = TCPProxy.Behaviour()
        refuses.refuses = true
        try await proxy.set(refuses)
        try await proxy.reset()
        try await eventually("the tail is away") { tail.lines.contains { $0.contains("Redis is away") } }
        for number in 2...4 { try await say(number) }
        try await proxy.set(TCPProxy.Behaviour())
        try await eventually("the tail is back") { tail.lines.contains { $0.contains("Redis is back") } }
        try await say(5)
        _ = try await ann.request("leave_room", #"{"room":"chat:a"}"#)
        try await eventually("who leaves is told") { tail.lines.contains { $0.contains("\"left\"") } }
        let lines = tail.lines.filter { $0.hasPrefix("{") && $0.contains("offset") }
        #expect(try lines.map { try object($0)["offset"] as? Int } == [1, 2, 3, 4, 5])
        await node.shutdown()
    }
}
