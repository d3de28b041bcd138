import Conduit
import ConduitTelemetry
import ConduitTesting
import NIOCore
import Testing

/// Tokens that are good no more: on every node, at once and as long as they could be shown.
@Suite(.timeLimit(.minutes(5))) struct RevocationTests {
    private func start(_ name: String, _ redis: RedisServer, _ tokens: Tokens, admin: Bool = false) async throws
        -> TestNode
    {
        var configuration = try TestNode.configuration(redis: redis.url, name: name)
        configuration.admin.isEnabled = admin
        configuration.admin.port = 0
        let node = try await TestNode.start(configuration, hooks: tokens.hooks, authenticate: tokens.authenticate)
        try await eventually("\(name) is ready") { node.node.readiness == "ready" }
        return node
    }

    private func isRefused(_ node: TestNode, _ token: String) async throws -> Bool {
        do {
            try await node.connect(token: token).drop()
            return false
        } catch let answer as TestHTTPResponse {
            #expect(answer.status == 401)
            return true
        }
    }

    @Test func holdsOnEveryNodeAtOnceAndOnThoseThatStartLater() async throws {
        let redis = try await RedisServer.start()
        let tokens = Tokens()
        let now = WallClock.milliseconds
        tokens["ann"] = .token("ann", issuedAt: now - 1_000, id: "a")
        tokens["ann2"] = .token("ann", issuedAt: now - 1_000, id: "a2")
        tokens["bob"] = .token("bob", issuedAt: now - 1_000, id: "b")
        let first = try await start("first", redis, tokens), second = try await start("second", redis, tokens)
        var anns: [TestWebSocket] = []
        for node in [first, second] {
            anns.append(try await node.connect(token: "ann"))
            anns.append(try await node.connect(token: "ann2"))
        }
        let bob = try await second.connect(token: "bob")
        #expect(await first.node.revoke(UserID(literal: "ann")))
        for ann in anns { #expect(try await ann.waitForCloseCode() == 3500) }
        #expect(try await bob.request("ping").type == "pong")
        for node in [first, second] { #expect(try await isRefused(node, "ann")) }
        // A token that is issued later is good.
        tokens["new"] = .token("ann", issuedAt: WallClock.milliseconds + 1, id: "a3")
        let back = try await second.connect(token: "new")
        #expect(try await back.request("ping").type == "pong")
        // An old one can't be brought in by a refresh either.
        #expect(try await back.request("refresh", #"{"token":"ann"}"#).string("code") == "permission_denied")

        // By the token's id, said by the other node.
        #expect(await second.node.revoke(tokenID: "b"))
        #expect(try await bob.waitForCloseCode() == 3500)
        try await eventually("the first node knows of it") { try await isRefused(first, "bob") }
        // A node that starts later knows both.
        let third = try await start("third", redis, tokens)
        try await eventually("the third node knows") { await third.hub.statistics().revocations == 2 }
        for token in ["ann", "ann2", "bob"] { #expect(try await isRefused(third, token)) }
        #expect(try await !isRefused(third, "new"))
        // Redis forgets them by itself.
        let time = try await redis.redisCLI("PTTL", "conduit:revoked")
        #expect((2_590_000_000...2_592_700_000).contains(Int(time) ?? 0), "\(time)")
        for node in [first, second, third] { await node.node.shutdown() }
    }

    @Test func holdsHereWhileRedisIsAwayAndEverywhereAfterwards() async throws {
        let redis = try await RedisServer.start()
        let tokens = Tokens()
        tokens["ann"] = .token("ann", id: "a")
        tokens["bob"] = .token("bob", id: "b")
        let proxy = try await TCPProxy.start(to: redis.port)
        var configuration = try TestNode.configuration(redis: "redis://127.0.0.1:\(proxy.port)", name: "cut")
        configuration.admin.isEnabled = false
        let cut = try await TestNode.start(configuration, hooks: tokens.hooks, authenticate: tokens.authenticate)
        let other = try await start("other", redis, tokens)
        try await eventually("the node is ready") { cut.node.readiness == "ready" }
        let here = try await cut.connect(token: "ann"), there = try await other.connect(token: "ann")
        try await proxy.set(.refusesNew)
        try await proxy.reset()
        try await eventually("the node is cut off") { cut.node.readiness == "degraded" }
        // Said on the one that is cut off.
        #expect(await !cut.node.revoke(UserID(literal: "ann")))
        #expect(try await here.waitForCloseCode() == 3500)
        #expect(try await isRefused(cut, "ann"))
        #expect(try await there.request("ping").type == "pong")
        // Said on the other one meanwhile.
        let bob = try await cut.connect(token: "bob")
        #expect(await other.node.revoke(tokenID: "b"))
        #expect(try await bob.request("ping").type == "pong")
        try await proxy.set(.pass)
        #expect(try await there.waitForCloseCode() == 3500)
        #expect(try await bob.waitForCloseCode() == 3500)
        #expect(try await isRefused(cut, "bob"))
        #expect(try await isRefused(other, "ann"))
        // A Redis that has lost everything is told again.
        _ = try await redis.redisCLI("FLUSHALL")
        try await eventually("Redis knows both again") {
            try await redis.redisCLI("ZCARD", "conduit:revoked").contains("2")
        }
        for node in [cut, other] { await node.node.shutdown() }
    }

    @Test func aNodeAloneHoldsToItByItself() async throws {
        let tokens = Tokens()
        tokens["ann"] = .token("ann")
        tokens["bob"] = .token("bob", id: "b")
        try await TestNode.with(authenticate: tokens.authenticate) { node in
            let (ann, bob) = (try await node.connect(token: "ann"), try await node.connect(token: "bob"))
            #expect(await node.node.revoke(UserID(literal: "ann")))
            #expect(await node.node.revoke(tokenID: "b", lastExpiry: WallClock.milliseconds + 60_000))
            #expect(await !node.node.revoke(tokenID: ""))
            for socket in [ann, bob] { #expect(try await socket.waitForCloseCode() == 3500) }
            for token in ["ann", "bob"] { #expect(try await isRefused(node, token)) }
            let figures = await node.hub.statistics()
            #expect(figures.revocations == 2 && figures.revocationsDropped == 0)
            try await eventually("both are counted") { await node.hub.statistics().closed[3500] == 2 }
        }
    }

    @Test func theCommandAsksTheAdminPort() async throws {
        let redis = try await RedisServer.start()
        let tokens = Tokens()
        tokens["ann"] = .token("ann")
        tokens["bob"] = .token("bob", id: #"b"1"#)
        let node = try await start("admin", redis, tokens, admin: true)
        let port = try #require(node.node.adminPort)
        let (ann, bob) = (try await node.connect(token: "ann"), try await node.connect(token: "bob"))
        let admin = "http://127.0.0.1:\(port)"
        let outcome = try await Program.run("revoke", "--admin", admin, "--user", "ann")
        #expect(outcome.status == 0 && outcome.output.hasPrefix("{\"ok\":true,\"expires_at\":\"2"), "\(outcome)")
        #expect(outcome.output.hasSuffix("Z\",\"unreachable\":[]}\n"), "\(outcome)")
        #expect(try await ann.waitForCloseCode() == 3500)
        let later = "\(WallClock.milliseconds / 1_000 + 60)"
        let token = try await Program.run(
            "revoke", "--admin", admin, "--token-id", #"b"1"#, "--expires-at", later)
        #expect(token.status == 0, "\(token)")
        #expect(try await bob.waitForCloseCode() == 3500)
        #expect(try await Program.run("revoke", "--admin", admin).status == 64)
        let past = try await Program.run("revoke", "--admin", admin, "--user", "ann", "--expires-at", "1")
        #expect(past.status == 69 && past.output.contains("expires_at"), "\(past)")
        await node.node.shutdown()
    }
}
