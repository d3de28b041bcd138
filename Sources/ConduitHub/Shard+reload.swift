import ConduitCore
import ConduitWire
import NIOCore

/// Other settings while clients are here.
extension Shard {
    /// Takes over limits, times and policies; the clients of this shard are held to them from here on.
    func reload(_ new: HubConfiguration, authorizes: Set<AuthorizationQuestion.Action>?) {
        let old = configuration
        var next = new
        // What was made of these stays.
        next.compression = old.compression
        next.readBufferBytes = old.readBufferBytes
        next.revocationAgeMilliseconds = old.revocationAgeMilliseconds
        configuration = next
        hasPolicies = next.rooms != RoomPolicies()
        // Where something waits by rules, rules are needed until it is gone.
        slowRules = SlowRules(next.rooms, always: slowRules != nil)
        rooms.reload(
            roomsPerClient: next.roomsPerClient, membersPerRoom: next.membersPerRoom, policies: next.rooms)
        outbox.reload(heavyBytes: next.pendingBytes)
        let asked = (asksToJoin, asksToPublish)
        if let authorizes, hooks.authorize != nil {
            asksToJoin = authorizes.contains(.join)
            asksToPublish = authorizes.contains(.publish)
        }
        let asksTheSame = asked == (asksToJoin, asksToPublish)
        let isSameMeter = Meter.isSame(old, next)
        let interval = Int64(next.pingIntervalMilliseconds)
        for case let client? in clients.clients {
            client.parser.reload(maximumMessageBytes: next.messageBytes, maximumFrames: next.framesPerMessage)
            // What somebody was asked about is only remembered of those who may be asked about.
            if !asksTheSame { client.grants = grants(of: client.identity) }
            if !isSameMeter { client.meter = Meter(next, now: now) }
            client.handlerQueue?.reload(limit: next.handlerQueue, byteLimit: next.pendingBytes)
            client.backlog?.limit = next.pendingBytes
            guard client.isOpen else { continue }
            // By chance, as when it came: or all would be pinged at the same time.
            if next.pingIntervalMilliseconds < old.pingIntervalMilliseconds {
                client.nextPing = min(client.nextPing, now + Int64.random(in: 0...max(interval, 1), using: &generator))
            }
            clients.look(at: client, by: client.nextDue(next))
        }
    }
}
