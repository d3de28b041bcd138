import ConduitTesting
import ConduitWire
import Foundation
import NIOCore
import Testing

@testable import Conduit

/// A drain that something else comes in the way of.
@Suite(.timeLimit(.minutes(5))) struct DrainFaultTests {
    /// What its publisher has sent when it sees the close frame isn't lost, though nobody can acknowledge it.
    @Test func whatComesBehindTheCloseFrameIsPublished() async throws {
        let redis = try await RedisServer.start()
        var club = RoomPolicy()
        club.mode = .ordered
        club.publish = .members
        let rules = club
        let one = try await DrainTests.start("one", redis) { $0.hub.rooms.namespaces["club"] = rules }
        let two = try await DrainTests.start("two", redis) { $0.hub.rooms.namespaces["club"] = rules }
        let rooms = ["log:1", "club:1", "hall"]
        let listener = try await two.connect(token: "listener")
        let publisher = try await one.connect(token: "publisher")
        for room in rooms {
            for client in [listener, publisher] {
                #expect(try await client.request("join_room", #"{"room":"\#(room)"}"#).type == "room_joined")
            }
        }
        let stopped = Task { await one.node.shutdown() }
        #expect(try await publisher.waitForCloseCode() == 3001)
        for number in 0..<10 {
            for room in rooms {
                try await publisher.send(
                    #"{"type":"broadcast","id":"\#(number)","data":{"room":"\#(room)","type":"t","#
                        + #""payload":{"n":\#(number)},"key":"\#(number)"}}"#)
            }
        }
        try await publisher.close()
        var heard: [String: [Int]] = [:]
        for _ in 0..<30 {
            let event = try await listener.next(type: "t")
            heard[event.room ?? "", default: []].append(try #require(event.int("n")))
        }
        for room in rooms { #expect(heard[room] == Array(0..<10)) }
        await stopped.value
        // It doesn't know that, and publishes again.
        let again = try await two.connect(token: "publisher")
        for room in rooms.prefix(2) {
            _ = try await again.request("join_room", #"{"room":"\#(room)"}"#)
            let answer = try await again.request(
                "broadcast", #"{"room":"\#(room)","type":"t","payload":{"n":9},"key":"9"}"#)
            #expect(answer.type == "ack" && answer.data["duplicate"] as? Bool == true, "\(answer)")
        }
        await two.node.shutdown()
    }

    /// The balancer doesn't know better: a client that was sent away comes back to where it was, and is sent away again.
    @Test func whoComesBackToTheNodeThatDrainsIsNotSeenLeaving() async throws {
        let redis = try await RedisServer.start()
        let one = try await DrainTests.start("one", redis) {
            $0.drain.presenceGrace = .seconds(20)
            $0.drain.wait = .seconds(10)
            // A part of it is for the grace.
            $0.shutdownTimeout = .seconds(80)
        }
        let two = try await DrainTests.start("two", redis)
        let watcher = try await two.connect(token: "watcher", subprotocols: ["conduit.v1.json"])
        _ = try await watcher.request("join_room", #"{"room":"hall","presence":true}"#)
        let first = try await one.connect(token: "ann", subprotocols: ["conduit.v1.json"])
        _ = try await first.request("join_room", #"{"room":"hall"}"#)
        func diffs() -> String {
            watcher.waitingMessages.map { "\($0)" }.filter { $0.contains("presence_diff") }.joined()
        }
        try await eventually { diffs().contains("ann") }
        let shed = Task { await one.hub.shed(count: 1, perSecond: 1_000, reason: .rebalance) }
        #expect(try await first.next(type: "reconnect").string("reason") == "rebalance")
        // A node without clients waits for no balancer.
        let bystander = try await one.connect()
        let stopped = Task { await one.node.shutdown() }
        try await eventually { one.node.readiness == "draining" }
        let second = try await one.connect(token: "ann", subprotocols: ["conduit.v1.json"])
        _ = try await second.request("join_room", #"{"room":"hall"}"#)
        #expect(try await second.next(type: "reconnect").string("reason") == "drain")
        let third = try await two.connect(token: "ann")
        _ = try await third.request("join_room", #"{"room":"hall"}"#)
        for client in [first, second, bystander] {
            #expect(try await client.waitForCloseCode() == 3001)
            await client.drop()
        }
        await stopped.value
        _ = await shed.value
        try await eventually { try await watcher.request("presence", #"{"room":"hall"}"#).int("count") == 2 }
        #expect(!diffs().contains("users_left"), "\(diffs())")
        await two.node.shutdown()
    }

    @Test func aDrainWhileRedisIsAwayEndsInOrder() async throws {
        let redis = try await RedisServer.start()
        let node = try await NodeProcess.start(
            "one", redis: redis.url, ["CONDUIT_DRAIN_WAIT": "1s", "CONDUIT_ROOMS_LOG_MODE": "ordered"])
        let client = try await TestWebSocket.connect(port: node.port, subprotocols: ["conduit.v1.json"])
        for room in ["hall", "log:1"] { _ = try await client.request("join_room", #"{"room":"\#(room)"}"#) }
        try await redis.kill()
        try await eventually { try await node.isDegraded() }
        node.signal(SIGTERM)
        try await eventually { try await node.get("/ready").status == 503 }
        let refused = try await client.request("broadcast", #"{"room":"log:1","type":"t","payload":1}"#)
        #expect(refused.string("code") == "unavailable", "\(refused)")
        #expect(try await client.next(type: "reconnect").string("reason") == "drain")
        #expect(try await client.waitForCloseCode() == 3001)
        try await client.close()
        #expect(try await node.exitCode() == 0, "\(node.log)")
    }

    /// Redis is back while the node drains: it says that it drains, not that it is ready.
    @Test func aNodeThatFindsRedisAgainWhileItDrainsStaysDraining() async throws {
        let redis = try await RedisServer.start()
        let node = try await NodeProcess.start(
            "one", redis: redis.url,
            ["CONDUIT_DRAIN_WAIT": "8s", "CONDUIT_SHUTDOWN_TIMEOUT": "20s", "CONDUIT_CLUSTER_HEARTBEAT": "100ms"])
        let client = try await TestWebSocket.connect(port: node.port)
        _ = try await client.request("join_room", #"{"room":"hall"}"#)
        try await redis.kill()
        try await eventually { try await node.isDegraded() }
        node.signal(SIGTERM)
        try await eventually { try await node.get("/ready").status == 503 }
        try await redis.restart()
        try await eventually { try await redis.redisCLI("HGET", "conduit:node:one", "state") == "draining" }
        #expect(try await client.waitForCloseCode() == 3001)
        try await client.close()
        #expect(try await node.exitCode() == 0, "\(node.log)")
        #expect(try await redis.redisCLI("ZCARD", "conduit:nodes") == "0")
        #expect(try await redis.redisCLI("EXISTS", "conduit:node:one", "conduit:members:{hall}") == "0")
    }

    @Test func aReloadDuringADrainChangesNothingOfIt() async throws {
        let node = try await NodeProcess.start("one", ["CONDUIT_DRAIN_WAIT": "10s", "CONDUIT_SHUTDOWN_TIMEOUT": "30s"])
        let client = try await TestWebSocket.connect(port: node.port)
        node.signal(SIGTERM)
        try await eventually { try await node.get("/ready").status == 503 }
        node.signal(SIGHUP)
        try await eventually { node.log.contains("configuration reloaded") }
        #expect(try await node.get("/ready").status == 503)
        #expect(try await client.request("ping").type == "pong")
        #expect(try await client.waitForCloseCode() == 3001)
        node.signal(SIGHUP)
        try await client.close()
        #expect(try await node.exitCode() == 0, "\(node.log)")
        #expect(!node.log.contains("stopped at once"))
    }

    /// A program may reload a node that it has stopped; nobody waits for ever.
    @Test func aReloadBehindTheEndReturns() async throws {
        let one = try await DrainTests.start("one", nil)
        await one.node.shutdown()
        let configuration = one.node.configuration
        _ = try? await one.node.reload(configuration)
        await one.node.shutdown()
    }

    /// A new node takes clients before Redis has answered it: a room is resumed as soon as it has.
    @Test func aRoomIsResumedOnANodeThatIsOnlyJustThere() async throws {
        let redis = try await RedisServer.start()
        let proxy = try await TCPProxy.start(to: redis.port)
        let one = try await DrainTests.start("one", redis)
        let client = try await one.connect(token: "ann")
        let joined = try await client.request("join_room", #"{"room":"log:1"}"#)
        let epoch = try #require(joined.string("epoch")), offset = try #require(joined.int("offset"))
        let publisher = try await one.connect(token: "bob")
        for number in 1...5 {
            _ = try await publisher.request("broadcast", #"{"room":"log:1","type":"t","payload":{"n":\#(number)}}"#)
        }
        await client.drop()
        try await proxy.set(.blackHole)
        var configuration = try TestNode.configuration(redis: "redis://127.0.0.1:\(proxy.port)", name: "two")
        configuration.hub.rooms = one.node.configuration.hub.rooms
        let two = try await TestNode.start(configuration, authenticate: DrainTests.authenticate)
        let again = try await two.connect(token: "ann")
        try await again.send(
            #"{"type":"join_room","id":"r","data":{"room":"log:1","recover":{"epoch":"\#(epoch)","offset":\#(offset)}}}"#
        )
        // What it asks for behind that waits for its turn, so nothing was answered before.
        try await again.send(#"{"type":"ping","id":"p"}"#)
        try await proxy.set(.pass)
        var answer = try await again.next(id: "r")
        // It may have waited for too long, on a busy machine; whoever is told that it can't be done now asks again.
        while answer.string("code") == "unavailable" {
            answer = try await again.request(
                "join_room", #"{"room":"log:1","recover":{"epoch":"\#(epoch)","offset":\#(offset)}}"#)
        }
        #expect(answer.data["recovered"] as? Bool == true, "\(answer)")
        for number in 1...5 { #expect(try await again.next(type: "t").int("n") == number) }
        _ = try await publisher.request("broadcast", #"{"room":"log:1","type":"t","payload":{"n":6}}"#)
        #expect(try await again.next(type: "t").int("n") == 6)
        for node in [one, two] { await node.node.shutdown() }
    }
}
