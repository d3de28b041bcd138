import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTesting
import Foundation
import NIOCore
import Synchronization
import Testing

@testable import ConduitCluster

/// One process a node id.
@Suite(.timeLimit(.minutes(5))) struct IdentityTests {
    private final class Conflicts: Sendable {
        private let found = Mutex<[NodeIDConflict]>([])
        var all: [NodeIDConflict] { found.withLock { $0 } }
        init(_ node: TestNode) { node.bridge.onConflict { [self] conflict in found.withLock { $0.append(conflict) } } }
    }

    private static func node(_ name: String, _ redis: RedisServer, host: String, ownLoop: Bool = false) throws
        -> TestNode
    {
        var configuration = try TestNode.configuration(redis)
        configuration.leaseMilliseconds = TestNode.shortLease
        configuration.host = host
        configuration.address = "0.0.0.0:8080"
        return try TestNode(name, configuration, ownLoop: ownLoop)
    }

    @Test func aLivingNodeIsNotDisturbedByItsDouble() async throws {
        let redis = try await RedisServer.start()
        let first = try Self.node("a", redis, host: "first host"), b = try await TestNode.start("b", redis)
        try await first.connected()
        let lobby = try room("lobby")
        try first.join(lobby, "x")
        try b.join(lobby, "y")
        try await b.waitForRoster(lobby, ["a.x", "b.y"])
        let double = try Self.node("a", redis, host: "second")
        let conflicts = Conflicts(double)
        try await eventually { !conflicts.all.isEmpty }
        #expect(conflicts.all == [NodeIDConflict(node: first.id, host: "first-host", address: "0.0.0.0:8080")])
        #expect(double.bridge.status == .alone, "it has ended")
        await double.bridge.drain(within: .seconds(1))
        // The other one's traces are all there.
        #expect(first.bridge.status == .connected)
        #expect(try await redis.redisCLI("HLEN", "conduit:members:{lobby}") == "2")
        #expect(try await redis.redisCLI("ZSCORE", "conduit:nodes", "a") != "")
        try await b.waitForRoster(lobby, ["a.x", "b.y"])
        first.broadcast(lobby, "{\"n\":1}")
        try await eventually { b.sink.received(.room(lobby)).count == 1 }
    }

    @Test func anEarlierLifeIsWaitedFor() async throws {
        let redis = try await RedisServer.start()
        let first = try Self.node("a", redis, host: "h")
        try await first.connected()
        try await eventually { try await redis.redisCLI("EXISTS", "conduit:holder:a") == "1" }
        await first.bridge.abandon()
        // What is left of its lease at least.
        let crashed = ContinuousClock.now
        let left = try #require(Int(try await redis.redisCLI("PTTL", "conduit:holder:a")))
        let second = try Self.node("a", redis, host: "h")
        let conflicts = Conflicts(second)
        try await second.connected()
        #expect(ContinuousClock.now - crashed >= .milliseconds(left - 1), "its lease is over")
        #expect(conflicts.all.isEmpty)
        // Who leaves in order needn't be waited for.
        await second.bridge.drain(within: .seconds(60))
        #expect(try await redis.redisCLI("EXISTS", "conduit:holder:a") == "0")
        let third = try Self.node("a", redis, host: "h")
        try await third.connected()
    }

    /// Paused for longer than its lease, and somebody has taken its place.
    @Test func aNodeWhoseIdWasTakenEnds() async throws {
        let redis = try await RedisServer.start()
        let first = try Self.node("a", redis, host: "first", ownLoop: true)
        try await first.connected()
        let conflicts = Conflicts(first)
        let wake = DispatchSemaphore(value: 0)
        first.bridge.eventLoop.execute { wake.wait() }
        let second = try Self.node("a", redis, host: "second")
        let others = Conflicts(second)
        do {
            try await second.connected()
        } catch {
            wake.signal()
            throw error
        }
        wake.signal()
        try await eventually { !conflicts.all.isEmpty }
        #expect(conflicts.all.first?.host == "second")
        try await second.connected()
        #expect(others.all.isEmpty)
    }

    /// Its lease ran out while it was paused, and nobody took it.
    @Test func aNodeThatWasPausedGoesOn() async throws {
        let redis = try await RedisServer.start()
        let a = try Self.node("a", redis, host: "h", ownLoop: true)
        try await a.connected()
        let conflicts = Conflicts(a)
        try await redis.redisCLI("DEL", "conduit:holder:a")
        try await eventually { try await redis.redisCLI("EXISTS", "conduit:holder:a") == "1" }
        try await redis.redisCLI("FLUSHALL")
        try await eventually { try await redis.redisCLI("EXISTS", "conduit:holder:a") == "1" }
        try await redis.redisCLI("CLIENT", "KILL", "TYPE", "normal")
        try await eventually { await a.bridge.statistics().reconnects > 0 }
        try await a.connected()
        #expect(conflicts.all.isEmpty)
    }
}

@Suite struct LeaseClaimTests {
    private func holder(_ incarnation: UInt64, _ beats: UInt64) -> LeaseHolder {
        LeaseHolder(incarnation: incarnation, beats: beats, host: "h", address: "a")
    }

    @Test func whoAdvancesIsAlive() {
        var claim = LeaseClaim()
        let looks: [(LeaseHolder?, LeaseClaim.Verdict)] = [
            (holder(1, 5), .wait), (holder(1, 5), .wait),
            // Another one came in between: it may be dead, too.
            (holder(2, 9), .wait), (holder(2, 9), .wait), (holder(2, 10), .taken(holder(2, 10))),
        ]
        for (seen, verdict) in looks {
            let said = claim.looked(seen)
            #expect(said == verdict)
        }
    }

    @Test func whoWasHereMustGoWhenAnotherHasCome() {
        var claim = LeaseClaim()
        var said = claim.looked(nil)
        #expect(said == .ours && claim.isHeld)
        claim.connectionLost()
        #expect(!claim.isHeld)
        said = claim.looked(nil)
        #expect(said == .ours && claim.isHeld)
        said = claim.looked(holder(2, 1))
        #expect(said == .taken(holder(2, 1)) && !claim.isHeld)
    }

    @Test func textIsReadStrictly() {
        let holder = LeaseHolder(incarnation: 1, beats: 2, host: "my host\n", address: "")
        #expect(LeaseHolder(holder.text) == LeaseHolder(incarnation: 1, beats: 2, host: "my-host-", address: ""))
        for text in ["", "1", "1 2 h", "x 2 h a", "1 -2 h a", "1 2 h a b", " 1 2 h a"] {
            #expect(LeaseHolder(text) == nil, "\(text)")
        }
    }
}
