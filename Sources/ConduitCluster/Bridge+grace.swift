import ConduitCore

// Members whose connections broke and who keep their place for a while (`rooms.<namespace>.presence-grace`).
//
// The place ends when its time is over, or at once when the same user is in the room with another connection, on
// whichever node: the old one leaves with the new one's coming, so nobody sees the user go. The node stays interested
// in the room meanwhile, in the name of a shard that there isn't, or it wouldn't hear of that.
extension Bridge {
    private static let shard = InterestTable.maximumShards - 1

    /// Whether a member who is gone keeps its place; nothing else is done about its leaving then.
    func keepsPlace(of client: ClientID, in room: RoomName, _ reason: LeaveReason, shard: Int) -> Bool {
        guard reason == .disconnected, !isLeaving else { return false }
        let policy = configuration.rooms[room]
        guard policy.presenceGraceMilliseconds > 0, presencePolicy(of: room) != .off,
            let member = presence.member(client, in: room),
            grace.keep(member, in: room, for: policy.presenceGraceMilliseconds, now: now)
        else { return false }
        interest.joined(.room(room), shard: Self.shard)
        interest.left(.room(room), shard: shard, now: now)
        return true
    }

    /// A connection of the user has come: the places of those that broke are not needed any more.
    func giveUpPlaces(of user: UserID, in room: RoomName) {
        for client in grace.takeBack(user, in: room) { endPlace(of: client, in: room) }
    }

    /// Ends what has lasted long enough.
    func endPlaces(now: Int64) {
        for place in grace.expire(now: now) { endPlace(of: place.client, in: place.room) }
    }

    private func endPlace(of client: ClientID, in room: RoomName) {
        localLeft(client, room, .disconnected)
        interest.left(.room(room), shard: Self.shard, now: now)
        if interest.state(of: .room(room)) == nil {
            answerAwaited(room)
            forget(room)
        }
    }
}
