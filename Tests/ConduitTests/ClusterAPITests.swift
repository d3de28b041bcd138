import Conduit
import ConduitAdmin
import ConduitCluster
import ConduitRedis
import ConduitTesting
import Foundation
import NIOCore
import Testing

/// One answer of the admin API.
private struct Answer {
    let status: Int
    let body: [String: Any]

    var unreachable: [String] { body["unreachable"] as? [String] ?? ["?"] }
    func int(_ name: String) -> Int? { (body[name] as? NSNumber)?.intValue }
    func list(_ name: String) -> [[String: Any]] { body[name] as? [[String: Any]] ?? [] }
    func texts(_ list: String, _ name: String) -> [String] { self.list(list).compactMap { $0[name] as? String } }

    static func of(
        _ port: Int?, _ method: String, _ path: String, _ body: String? = nil
    ) async throws -> Answer {
        let port = try #require(port)
        let socket = try await TestSocket.connect(port: port)
        let content = body.map { "Content-Type: application/json\r\nContent-Length: \($0.utf8.count)\r\n" } ?? ""
        try await socket.send(
            "\(method) /api/v1/\(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\(content)\r\n\(body ?? "")")
        let text = try await socket.waitForClose()
        let answer = try #require(TestHTTPResponse(text), "\(text)")
        let json = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
        return Answer(status: answer.status, body: try #require(json))
    }
}

/// The admin API over real nodes and a real Redis: any node answers for all, and names who is silent.
@Suite(.timeLimit(.minutes(5))) struct ClusterAPITests {
    private func start(
        _ name: String, _ redis: [RedisServer], _ change: (inout NodeConfiguration) -> Void = { _ in }
    ) async throws -> TestNode {
        var configuration = TestNode.configuration(name: name)
        if !redis.isEmpty {
            try configuration.joinCluster(redisURL: redis.map(\.url).joined(separator: ","))
        }
        configuration.admin.isEnabled = true
        configuration.admin.port = 0
        configuration.hub.rooms.namespaces["log"] = {
            var policy = RoomPolicy()
            policy.mode = .ordered
            return policy
        }()
        change(&configuration)
        let node = try await TestNode.start(configuration) { handshake in
            guard let token = handshake.token else { return .anonymous }
            return Identity(user: UserID(token.value), mayBroadcastToEverybody: true, mayPublishWithoutJoining: true)
        }
        try await eventually("\(name) is ready") { node.node.readiness == "ready" }
        return node
    }

    private func sees(_ count: Int, _ node: TestNode) async throws {
        try await eventually("all nodes are seen") {
            try await Answer.of(node.node.adminPort, "GET", "nodes").list("nodes").count == count
        }
    }

    @Test func anyNodeTellsOfTheRoomsClientsAndUsersOfAll() async throws {
        let redis = try await RedisServer.start()
        let first = try await start("first", [redis]), second = try await start("second", [redis])
        try await sees(2, first)
        var sockets: [TestWebSocket] = []
        // User u0 is on both nodes; big has six members on two nodes, small one.
        for number in 0..<6 {
            let socket = try await (number % 2 == 0 ? first : second).connect(token: "u\(number / 2)")
            _ = try await socket.request("join_room", #"{"room":"Big"}"#)
            sockets.append(socket)
        }
        _ = try await sockets[1].request("join_room", #"{"room":"a:small"}"#)
        _ = try await sockets[0].request("join_room", #"{"room":"log:x","presence":true}"#)
        for number in 1...3 {
            _ = try await sockets[0].request("broadcast", #"{"room":"log:x","type":"n","payload":\#(number)}"#)
        }
        for node in [first, second] {
            let port = node.node.adminPort
            try await eventually("rosters agree") {
                try await Answer.of(port, "GET", "rooms?sort=members").texts("rooms", "room") == [
                    "Big", "a:small", "log:x",
                ]
            }
            let rooms = try await Answer.of(port, "GET", "rooms")
            #expect(rooms.texts("rooms", "room") == ["Big", "a:small", "log:x"])
            #expect(rooms.list("rooms").map { ($0["members"] as? Int) ?? 0 } == [6, 1, 1])
            #expect(rooms.list("rooms").map { ($0["nodes"] as? Int) ?? 0 } == [2, 1, 1])
            #expect(rooms.texts("rooms", "mode") == ["fast", "fast", "ordered"])
            #expect(rooms.unreachable == [])
            #expect(try await Answer.of(port, "GET", "rooms?search=SMA").texts("rooms", "room") == ["a:small"])
            #expect(try await Answer.of(port, "GET", "rooms?namespace=").texts("rooms", "room") == ["Big"])
            #expect(try await Answer.of(port, "GET", "rooms?namespace=log").texts("rooms", "room") == ["log:x"])
            for sort in ["name", "members"] {
                var (names, cursor, pages) = ([String](), "", 0)
                repeat {
                    let page = try await Answer.of(port, "GET", "rooms?limit=1&sort=\(sort)\(cursor)")
                    names += page.texts("rooms", "room")
                    cursor = (page.body["cursor"] as? String).map { "&cursor=\($0)" } ?? ""
                    pages += 1
                } while !cursor.isEmpty && pages < 10
                #expect(names == ["Big", "a:small", "log:x"], "\(sort)")
            }
            let big = try await Answer.of(port, "GET", "rooms/Big")
            #expect(big.int("members") == 6)
            #expect(big.int("users") == 3)
            #expect(big.texts("nodes", "node_id") == ["first", "second"])
            let log = try await Answer.of(port, "GET", "rooms/log%3Ax")
            #expect(log.int("offset") == 3)
            let newest = try await Answer.of(port, "GET", "rooms/log%3Ax/history?limit=2")
            #expect(newest.list("messages").map { ($0["offset"] as? Int) ?? 0 } == [2, 3])
            #expect(newest.body["epoch"] as? String == log.body["epoch"] as? String)
            let behind = try await Answer.of(port, "GET", "rooms/log%3Ax/history?offset=2")
            #expect(behind.list("messages").map { ($0["offset"] as? Int) ?? 0 } == [3])
            #expect(try await Answer.of(port, "GET", "rooms/Big/history").status == 400)
            #expect(try await Answer.of(port, "GET", "rooms/nobody").int("members") == 0)

            let clients = try await Answer.of(port, "GET", "clients")
            let ids = clients.texts("clients", "client_id")
            #expect(ids.count == 6 && ids == ids.sorted())
            #expect(clients.texts("clients", "remote_address") == Array(repeating: "127.0.0.1", count: 6))
            let own = try await Answer.of(port, "GET", "clients?node=second&user=u0")
            #expect(own.list("clients").count == 1)
            #expect(own.list("clients").first?["rooms"] as? [String] == ["Big", "a:small"])
            #expect(try await Answer.of(port, "GET", "clients?room=a:small").list("clients").count == 1)
            // An id is drawn, and has "u2" in it now and then.
            let found = try await Answer.of(port, "GET", "clients?search=U2").list("clients")
            #expect(found.count { $0["user_id"] as? String == "u2" } == 2)
            let others = found.filter { $0["user_id"] as? String != "u2" }
            #expect(others.allSatisfy { ($0["client_id"] as? String)?.contains("u2") ?? false }, "\(others)")
            #expect(try await Answer.of(port, "GET", "users/u1").list("clients").count == 2)
            for id in ids {
                let one = try await Answer.of(port, "GET", "clients/\(id)")
                #expect(one.body["client_id"] as? String == id)
            }
            #expect(try await Answer.of(port, "GET", "clients/first.aaaa").status == 404)
            #expect(try await Answer.of(port, "GET", "clients/nobody.aaaa").status == 404)
            #expect(try await Answer.of(port, "GET", "clients?node=nobody").list("clients").isEmpty)
        }
        for node in [first, second] { await node.node.shutdown() }
    }

    @Test func kickAndDisconnectCountOverAllNodes() async throws {
        let redis = try await RedisServer.start()
        let first = try await start("first", [redis]), second = try await start("second", [redis])
        try await sees(2, first)
        let observer = try await first.connect(token: "eve")
        _ = try await observer.request("join_room", #"{"room":"r","presence":true}"#)
        var sockets: [TestWebSocket] = []
        for number in 0..<5 {
            let socket = try await (number % 2 == 0 ? first : second).connect(token: "bob")
            for room in ["r", "s", "log:r"] { _ = try await socket.request("join_room", #"{"room":"\#(room)"}"#) }
            sockets.append(socket)
        }
        let ids = try await sockets.asyncMap { try #require(try await $0.request("status").string("client_id")) }
        let last = try #require(ids.last)
        // Who comes and goes between two diffs is in neither.
        _ = try await observer.nextEvent("a diff with the last one") {
            $0.type == "presence_diff" && "\($0.data)".contains(last)
        }
        let port = first.node.adminPort
        let one = try await Answer.of(port, "POST", "rooms/r/kick", #"{"client":"\#(ids[1])"}"#)
        #expect(one.int("kicked") == 1 && one.unreachable == [])
        #expect(try await sockets[1].next(type: "room_left").string("room") == "r")
        #expect(try await Answer.of(port, "POST", "rooms/r/kick", #"{"client":"\#(ids[1])"}"#).int("kicked") == 0)
        #expect(try await Answer.of(port, "POST", "rooms/r/kick", #"{"user":"bob"}"#).int("kicked") == 4)
        #expect(try await Answer.of(port, "POST", "rooms/log%3Ar/kick", #"{"user":"bob"}"#).int("kicked") == 5)
        try await eventually("the roster has the observer alone") {
            try await Answer.of(port, "GET", "rooms/r/presence").int("count") == 1
        }
        // Their connections stay, in the other room.
        for socket in sockets { #expect(try await socket.request("ping").type == "pong") }
        #expect(try await Answer.of(port, "GET", "rooms/s").int("members") == 5)
        let diff = try await observer.nextEvent("a diff that says who left") { event in
            event.type == "presence_diff" && "\(event.data)".contains("reason")
        }
        #expect("\(diff.data)".contains(ids[1]) || "\(diff.data)".contains("bob"))

        let single = try await Answer.of(port, "POST", "disconnect", #"{"client":"\#(ids[1])"}"#)
        #expect(single.int("disconnected") == 1)
        #expect(try await sockets[1].waitForCloseCode() == 3503)
        let all = try await Answer.of(second.node.adminPort, "POST", "disconnect", #"{"user":"bob"}"#)
        #expect(all.int("disconnected") == 4 && all.unreachable == [])
        for (number, socket) in sockets.enumerated() where number != 1 {
            #expect(try await socket.waitForCloseCode() == 3503)
        }
        #expect(try await Answer.of(port, "POST", "disconnect", #"{"user":"bob"}"#).int("disconnected") == 0)
        for node in [first, second] { await node.node.shutdown() }
    }

    @Test func silentNodesAreNamedInBoundedTime() async throws {
        let redis = try await RedisServer.start()
        // Longer than the test: a lost node isn't awaited.
        let lease = ["CONDUIT_CLUSTER_LEASE": "60s"]
        let first = try await NodeProcess.start("first", redis: redis.url, lease)
        let second = try await NodeProcess.start("second", redis: redis.url, lease)
        let third = try await NodeProcess.start("third", redis: redis.url, lease)
        let here = try await TestWebSocket.connect(port: first.port)
        let there = try await TestWebSocket.connect(port: second.port)
        for socket in [here, there] { _ = try await socket.request("join_room", #"{"room":"r"}"#) }
        let lost = try #require(try await there.request("status").string("client_id"))
        try await eventually("all are seen") {
            let room = try await Answer.of(first.adminPort, "GET", "rooms/r")
            return room.int("members") == 2 && room.unreachable == []
        }
        second.signal(SIGSTOP)
        for path in ["rooms", "rooms?sort=members", "rooms/r", "clients", "users/u"] {
            let answer = try await Answer.of(first.adminPort, "GET", path)
            #expect(answer.status == 200)
            #expect(answer.unreachable == ["second"], "\(path)")
        }
        let room = try await Answer.of(first.adminPort, "GET", "rooms/r")
        #expect(room.int("members") == 1)
        #expect(room.texts("nodes", "node_id") == ["first"])
        // Whether the client is there can't be told; a node that answers is not held up by one that doesn't.
        #expect(try await Answer.of(first.adminPort, "GET", "clients/\(lost)").status == 503)
        let own = try await Answer.of(third.adminPort, "GET", "clients?node=first")
        #expect(own.list("clients").count == 1 && own.unreachable == [])
        let kick = try await Answer.of(third.adminPort, "POST", "rooms/r/kick", #"{"client":"\#(lost)"}"#)
        #expect(kick.int("kicked") == 0 && kick.unreachable == ["second"])
        second.signal(SIGCONT)
        try await eventually("it answers again") {
            try await Answer.of(first.adminPort, "GET", "rooms/r").unreachable == []
        }
    }

    @Test func withoutRedisANodeTellsOfItself() async throws {
        let redis = try await RedisServer.start()
        let first = try await start("first", [redis]), second = try await start("second", [redis])
        try await sees(2, first)
        let socket = try await first.connect(token: "bob")
        let other = try await second.connect(token: "bob")
        for socket in [socket, other] { _ = try await socket.request("join_room", #"{"room":"r"}"#) }
        try await redis.kill()
        try await eventually("degraded") { first.node.readiness == "degraded" }
        let room = try await Answer.of(first.node.adminPort, "GET", "rooms/r")
        #expect(room.int("members") == 1 && room.unreachable == ["redis"])
        #expect(try await Answer.of(first.node.adminPort, "GET", "rooms/log%3Ax").unreachable == ["redis"])
        #expect(try await Answer.of(first.node.adminPort, "GET", "rooms/log%3Ax/history").status == 503)
        let gone = try await Answer.of(first.node.adminPort, "POST", "disconnect", #"{"user":"bob"}"#)
        #expect(gone.int("disconnected") == 1 && gone.unreachable == ["redis"])
        #expect(try await socket.waitForCloseCode() == 3503)
        #expect(try await other.request("ping").type == "pong")
        for node in [first, second] { await node.node.shutdown() }
    }

    /// A Redis that hangs takes connections and says nothing. Here its links, and a node for the others, would wait for longer
    /// than this test's own sockets do; a request does not.
    @Test func everyRequestEndsInItsTimeWhileRedisHangs() async throws {
        let redis = try await RedisServer.start()
        let limit = Duration.seconds(2)
        let change: @Sendable (inout NodeConfiguration) -> Void = { configuration in
            configuration.admin.timeLimit = limit
            configuration.cluster.redis?.connectTimeout = .minutes(10)
            configuration.cluster.redis?.commandTimeout = .minutes(10)
            configuration.cluster.surveyMilliseconds = 600_000
            // Nobody is lost meanwhile.
            configuration.cluster.leaseMilliseconds = 60_000
        }
        let first = try await start("first", [redis], change), second = try await start("second", [redis], change)
        try await sees(2, first)
        let port = first.node.adminPort
        try await eventually("both answer") { try await Answer.of(port, "GET", "rooms").unreachable == [] }
        redis.pause()
        let json = #"{"user":"u"}"#
        let requests: [(method: String, path: String, body: String?, status: Int, missing: [String])] = [
            ("GET", "cluster", nil, 200, ["redis"]), ("GET", "nodes", nil, 200, ["redis"]),
            ("GET", "nodes/second", nil, 503, []), ("GET", "series", nil, 200, ["redis"]),
            ("GET", "events", nil, 200, ["redis"]), ("GET", "rooms", nil, 200, ["second"]),
            ("GET", "rooms?sort=members", nil, 200, ["second"]), ("GET", "rooms/r", nil, 200, ["second"]),
            ("GET", "rooms/log%3Ax", nil, 200, ["second", "redis"]), ("GET", "rooms/r/presence", nil, 503, []),
            ("GET", "rooms/log%3Ax/history", nil, 503, []), ("GET", "rooms/log%3Ax/history?offset=1", nil, 503, []),
            ("GET", "clients", nil, 200, ["second"]), ("GET", "clients?node=second", nil, 200, ["second"]),
            ("GET", "clients/second.aaaa", nil, 503, []), ("GET", "users/u", nil, 200, ["second"]),
            ("POST", "publish", #"{"room":"r","type":"t"}"#, 200, []), ("POST", "broadcast", #"{"type":"t"}"#, 200, []),
            ("POST", "send", #"{"user":"u","type":"t"}"#, 200, []), ("POST", "disconnect", json, 200, ["second"]),
            ("POST", "rooms/r/kick", json, 200, ["second"]), ("POST", "revoke", json, 200, ["redis"]),
            ("POST", "nodes/second/drain", "{}", 503, []), ("POST", "rebalance", "{}", 503, []),
        ]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for request in requests {
                group.addTask {
                    let answer = try await Answer.of(port, request.method, request.path, request.body)
                    #expect(answer.status == request.status, "\(request.path): \(answer.body)")
                    if request.status == 200 {
                        #expect(answer.unreachable == request.missing, "\(request.path)")
                    } else {
                        #expect("\(answer.body)".contains("unavailable"), "\(request.path): \(answer.body)")
                    }
                }
            }
            try await group.waitForAll()
        }
        redis.resume()
        try await eventually("the others answer again", within: .seconds(20)) {
            try await Answer.of(port, "GET", "rooms").unreachable == []
        }
        for node in [first, second] { await node.node.shutdown() }
    }

    @Test func aNodeAloneAnswersForItself() async throws {
        let node = try await start("alone", [])
        let socket = try await node.connect(token: "ann")
        _ = try await socket.request("join_room", #"{"room":"r"}"#)
        let port = node.node.adminPort
        let rooms = try await Answer.of(port, "GET", "rooms?sort=members")
        #expect(rooms.texts("rooms", "room") == ["r"] && rooms.unreachable == [])
        #expect(try await Answer.of(port, "GET", "users/ann").list("clients").count == 1)
        #expect(try await Answer.of(port, "POST", "rooms/r/kick", #"{"user":"ann"}"#).int("kicked") == 1)
        #expect(try await Answer.of(port, "POST", "disconnect", #"{"user":"ann"}"#).int("disconnected") == 1)
        await node.node.shutdown()
    }

    @Test func severalServersAnswerAsOne() async throws {
        let servers = [try await RedisServer.start(), try await RedisServer.start()]
        let first = try await start("first", servers), second = try await start("second", servers)
        try await sees(2, first)
        let here = try await first.connect(token: "bob"), there = try await second.connect(token: "bob")
        let names = (0..<8).map { "room-\($0)" }
        for name in names {
            for socket in [here, there] { _ = try await socket.request("join_room", #"{"room":"\#(name)"}"#) }
        }
        try await eventually("all rooms with both members, in order") {
            let page = try await Answer.of(second.node.adminPort, "GET", "rooms?sort=members")
            return page.texts("rooms", "room") == names
                && page.list("rooms").allSatisfy { $0["members"] as? Int == 2 && $0["nodes"] as? Int == 2 }
        }
        #expect(
            try await Answer.of(first.node.adminPort, "POST", "disconnect", #"{"user":"bob"}"#).int("disconnected") == 2
        )
        for node in [first, second] { await node.node.shutdown() }
    }
}

extension Sequence {
    fileprivate func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
