import Conduit
import ConduitTesting
import NIOCore
import Testing

/// Users with several connections on several nodes, with an authentication handler as a program that embeds nodes has it.
@Suite(.timeLimit(.minutes(5)))
struct UsersAcrossNodesTests {
    private func node(_ id: String, _ redis: RedisServer) async throws -> ConduitNode {
        let configuration = try NodeConfiguration.load(environment: [
            "CONDUIT_NODE_ID": id, "CONDUIT_HTTP_PORT": "0", "CONDUIT_ADMIN_ENABLED": "false",
            "CONDUIT_REDIS_URL": redis.url, "CONDUIT_NODE_EVENT_LOOPS": "2", "CONDUIT_LOG_LEVEL": "error",
            "CONDUIT_DRAIN_WAIT": "0s", "CONDUIT_DRAIN_PRESENCE_GRACE": "0s",
        ])
        let node = try await ConduitNode.start(configuration: configuration) { handshake in
            guard let user = handshake.token.flatMap({ UserID($0.value) }) else { return nil }
            return Identity(user: user, mayPublishWithoutJoining: true)
        }
        try await eventually("\(id) is ready") { node.readiness == "ready" }
        return node
    }

    private func connect(_ node: ConduitNode, as user: String) async throws -> TestWebSocket {
        try await TestWebSocket.connect(port: node.httpPort, path: "/ws?token=\(user)")
    }

    @Test func sendReachesEveryConnectionOfAUserAndCountsThem() async throws {
        let redis = try await RedisServer.start()
        let first = try await node("first", redis)
        let second = try await node("second", redis)
        let sender = try await connect(first, as: "ann")
        let bob = [
            try await connect(first, as: "bob"), try await connect(first, as: "bob"),
            try await connect(second, as: "bob"), try await connect(second, as: "bob"),
            try await connect(second, as: "bob"),
        ]
        let other = try await connect(second, as: "eve")
        for socket in bob { #expect(try await socket.request("status").string("user_id") == "bob") }
        try await eventually("both nodes listen for the user") {
            try await redis.redisCLI("PUBSUB", "NUMSUB", "conduit:user:{bob}").hasSuffix("\n2")
        }
        let ack = try await sender.request("send", #"{"user":"bob","type":"note","payload":{"n":1}}"#)
        #expect(ack.type == "ack")
        #expect(ack.int("delivered_to") == 5)
        for socket in bob {
            let note = try await socket.next(type: "note")
            #expect(note.int("n") == 1)
            #expect(note.room == nil)
        }
        // From a node that holds none of a user's connections.
        let back = try await bob[4].request("send", #"{"user":"ann","type":"note","payload":{"n":2}}"#)
        #expect(back.int("delivered_to") == 1)
        #expect(try await sender.next(type: "note").int("n") == 2)
        // To oneself, on both nodes; nobody got anything twice.
        let own = try await bob[0].request("send", #"{"user":"bob","type":"own","payload":null}"#)
        #expect(own.int("delivered_to") == 5)
        for socket in bob {
            _ = try await socket.next(type: "own")
            _ = try await socket.request("echo", "1")
            #expect(socket.waitingMessages.isEmpty)
        }
        _ = try await other.request("echo", "1")
        #expect(other.waitingMessages.isEmpty)
        // A user without connections, and rosters that count people.
        #expect(try await sender.request("send", #"{"user":"nobody","type":"n"}"#).int("delivered_to") == 0)
        for socket in bob + [sender] { _ = try await socket.request("join_room", #"{"room":"hall"}"#) }
        try await eventually("six members, two users") {
            let roster = try await sender.request("presence", #"{"room":"hall"}"#)
            return roster.int("count") == 6 && roster.int("users") == 2
        }
        // What an identity doesn't grant.
        #expect(try await sender.request("broadcast", #"{"type":"n"}"#).string("code") == "permission_denied")
        await #expect(throws: TestHTTPResponse.self) { try await TestWebSocket.connect(port: first.httpPort) }
        await first.shutdown()
        await second.shutdown()
        for socket in bob + [sender, other] { #expect(try await socket.waitForCloseCode() == 3001) }
    }
}
