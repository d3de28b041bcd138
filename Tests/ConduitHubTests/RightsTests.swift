import ConduitCore
import ConduitTelemetry
import ConduitWire
import NIOCore
import NIOEmbedded
import Testing

@testable import ConduitHub

/// Rights, the end of a token and revocations, by the embedded loops' own time.
@Suite struct RightsTests {
    private func advance(_ harness: ShardHarness, milliseconds: Int64) {
        for _ in 0..<(milliseconds / 100) {
            for loop in harness.loops { loop.advanceTime(by: .milliseconds(100)) }
        }
        harness.turn()
    }

    private func identity(_ user: String, _ rights: RoomRights?) -> Identity {
        Identity(user: UserID(user), rights: rights)
    }

    @Test func aRoomThatTakesTheNumberOfAnotherOneHasRightsOfItsOwn() throws {
        let harness = try ShardHarness()
        let rights = RoomRights([.init("a", .all), .init("b", .join)])
        let client = try harness.connect(identity: identity("ann", rights))
        try client.send(#"{"type":"join_room","data":{"room":"a"}}"#)
        try client.send(#"{"type":"broadcast","id":1,"data":{"room":"a","type":"x"}}"#)
        #expect(try client.events().map(\.type) == ["room_joined", "x", "ack"])
        // The room "a" is forgotten, and "b" gets its number.
        try client.send(#"{"type":"leave_room","data":{"room":"a"}}"#)
        try client.send(#"{"type":"join_room","data":{"room":"b"}}"#)
        _ = try client.events()
        try client.send(#"{"type":"broadcast","id":2,"data":{"room":"b","type":"x"}}"#)
        #expect(try client.events().map(\.code) == ["permission_denied"])
    }

    @Test func afterItsEndATokenIsGoodForListeningOnlyAndNotForLong() throws {
        var configuration = HubConfiguration()
        configuration.refreshGraceMilliseconds = 10_000
        let harness = try ShardHarness(configuration: configuration)
        var ann = identity("ann", .all)
        ann.expiresAt = WallClock.milliseconds + 5_000
        let (client, other) = (try harness.connect(identity: ann), try harness.connect())
        for peer in [client, other] { try peer.send(#"{"type":"join_room","data":{"room":"a"}}"#) }
        try client.send(#"{"type":"broadcast","id":1,"data":{"room":"a","type":"x"}}"#)
        #expect(try client.events().map(\.type) == ["room_joined", "x", "ack"])
        advance(harness, milliseconds: 5_500)
        let requests = [
            #"{"type":"broadcast","data":{"room":"a","type":"x"}}"#, #"{"type":"broadcast","data":{"type":"x"}}"#,
            #"{"type":"join_room","data":{"room":"b"}}"#, #"{"type":"send","data":{"user":"u","type":"x"}}"#,
            #"{"type":"presence","data":{"room":"a"}}"#, #"{"type":"history","data":{"room":"a"}}"#,
            #"{"type":"dance"}"#,
        ]
        for request in requests {
            try client.send(request)
            #expect(try client.events().map(\.code) == ["token_expired"], "\(request)")
        }
        for request in ["ping", "echo", "status"] {
            try client.send("{\"type\":\"\(request)\"}")
            #expect(try client.events().count == 1)
        }
        try other.send(#"{"type":"broadcast","data":{"room":"a","type":"heard"}}"#)
        #expect(try client.events().map(\.type) == ["heard"])
        advance(harness, milliseconds: 7_000)
        #expect(try client.closeCode == nil)
        advance(harness, milliseconds: 4_000)
        #expect(try client.closeCode == 3005)
        #expect(try other.closeCode == nil)
    }

    /// As at the handshake: clocks are apart afterwards too.
    @Test func aTokenIsTakenUntilItsEndAndTheLeeway() throws {
        let harness = try ShardHarness()
        var ann = identity("ann", nil)
        ann.expiresAt = WallClock.milliseconds - 5_000
        ann.leeway = 10_000
        let client = try harness.connect(identity: ann)
        try client.send(#"{"type":"join_room","data":{"room":"a"}}"#)
        #expect(try client.events().map(\.type) == ["room_joined"])
        advance(harness, milliseconds: 6_000)
        try client.send(#"{"type":"join_room","data":{"room":"b"}}"#)
        #expect(try client.events().map(\.code) == ["token_expired"])
    }

    /// The issuer's clock may be ahead by the leeway: a token of before the revocation looks newer.
    @Test func aRevocationReachesOverTheLeeway() throws {
        let harness = try ShardHarness()
        func connect(issuedAt: Int64) throws -> TestClient {
            var ann = identity("ann", nil)
            (ann.issuedAt, ann.leeway) = (issuedAt, 10_000)
            return try harness.connect(identity: ann)
        }
        let now = WallClock.milliseconds
        let old = try connect(issuedAt: now + 10_000), new = try connect(issuedAt: now + 10_001)
        let revocation = Revocation(.user(UserID(literal: "ann")), revokedAt: now, expiresAt: now + 60_000)
        harness.shards[0].revocations.add([revocation])
        for kind in [revocation, nil] { harness.shards[0].perform([.revoked(kind)]) }
        harness.turn()
        #expect(try old.closeCode == 3500)
        #expect(try new.closeCode == nil)
        #expect(try connect(issuedAt: now + 10_000).closeCode == 3500)
    }

    @Test func aRevocationLastsAsLongAsTheTokensThatItCloses() throws {
        let harness = try ShardHarness()
        let now = WallClock.milliseconds
        var ann = identity("ann", nil)
        (ann.issuedAt, ann.expiresAt) = (now - 1_000, now + 9_000_000)
        let client = try harness.connect(identity: ann)
        let revocation = Revocation(.user(UserID(literal: "ann")), revokedAt: now, expiresAt: now + 60_000)
        let revocations = harness.shards[0].revocations
        revocations.add([revocation])
        harness.shards[0].perform([.revoked(revocation)])
        harness.turn()
        #expect(try client.closeCode == 3500)
        let longer = Revocation(revocation.target, revokedAt: now, expiresAt: now + 9_000_000 + Revocation.margin)
        #expect(revocations.takeLengthened() == [longer] && revocations.all == [longer])
        #expect(revocations.takeLengthened().isEmpty)
        // Without an end of its own, it is remembered anew.
        var bob = identity("bob", nil)
        bob.tokenID = "b"
        revocations.add([Revocation(.token("b"), revokedAt: now, expiresAt: now + 60_000)])
        #expect(revocations.isRevoked(bob))
        let end = revocations.takeLengthened().first?.expiresAt ?? 0
        #expect(end >= now + HubConfiguration().revocationAgeMilliseconds)
        #expect(revocations.isRevoked(bob) && revocations.takeLengthened().isEmpty)
    }

    @Test(arguments: [Int64.min, -1, 0]) func anEndInThePastIsOneWhateverTheNumber(expiresAt: Int64) throws {
        let harness = try ShardHarness()
        var ann = identity("ann", nil)
        ann.expiresAt = expiresAt
        let client = try harness.connect(identity: ann)
        try client.send(#"{"type":"join_room","data":{"room":"b"}}"#)
        #expect(try client.events().map(\.code) == ["token_expired"])
        advance(harness, milliseconds: 1_500)
        #expect(try client.closeCode == 3005)
    }

    @Test func anEndFarAwayIsNone() throws {
        let harness = try ShardHarness()
        var ann = identity("ann", nil)
        ann.expiresAt = .max
        let client = try harness.connect(identity: ann)
        advance(harness, milliseconds: 20_000)
        try client.send(#"{"type":"join_room","data":{"room":"b"}}"#)
        #expect(try client.events().last?.type == "room_joined")
    }

    @Test func theServerJoinsBeforeAnythingThatTheClientSends() throws {
        var configuration = HubConfiguration()
        configuration.roomsPerClient = 3
        configuration.membersPerRoom = 1
        let harness = try ShardHarness(configuration: configuration)
        _ = try harness.connect(identity: identity("bob", .all))
        let holder = try harness.connect()
        try holder.send(#"{"type":"join_room","data":{"room":"full"}}"#)
        var ann = identity("ann", RoomRights.none)
        ann.rooms = ["one", "full", "one", "two", "three", "four"].compactMap { RoomName($0) }
        let channel = EmbeddedChannel(loop: harness.loops[0])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        let early = TestClient.frame(0x81, Array(#"{"type":"status"}"#.utf8))
        try harness.shards[0].admit(channel, identity: ann, leftover: early)
        harness.turn()
        let client = TestClient(channel: channel, harness: harness)
        let events = try client.events()
        #expect(events.map(\.type) == ["room_joined", "error", "room_joined", "error", "status"])
        #expect(events.map(\.code) == ["", "limit_exceeded", "", "limit_exceeded", ""])
        #expect(events.last?.data["rooms"] as? [String] == ["one", "two"])
        // Where the server puts it, it may come back to; to others not.
        try client.send(#"{"type":"leave_room","data":{"room":"two"}}"#)
        try client.send(#"{"type":"join_room","data":{"room":"two"}}"#)
        try client.send(#"{"type":"join_room","data":{"room":"else"}}"#)
        #expect(try client.events().map(\.type) == ["room_left", "room_joined", "error"])
    }

    @Test func aRevocationEndsTheConnectionsThatItConcerns() throws {
        let harness = try ShardHarness()
        func connect(_ user: String, issuedAt: Int64? = nil, tokenID: String? = nil) throws -> TestClient {
            var identity = identity(user, nil)
            (identity.issuedAt, identity.tokenID) = (issuedAt, tokenID)
            return try harness.connect(identity: identity)
        }
        let old = try connect("ann", issuedAt: 1_000), new = try connect("ann", issuedAt: 1_001)
        let silent = try connect("ann"), other = try connect("bob", issuedAt: 1_000)
        let (token, rest) = (try connect("bob", tokenID: "t1"), try connect("bob", tokenID: "t2"))
        let shard = harness.shards[0]
        let far: Int64 = WallClock.milliseconds + 1_000_000
        shard.perform([.revoked(Revocation(.user(UserID(literal: "ann")), revokedAt: 1_000, expiresAt: far))])
        shard.perform([.revoked(Revocation(.token("t1"), revokedAt: 0, expiresAt: far))])
        harness.turn()
        for client in [old, silent, token] { #expect(try client.closeCode == 3500) }
        for client in [new, other, rest] { #expect(try client.closeCode == nil) }
        // What was read from elsewhere is looked for among all.
        shard.revocations.add([Revocation(.token("t2"), revokedAt: 0, expiresAt: far)])
        shard.perform([.revoked(nil)])
        harness.turn()
        #expect(try rest.closeCode == 3500)
        #expect(try new.closeCode == nil)
        // Whose handshake was under way.
        #expect(try connect("bob", tokenID: "t2").closeCode == 3500)
    }

    @Test func withoutATokenNothingIsKeptForAClient() throws {
        let harness = try ShardHarness()
        _ = try harness.connect()
        _ = try harness.connect(identity: Identity(user: UserID("ann")))
        #expect(harness.shards[0].clients.clients.allSatisfy { $0?.grants == nil })
    }

    /// Hooks that never answer, and can't be stopped.
    @Test func whoNeverAnswersIsNotWaitedForForever() throws {
        @Sendable func never() async { await unsafe withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }
        var hooks = HubHooks()
        hooks.refresh = { _, current in
            await never()
            return current
        }
        hooks.authorize = { _ in
            await never()
            return true
        }
        let harness = try ShardHarness(hooks: hooks)
        var ann = identity("ann", nil)
        ann.rooms = [RoomName(literal: "own")]
        let client = try harness.connect(identity: ann)
        try client.send(#"{"type":"refresh","id":1,"data":{"token":"x"}}"#)
        try client.send(#"{"type":"broadcast","id":2,"data":{"room":"own","type":"x"}}"#)
        try client.send(#"{"type":"ping","id":3}"#)
        #expect(try client.events().map(\.type) == ["room_joined"])
        advance(harness, milliseconds: 9_000)
        #expect(try client.events().isEmpty)
        advance(harness, milliseconds: 2_000)
        let events = try client.events()
        #expect(Set(events.map(\.code)) == ["unavailable", ""])
        #expect(events.map(\.type).sorted() == ["error", "error", "pong"])
        #expect(harness.shards[0].questions.isEmpty)
        // One that goes away while it waits leaves nothing.
        try client.send(#"{"type":"join_room","id":4,"data":{"room":"b"}}"#)
        #expect(harness.shards[0].questions.count == 1)
        try client.channel.close().wait()
        harness.turn()
        #expect(harness.shards[0].questions.isEmpty)
    }
}
