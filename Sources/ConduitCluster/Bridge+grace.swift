import ConduitCore
import ConduitTelemetry
import Logging

// Members whose connections broke and who keep their place for a while (`rooms.<namespace>.presence-grace`).
//
// The place ends when its time is over, or at once when the same user is in the room with another connection, on
// whichever node: the old one leaves with the new one's coming, so nobody sees the user go. The node stays interested
// in the room meanwhile, in the name of a shard that there isn't, or it wouldn't hear of that.
extension Bridge {
    private static let shard = InterestTable.maximumShards - 1
    /// Members among whom a user's other connections are looked for.
    private static let searchedMembers = 4_096

    /// Whether a member who is gone keeps its place; nothing else is done about its leaving then.
    func keepsPlace(of client: ClientID, in room: RoomName, _ reason: LeaveReason, shard: Int) -> Bool {
        let time = configuration.rooms[room].presenceGraceMilliseconds
        guard reason == .disconnected, time > 0 else { return false }
        return keepsPlace(of: client, in: room, for: time, shard: shard)
    }

    /// The same for one that was told to come back on another node, where the room needs no grace period for that. Who is
    /// nobody in particular can't be known again, and a node alone has no other one.
    func keepsPlace(ofSentAway client: ClientID, in room: RoomName, shard: Int) -> Bool {
        var time = configuration.rooms[room].presenceGraceMilliseconds
        if phase != .alone, presence.member(client, in: room)?.user != nil {
            time = max(time, configuration.handOverMilliseconds)
        }
        return time > 0 && keepsPlace(of: client, in: room, for: time, sentAway: true, shard: shard)
    }

    private func keepsPlace(
        of client: ClientID, in room: RoomName, for time: Int64, sentAway: Bool = false, shard: Int
    ) -> Bool {
        guard !isLeaving, presencePolicy(of: room) != .off, let member = presence.member(client, in: room),
            !isElsewhere(member, room)
        else { return false }
        guard grace.keep(member, in: room, for: time, sentAway: sentAway, now: now) else {
            if grace.isFull(sentAway: sentAway) {
                limitedLog.log(
                    .warning, "no more places can be kept; members leave at once",
                    [LogKey.count: "\(grace.count)"])
            }
            return false
        }
        interest.joined(.room(room), shard: Self.shard)
        interest.left(.room(room), shard: shard, now: now)
        return true
    }

    /// Whether the user is in the room on another node already, so that nobody misses this connection. In a large room who has
    /// several connections isn't looked for among all members; the place ends by its time then.
    private func isElsewhere(_ member: Member, _ room: RoomName) -> Bool {
        guard let user = member.user, presence.connections(of: user, in: room) > 1,
            presence.count(of: room) <= Self.searchedMembers
        else { return false }
        return presence.members(of: room).contains { $0.user == user && $0.client.node != node }
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
