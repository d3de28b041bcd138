import ConduitCore
import ConduitTesting
import Testing

private func member(_ id: String, user: String? = nil, at time: Int64 = 1, info: String = "") throws -> Member {
    let client = try #require(ClientID(id))
    return Member(
        client: client, user: user.flatMap { UserID($0) }, node: try #require(client.node), joinedAt: time,
        info: Array(info.utf8))
}

@Suite struct PresenceDigestTests {
    @Test func orderDoesNotMatterAndEverythingElseDoes() throws {
        let a = try member("n.a", user: "u", info: "{}"), b = try member("n.b")
        #expect(PresenceDigest([a, b]) == PresenceDigest([b, a]))
        var digest = PresenceDigest([a, b])
        digest.remove(a)
        #expect(digest == PresenceDigest([b]))
        let others = [
            try member("n.c", user: "u", info: "{}"), try member("n.a", info: "{}"),
            try member("n.a", user: "v", info: "{}"), try member("n.a", user: "u", at: 2, info: "{}"),
            try member("n.a", user: "u"), try member("n.au", info: "{}"),
        ]
        for other in others { #expect(PresenceDigest([other]) != PresenceDigest([a])) }
    }

    /// Every node must hash alike, in every version: these numbers are part of the contract.
    @Test func theHashIsFixed() throws {
        let digest = PresenceDigest([try member("n1.abc", user: "u", at: 1_700_000_000_000, info: #"{"n":1}"#)])
        #expect(digest == PresenceDigest(count: 1, hash: 0x5B1B_0800_8E46_9878))
    }
}

@Suite struct PresenceDriftTests {
    @Test func twiceInARowIsDrift() throws {
        let room = RoomName(literal: "r")
        let a = try #require(NodeID("a")), b = try #require(NodeID("b"))
        var drift = PresenceDrift()
        check(!drift.heard(room, from: a, agrees: false))
        check(!drift.heard(room, from: b, agrees: false))
        check(!drift.heard(room, from: a, agrees: true))
        check(!drift.heard(room, from: a, agrees: false))
        check(drift.heard(room, from: b, agrees: false))
        check(!drift.heard(room, from: b, agrees: false), "the repair has its time")
        check(drift.heard(room, from: b, agrees: false))
        drift.forget(room)
        #expect(drift.count == 0)
    }

    @Test(arguments: [0, 1, 5, 1_000, 5_000])
    func eachRoomOnceARound(count: Int) throws {
        let rooms = try (0..<count).map { try #require(RoomName("r\($0)")) }
        var rounds = PresenceRounds(roundMilliseconds: 2_000, limit: 1_000)
        var steps: [[RoomName]] = []
        for step in 0..<Int64(10) {
            steps.append(rounds.step(now: step * 1_000, every: 1_000, rooms: rooms))
        }
        #expect(steps.allSatisfy { $0.count <= 1_000 })
        let round = max(2, (count + 999) / 1_000)
        var seen: [RoomName: Int] = [:]
        for room in steps.prefix(round).joined() { seen[room, default: 0] += 1 }
        #expect(seen.count == count && seen.values.allSatisfy { $0 == 1 })
    }
}

@Suite struct PresenceGraceTests {
    private let room = RoomName(literal: "r")

    @Test func placesEndInTime() throws {
        var grace = PresenceGrace()
        let a = try member("n.a", user: "u"), b = try member("n.b")
        check(grace.keep(a, in: room, for: 1_000, now: 0))
        check(!grace.keep(a, in: room, for: 1_000, now: 0), "it is kept already")
        check(grace.keep(b, in: room, for: 100, now: 10))
        check(!grace.keep(b, in: RoomName(literal: "s"), for: 0, now: 10))
        check(grace.expire(now: 109) == [])
        check(grace.expire(now: 110) == [PresenceGrace.Place(room: room, client: b.client)])
        #expect(grace.keeps(a.client, in: room))
        check(grace.expire(now: 1_000) == [PresenceGrace.Place(room: room, client: a.client)])
        #expect(grace.count == 0)
        check(grace.takeBack(UserID(literal: "u"), in: room) == [])
    }

    @Test func whoIsSentAwayHasMorePlaces() throws {
        var grace = PresenceGrace(limit: 1)
        let members = try (0..<21).map { try member("n.\($0)", user: "u\($0)") }
        check(grace.keep(members[0], in: room, for: 1_000, now: 0))
        check(!grace.keep(members[1], in: room, for: 1_000, now: 0), "too many")
        for member in members[1..<20] { check(grace.keep(member, in: room, for: 1_000, sentAway: true, now: 0)) }
        check(grace.isFull(sentAway: true))
        check(!grace.keep(members[20], in: room, for: 1_000, sentAway: true, now: 0), "too many")
        check(grace.expire(now: 1_000).count == 20)
    }

    @Test func whoComesBackTakesThePlace() throws {
        var grace = PresenceGrace(limit: 2)
        let a = try member("n.a", user: "u"), b = try member("n.b", user: "u"), c = try member("n.c", user: "v")
        check(grace.keep(a, in: room, for: 1_000, now: 0))
        check(grace.keep(b, in: room, for: 1_000, now: 0))
        check(!grace.keep(c, in: room, for: 1_000, now: 0), "too many")
        check(grace.takeBack(UserID(literal: "v"), in: room) == [])
        check(grace.takeBack(UserID(literal: "u"), in: RoomName(literal: "s")) == [])
        check(grace.takeBack(UserID(literal: "u"), in: room) == [a.client, b.client])
        // Kept anew: the first wait is over without it.
        check(grace.keep(a, in: room, for: 1_000, now: 500))
        check(grace.expire(now: 1_000) == [])
        check(grace.expire(now: 1_500).count == 1)
        check(grace.keep(c, in: room, for: .max, now: 1_500))
    }
}
