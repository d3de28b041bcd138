import ConduitCore
import ConduitTesting
import Testing

@Suite struct RoomTableTests {
    private func room(_ name: String) throws -> RoomName { try #require(RoomName(name)) }

    @Test func lastLeaveEndsTheRoom() throws {
        var table = RoomTable(roomsPerClient: 4, membersPerRoom: 10)
        let lobby = try room("lobby")
        #expect(table.join(lobby, client: 0, observes: false, now: 5) == .joined)
        #expect(table.join(lobby, client: 0, observes: false, now: 6) == .alreadyMember)
        #expect(table.createdAt(lobby) == 5)
        let left = table.leave(lobby, client: 0)
        let leftAgain = table.leave(lobby, client: 0)
        #expect(left && !leftAgain)
        #expect(!table.exists(lobby))
        #expect(table.roomCount == 0)
    }

    @Test func keptRoomOutlivesItsMembersUntilCleanup() throws {
        var table = RoomTable(roomsPerClient: 4, membersPerRoom: 10)
        let lobby = try room("lobby")
        table.keep(lobby, now: 1)
        _ = table.join(lobby, client: 3, observes: false, now: 2)
        #expect(table.removeEmptyRooms() == 0)
        _ = table.leave(lobby, client: 3)
        #expect(table.exists(lobby))
        #expect(table.removeEmptyRooms() == 1)
        #expect(!table.exists(lobby))
    }

    @Test func deleteTakesEveryMemberOut() throws {
        var table = RoomTable(roomsPerClient: 4, membersPerRoom: 10)
        let lobby = try room("lobby")
        let other = try room("other")
        for client: Int32 in 0..<5 {
            _ = table.join(lobby, client: client, observes: client % 2 == 0, now: 0)
            _ = table.join(other, client: client, observes: false, now: 0)
        }
        let out = table.delete(lobby).sorted()
        #expect(out == [0, 1, 2, 3, 4])
        #expect(table.roomNames(of: 2) == [other])
        #expect(table.members(of: other).count == 5)
        #expect(table.membershipCount == 5)
    }

    @Test func boundsAreHeld() throws {
        var table = RoomTable(roomsPerClient: 2, membersPerRoom: 1)
        let (a, b, c) = (try room("a"), try room("b"), try room("c"))
        #expect(table.join(a, client: 0, observes: false, now: 0) == .joined)
        #expect(table.join(a, client: 1, observes: false, now: 0) == .roomFull)
        #expect(table.join(b, client: 0, observes: false, now: 0) == .joined)
        #expect(table.join(c, client: 0, observes: false, now: 0) == .tooManyRooms)
        #expect(!table.exists(c))
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func agreesWithDictionariesOverARandomWalk(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var table = RoomTable(roomsPerClient: 6, membersPerRoom: 9)
        var model: [RoomName: [Int32: Bool]] = [:]
        let names = try (0..<12).map { try room("room \($0)") }
        for step in 0..<4_000 {
            let name = names[Int.random(in: 0..<names.count, using: &generator)]
            let client = Int32.random(in: 0..<14, using: &generator)
            let observes = Bool.random(using: &generator)
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                let mine = model.values.count(where: { $0[client] != nil })
                let expected: RoomTable.JoinResult =
                    if model[name]?[client] != nil { .alreadyMember } else if mine >= 6 {
                        .tooManyRooms
                    } else if (model[name]?.count ?? 0) >= 9 { .roomFull } else { .joined }
                #expect(
                    table.join(name, client: client, observes: observes, now: 0) == expected, "seed \(seed) \(step)")
                if expected == .joined || expected == .alreadyMember { model[name, default: [:]][client] = observes }
            case 5..<8:
                let was = model[name]?.removeValue(forKey: client) != nil
                #expect(table.leave(name, client: client) == was, "seed \(seed) step \(step)")
            case 8:
                let left = Set(table.removeClient(client))
                #expect(left == Set(model.filter { $0.value[client] != nil }.keys), "seed \(seed) step \(step)")
                for key in model.keys { model[key]?[client] = nil }
            default:
                let out = Set(table.delete(name))
                #expect(out == Set((model.removeValue(forKey: name) ?? [:]).keys), "seed \(seed) step \(step)")
            }
            model = model.filter { !$0.value.isEmpty }
            #expect(Set(table.roomNames) == Set(model.keys), "seed \(seed) step \(step)")
            #expect(table.membershipCount == model.values.reduce(0) { $0 + $1.count })
            for (room, members) in model {
                let found = table.members(of: room)
                #expect(Set(found.map(\.client)) == Set(members.keys), "seed \(seed) step \(step)")
                #expect(found.allSatisfy { members[$0.client] == $0.observes }, "seed \(seed) step \(step)")
                #expect(table.hasObservers(room) == members.values.contains(true), "seed \(seed) step \(step)")
            }
        }
    }
}

@Suite struct RoomMembersTests {
    @Test func aNamespaceMayHaveSmallerRooms() {
        var few = RoomPolicy()
        few.members = 1
        var table = RoomTable(
            roomsPerClient: 9, membersPerRoom: 2, policies: RoomPolicies(namespaces: ["few": few], rest: RoomPolicy()))
        let (small, usual) = (RoomName(literal: "few:1"), RoomName(literal: "r"))
        let joins = (0..<3).map { client in
            [small, usual].map { table.join($0, client: client, observes: client == 0, now: 0) }
        }
        #expect(joins == [[.joined, .joined], [.roomFull, .joined], [.roomFull, .roomFull]])
        #expect(table.observes(0, in: small) && !table.observes(1, in: usual) && !table.observes(1, in: small))
    }
}
