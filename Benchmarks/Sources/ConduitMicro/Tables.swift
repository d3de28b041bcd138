import ConduitCore

/// The tables of one shard and one node.
func measureTables(_ harness: inout Harness) {
    let names = (0..<100).compactMap { RoomName("room-\($0)") }
    var rooms = RoomTable(roomsPerClient: 128, membersPerRoom: 100_000)
    for client in Int32(0)..<10_000 {
        _ = rooms.join(names[Int(client) % names.count], client: client, observes: false, now: 0)
    }
    // A client more, in and out of rooms of a hundred members.
    harness.measure("join a room and leave it") { count in
        for i in 0..<count {
            let room = names[i % names.count]
            keep(rooms.join(room, client: 10_000, observes: false, now: 0))
            keep(rooms.leave(room, client: 10_000))
        }
    }
    harness.measure("walk a room's 100 members") { count in
        for i in 0..<count {
            var sum: Int32 = 0
            for entry in rooms.members(of: names[i % names.count]) { sum &+= entry.client }
            keep(sum)
        }
    }
    measurePresence(&harness, names[0])
}

private func measurePresence(_ harness: inout Harness, _ room: RoomName) {
    guard let own = NodeID("node-a"), let other = NodeID("node-b") else { return }
    var generator = SystemRandomNumberGenerator()
    let members = (0..<1_000).map { index in
        Member(
            client: ClientID(node: other, using: &generator), user: UserID("user-\(index % 500)"), node: other,
            joinedAt: Int64(index))
    }
    var presence = PresenceTable(own: own)
    // A room is followed from its first member here on.
    let local = Member(client: ClientID(node: own, using: &generator), user: nil, node: own, joinedAt: 0)
    keep(presence.addLocal(local, to: room))
    presence.awaitSnapshot(of: room)
    keep(presence.replaceSnapshot(of: room, with: members))
    guard let member = members.first else { return }
    harness.measure("merge news that are known already") { count in
        for i in 0..<count { keep(presence.merge(.joined(members[i % members.count]), into: room)) }
    }
    harness.measure("merge a member's leaving and joining") { count in
        for _ in 0..<count {
            keep(presence.merge(.left(member.client, .left), into: room))
            keep(presence.merge(.joined(member), into: room))
        }
    }
    harness.measure("merge a snapshot of 1,000 members") { count in
        for _ in 0..<count {
            presence.awaitSnapshot(of: room)
            keep(presence.replaceSnapshot(of: room, with: members))
        }
    }
}
