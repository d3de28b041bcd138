import ConduitCore
import ConduitTesting
import Testing

@Suite struct PresenceTableTests {
    let own: NodeID
    let other: NodeID
    let room: RoomName

    init() throws {
        own = try #require(NodeID("own"))
        other = try #require(NodeID("other"))
        room = try #require(RoomName("r"))
    }

    private func member(_ id: String, user: String? = nil, at time: Int64 = 1) throws -> Member {
        let client = try #require(ClientID(id))
        return Member(
            client: client, user: user.flatMap { UserID($0) }, node: try #require(client.node), joinedAt: time)
    }

    @Test func mergingTwiceChangesNothing() throws {
        var table = PresenceTable(own: own)
        let mine = try member("own.a", user: "u"), theirs = try member("other.b", user: "u")
        check(table.addLocal(mine, to: room) == .joined(mine))
        check(table.addLocal(mine, to: room) == nil)
        check(table.merge(.joined(theirs), into: room) == [.joined(theirs)])
        check(table.merge(.joined(theirs), into: room).isEmpty)
        #expect(table.count(of: room) == 2)
        #expect(table.users(of: room) == 1)
        check(table.merge(.left(theirs.client, .left), into: room) == [.left(theirs, .left)])
        check(table.merge(.left(theirs.client, .left), into: room).isEmpty)
        #expect(table.users(of: room) == 1)
        check(table.removeLocal(mine.client, from: room, reason: .disconnected) == .left(mine, .disconnected))
        #expect(table.users(of: room) == 0)
        #expect(table.memberCount == 0)
    }

    @Test func othersCannotSpeakForThisNode() throws {
        var table = PresenceTable(own: own)
        let mine = try member("own.a")
        _ = table.addLocal(mine, to: room)
        check(table.merge(.left(mine.client, .left), into: room).isEmpty)
        check(table.merge(.joined(try member("own.x")), into: room).isEmpty)
        check(table.merge(.nodeGone(own), into: room).isEmpty)
        check(table.removeNode(own).isEmpty)
        let forged = Member(client: try #require(ClientID("third.a")), user: nil, node: other, joinedAt: 1)
        check(table.merge(.joined(forged), into: room).isEmpty, "a client id names its node")
        #expect(table.count(of: room) == 1)
    }

    @Test func aSnapshotCannotBringBackWhoLeftMeanwhile() throws {
        var table = PresenceTable(own: own)
        _ = table.addLocal(try member("own.a"), to: room)
        let x = try member("other.x"), y = try member("other.y")
        table.awaitSnapshot(of: room)
        check(table.merge(.left(x.client, .disconnected), into: room).isEmpty)
        check(table.merge(.joined(y), into: room).isEmpty)
        #expect(!table.isComplete(room))
        let result = table.replaceSnapshot(of: room, with: [x])
        check(result.found == [.joined(x)], "it was there before the room was followed")
        check(result.changes == [.left(x, .disconnected), .joined(y)])
        #expect(table.member(x.client, in: room) == nil)
        #expect(table.member(y.client, in: room) != nil)
        #expect(table.isComplete(room))
    }

    @Test func aNodeThatDiesWhileASnapshotIsReadStaysDead() throws {
        var table = PresenceTable(own: own)
        _ = table.addLocal(try member("own.a"), to: room)
        table.awaitSnapshot(of: room)
        check(table.removeNode(other).isEmpty)
        _ = table.replaceSnapshot(of: room, with: [try member("other.x"), try member("third.z")])
        #expect(table.count(of: room, on: other) == 0)
        #expect(table.count(of: room) == 2)
    }

    @Test func aSnapshotTellsWhatWasMissed() throws {
        var table = PresenceTable(own: own)
        let mine = try member("own.a"), gone = try member("other.gone"), new = try member("other.new")
        _ = table.addLocal(mine, to: room)
        table.awaitSnapshot(of: room)
        check(table.merge(.joined(gone), into: room).isEmpty)
        check(table.replaceSnapshot(of: room, with: [gone]).changes == [.joined(gone)], "it came just now")
        table.connectionLost()
        table.awaitSnapshot(of: room)
        let ghost = try member("own.ghost")
        let result = table.replaceSnapshot(of: room, with: [ghost, new])
        check(Set(result.changes) == [.joined(new), .left(gone, .left)])
        #expect(result.stale == [ghost.client])
        #expect(table.member(mine.client, in: room) == mine, "our own members win over the snapshot")
    }

    @Test func tooManyNewsMeanReadingAgain() throws {
        var table = PresenceTable(own: own, bufferLimit: 3)
        _ = table.addLocal(try member("own.a"), to: room)
        table.awaitSnapshot(of: room)
        for number in 0..<4 { _ = table.merge(.joined(try member("other.n\(number)")), into: room) }
        check(table.replaceSnapshot(of: room, with: []).mustReadAgain)
        _ = table.merge(.joined(try member("other.late")), into: room)
        let again = table.replaceSnapshot(of: room, with: [try member("other.n1")])
        #expect(!again.mustReadAgain)
        #expect(again.changes.count == 1 && again.found.count == 1)
    }

    @Test func aSnapshotThatFailsLosesNoNews() throws {
        var table = PresenceTable(own: own)
        _ = table.addLocal(try member("own.a"), to: room)
        table.awaitSnapshot(of: room)
        let x = try member("other.x")
        _ = table.merge(.joined(x), into: room)
        check(table.snapshotFailed(of: room) == [.joined(x)])
        #expect(!table.isComplete(room))
    }

    @Test(arguments: [31, 32, 33] as [UInt64])
    func pagesTogetherAreTheSortedRoster(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var table = PresenceTable(own: own)
        var ids: Set<String> = []
        for _ in 0..<Int.random(in: 0..<400, using: &random) {
            let client = ClientID(node: own, using: &random)
            ids.insert(client.rawValue)
            _ = table.addLocal(Member(client: client, user: nil, node: own, joinedAt: 0), to: room)
        }
        var paged: [String] = []
        var cursor: String?
        let limit = Int.random(in: 1...50, using: &random)
        while true {
            let page = table.page(of: room, after: cursor, limit: limit)
            paged += page.members.map(\.client.rawValue)
            cursor = page.members.last?.client.rawValue ?? cursor
            #expect(page.members.count <= limit)
            if !page.more { break }
        }
        #expect(paged == ids.sorted(), "seed \(seed)")
    }

    /// The model is a plain set of members a room; counts and users are computed from it at every step.
    @Test(arguments: [41, 42, 43, 44, 45, 46] as [UInt64])
    func randomWalkAgreesWithSets(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var table = PresenceTable(own: own)
        let rooms = try (0..<3).map { try #require(RoomName("r\($0)")) }
        let nodes = try ["own", "n1", "n2", "n3"].map { try #require(NodeID($0)) }
        var model: [RoomName: [ClientID: Member]] = [:]
        // What an observer believes who sees nothing but the changes.
        var observed: [RoomName: Set<Member>] = [:]
        func observe(_ changes: [PresenceTable.Change], _ room: RoomName) {
            for change in changes {
                switch change {
                case .joined(let member):
                    check(observed[room, default: []].insert(member).inserted, "seed \(seed): joined twice")
                case .changed(let member, let old):
                    check(observed[room]?.remove(old) != nil, "seed \(seed): changed without having joined")
                    observed[room]?.insert(member)
                case .left(let member, _):
                    check(observed[room]?.remove(member) != nil, "seed \(seed): left without having joined")
                }
            }
        }
        for room in rooms {
            let anchor = try member("own.anchor")
            model[room, default: [:]][anchor.client] = anchor
            observe(table.addLocal(anchor, to: room).map { [$0] } ?? [], room)
        }
        for step in 0..<3_000 {
            let room = rooms[Int.random(in: 0..<3, using: &random)]
            let node = nodes[Int.random(in: 0..<4, using: &random)]
            let client = try #require(ClientID("\(node).c\(Int.random(in: 0..<6, using: &random))"))
            let user = UserID("u\(Int.random(in: 0..<4, using: &random))")
            let new = Member(
                client: client, user: Bool.random(using: &random) ? user : nil, node: node,
                joinedAt: Int64.random(in: 0..<3, using: &random))
            switch Int.random(in: 0..<10, using: &random) {
            case 0...4:
                model[room]?[client] = new
                if node == own {
                    observe(table.addLocal(new, to: room).map { [$0] } ?? [], room)
                } else {
                    observe(table.merge(.joined(new), into: room), room)
                }
            case 5...7:
                model[room]?[client] = nil
                if node == own {
                    observe(table.removeLocal(client, from: room, reason: .left).map { [$0] } ?? [], room)
                } else {
                    observe(table.merge(.left(client, .left), into: room), room)
                }
            case 8:
                guard node != own else { continue }
                for room in rooms { model[room] = model[room]?.filter { $0.value.node != node } }
                for (room, changes) in table.removeNode(node) { observe(changes, room) }
            default:
                // A snapshot, read at a moment at which Redis knew as much as the model, then news in between.
                table.awaitSnapshot(of: room)
                let snapshot = Array((model[room] ?? [:]).values)
                if let gone = model[room]?.values.first(where: { $0.node != own }) {
                    model[room]?[gone.client] = nil
                    observe(table.merge(.left(gone.client, .left), into: room), room)
                }
                let result = table.replaceSnapshot(of: room, with: snapshot)
                #expect(result.stale.isEmpty)
                observe(result.found + result.changes, room)
            }
            for room in rooms {
                let members = model[room] ?? [:]
                #expect(table.count(of: room) == members.count, "seed \(seed) step \(step)")
                #expect(table.users(of: room) == Set(members.values.compactMap(\.user)).count, "seed \(seed) \(step)")
                #expect(Set(table.members(of: room)) == Set(members.values), "seed \(seed) step \(step)")
                #expect(observed[room] ?? [] == Set(members.values), "seed \(seed) step \(step)")
                for node in nodes {
                    #expect(table.count(of: room, on: node) == members.values.count { $0.node == node })
                    let digest = PresenceDigest(members.values.filter { $0.node == node })
                    #expect(table.digest(of: room, on: node) == digest, "seed \(seed) step \(step)")
                }
            }
            #expect(table.memberCount == model.values.reduce(0) { $0 + $1.count })
        }
    }
}
