import Conduit
import ConduitTesting
import Foundation
import Testing

/// Two whole nodes on a Redis of every shape, each under exactly the rights that Docs/redis.md gives.
@Suite(.timeLimit(.minutes(5))) struct RedisShapeTests {
    enum Shape: String, CaseIterable, Sendable { case single, several, sentinel, cluster, clientCertificate }

    /// A Redis, and what a node must be told to reach it.
    private struct Stage {
        var servers: [RedisServer] = []
        var settings: [String: String] = [:]
        /// What keeps the processes alive.
        var owner: AnyObject?
    }

    /// The line of the documentation that makes a user; all of a word are in it.
    private func rights(_ user: String, with word: String, without other: String) throws -> String {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Docs/redis.md")
        let lines = try String(contentsOf: page, encoding: .utf8).split(separator: "\n")
        let start = "ACL SETUSER "
        let found = lines.filter { $0.hasPrefix(start + user + " ") && $0.contains(word) && !$0.contains(other) }
        #expect(found.count == 1, "\(found)")
        return String(try #require(found.first).dropFirst(start.count))
    }

    private func stage(_ shape: Shape) async throws -> Stage {
        var stage = Stage()
        switch shape {
        case .single, .several, .clientCertificate:
            let line = try rights("conduit", with: " +subscribe", without: "+role")
            var options = RedisServer.Options(users: [line])
            if shape == .clientCertificate {
                options.tls = true
                options.asksForCertificates = true
            }
            for _ in 0..<(shape == .several ? 2 : 1) { stage.servers.append(try await RedisServer.start(options)) }
            stage.settings["CONDUIT_REDIS_URL"] = stage.servers.map(\.url).joined(separator: ",")
            if let certificates = stage.servers[0].certificates {
                stage.settings["CONDUIT_REDIS_TLS_CA_FILE"] = certificates.caFile
                stage.settings["CONDUIT_REDIS_TLS_CERTIFICATE_FILE"] = certificates.certificateFile
                stage.settings["CONDUIT_REDIS_TLS_KEY_FILE"] = certificates.keyFile
            }
        case .sentinel:
            let redis = try await RedisSentinel.start(
                users: [try rights("conduit", with: "+role", without: "+ssubscribe")],
                sentinelUsers: [try rights("conduit-watch", with: "+sentinel|master", without: "+role")])
            stage.servers = redis.servers + redis.sentinels
            stage.owner = redis
            stage.settings["CONDUIT_REDIS_URL"] = redis.url
            stage.settings["CONDUIT_REDIS_SENTINEL_USERNAME"] = "conduit-watch"
            stage.settings["CONDUIT_REDIS_SENTINEL_PASSWORD"] = "secret"
        case .cluster:
            let line = try rights("conduit", with: "+ssubscribe", without: "+role")
            let redis = try await RedisCluster.start(options: RedisServer.Options(users: [line]))
            stage.servers = redis.masters.map(\.server)
            stage.owner = redis
            stage.settings["CONDUIT_REDIS_URL"] = redis.url
        }
        stage.settings["CONDUIT_REDIS_USERNAME"] = "conduit"
        stage.settings["CONDUIT_REDIS_PASSWORD"] = "secret"
        return stage
    }

    private func node(_ id: String, _ settings: [String: String]) async throws -> ConduitNode {
        let own = [
            "CONDUIT_NODE_ID": id, "CONDUIT_HTTP_PORT": "0", "CONDUIT_ADMIN_ENABLED": "false",
            "CONDUIT_NODE_EVENT_LOOPS": "1", "CONDUIT_LOG_LEVEL": "error", "CONDUIT_ROOMS_CHAT_MODE": "ordered",
        ]
        let configuration = try NodeConfiguration.load(environment: own.merging(settings) { own, _ in own })
        let node = try await ConduitNode.start(configuration: configuration) { handshake in
            guard let user = handshake.token.flatMap({ UserID($0.value) }) else { return nil }
            return Identity(user: user)
        }
        try await eventually("\(id) is ready") { node.readiness == "ready" }
        return node
    }

    @Test(arguments: Shape.allCases) func everythingWorksUnderTheLeastRights(shape: Shape) async throws {
        let stage = try await stage(shape)
        let first = try await node("first", stage.settings), second = try await node("second", stage.settings)
        let ann = try await TestWebSocket.connect(port: first.httpPort, path: "/ws?token=ann")
        let bob = try await TestWebSocket.connect(port: second.httpPort, path: "/ws?token=bob")
        for number in 0..<6 {
            let place = #"{"room":"hall-\#(number)"}"#
            for socket in [ann, bob] {
                #expect(try await socket.request("join_room", place).type == "room_joined")
            }
            try await eventually("both are in the roster") {
                try await bob.request("presence", place).int("count") == 2
            }
            try await ann.send(
                #"{"type":"broadcast","data":{"room":"hall-\#(number)","type":"fast","payload":{"n":\#(number)}}}"#)
            #expect(try await bob.next(type: "fast").int("n") == number)
        }
        // An ordered room: stored, read, resumed.
        let joined = try await bob.request("join_room", #"{"room":"chat:a"}"#)
        #expect(joined.type == "room_joined", "\(joined)")
        _ = try await ann.request("join_room", #"{"room":"chat:a"}"#)
        for number in 1...3 {
            let ack = try await ann.request(
                "broadcast", #"{"room":"chat:a","type":"kept","payload":{"n":\#(number)},"key":"k\#(number)"}"#)
            #expect(ack.type == "ack" && ack.int("offset") == number, "\(ack)")
            #expect(try await bob.next(type: "kept").int("n") == number)
        }
        #expect(try await bob.request("history", #"{"room":"chat:a"}"#).type == "history")
        try await eventually("the user is heard of") {
            try await ann.request("send", #"{"user":"bob","type":"note","payload":1}"#).int("delivered_to") == 1
        }
        #expect(await first.revoke(tokenID: "stolen"))
        let table = try await Program.run("cluster", environment: stage.settings)
        #expect(table.status == 0 && table.output.contains("first") && table.output.contains("second"), "\(table)")
        let audit = try await Program.run("audit", environment: stage.settings)
        #expect(audit.status == 0 && audit.output.contains("second"), "\(audit)")
        let top = try await Program.run("top", environment: stage.settings)
        #expect(top.status == 0 && top.output.contains("2 nodes  2 ready"), "\(top)")
        let events = try await Program.run("tail", "--count", "1", environment: stage.settings)
        #expect(events.status == 0 && events.output.contains("first"), "\(events)")
        let log = try await Program.run(
            "tail", "--room", "chat:a", "-n", "2", "--count", "2", environment: stage.settings)
        #expect(log.status == 0 && log.output.contains("\"offset\":3"), "\(log)")
        await second.shutdown()
        try await eventually("the second node is gone") {
            try await ann.request("presence", #"{"room":"hall-0"}"#).int("count") == 1
        }
        await first.shutdown()
        // Nothing was refused, not even what nobody would have missed.
        for server in stage.servers { #expect(try await server.redisCLI("ACL", "LOG") == "") }
        withExtendedLifetime(stage) {}
    }

    @Test func withoutItsCertificateANodeIsRefused() async throws {
        var settings = try await stage(.clientCertificate)
        settings.settings["CONDUIT_REDIS_TLS_CERTIFICATE_FILE"] = nil
        settings.settings["CONDUIT_REDIS_TLS_KEY_FILE"] = nil
        let outcome = try await Program.run("cluster", environment: settings.settings)
        #expect(outcome.status == 69)
        #expect(outcome.output.contains("certificate") || outcome.output.lowercased().contains("tls"), "\(outcome)")
        #expect(!outcome.output.contains("secret"))
    }
}
