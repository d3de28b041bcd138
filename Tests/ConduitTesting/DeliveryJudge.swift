/// What was published, acknowledged and received in one run, told by the clients alone: the evidence of a
/// ``DeliveryVerdict``. It knows the protocol's promises and nothing of how a server keeps them.
///
/// A value: everything that happens is noted with its time (microseconds of one clock), in the order in which it
/// happened to each client. Tests plant faults into it to show that each kind is found.
package struct DeliveryJudge: Sendable {
    package enum RoomKind: String, Sendable, CaseIterable {
        /// Local first: order of each publisher, nothing after a reconnect of the client.
        case fast
        /// Stored: one order for all, whole over reconnects.
        case ordered
    }

    /// One message of one publisher to one room. A publisher that comes back on another node counts as another one in
    /// fast rooms: their order is that of a connection.
    package struct Message: Hashable, Sendable, CustomStringConvertible {
        package var publisher: Int
        package var room: Int
        package var number: Int

        package init(publisher: Int, room: Int, number: Int) {
            self.publisher = publisher
            self.room = room
            self.number = number
        }

        package var description: String { "publisher \(publisher)'s #\(number) to room \(room)" }
    }

    struct Publication: Sendable {
        var node: Int
        var sentAt: Int
        var attempts = 1
        var ackedAt: Int?
        var epoch: String?
        var offset: Int?
    }

    enum Event: Sendable {
        case delivered(Message, offset: Int?, node: Int, at: Int)
        /// The client was told that something may be missing or that offsets begin anew.
        case told(at: Int)
        /// A first join of an ordered room, or one that was not recovered: what comes next has the next offset.
        case position(Int)
    }

    /// One client in one room. In fast rooms each connection is another; in ordered ones it lasts over reconnects.
    struct Membership: Sendable {
        var listener: Int
        var room: Int
        /// Messages sent from then on are owed to it; `nil` owes nothing.
        var owedFrom: Int?
        /// When its connection ended; only in fast rooms.
        var endedAt: Int?
        var events: [Event] = []
    }

    package let rooms: [RoomKind]
    private(set) var publications: [Message: Publication] = [:]
    private(set) var memberships: [Membership] = []
    /// Publishers whose node was killed: what it had not passed on went with it.
    private(set) var orphans: Set<Int> = []
    private(set) var contradictions: [String] = []

    package init(rooms: [RoomKind]) { self.rooms = rooms }

    // MARK: Publishers

    /// A message goes out for the first time, on a connection to `node`.
    package mutating func published(_ message: Message, node: Int, at now: Int) {
        publications[message] = Publication(node: node, sentAt: now)
    }

    /// The same message goes out again, with the same key.
    package mutating func repeated(_ message: Message) { publications[message]?.attempts += 1 }

    package mutating func acknowledged(_ message: Message, epoch: String? = nil, offset: Int? = nil, at now: Int) {
        guard publications[message]?.ackedAt == nil else {
            return contradict("\(message) was acknowledged twice")
        }
        publications[message]?.ackedAt = now
        publications[message]?.epoch = epoch
        publications[message]?.offset = offset
        if rooms[message.room] == .ordered, epoch == nil || offset == nil {
            contradict("the ack of \(message) has no epoch and offset")
        }
    }

    /// Its node was killed: what this publisher sent last may have gone with it.
    package mutating func orphaned(publisher: Int) { orphans.insert(publisher) }

    package func isAcknowledged(_ message: Message) -> Bool { publications[message]?.ackedAt != nil }

    /// The node that a message was published on.
    package func node(of message: Message) -> Int? { publications[message]?.node }

    /// Messages that were sent and not acknowledged (yet).
    package func unacknowledged(_ kind: RoomKind) -> Int {
        publications.count { rooms[$0.key.room] == kind && $0.value.ackedAt == nil }
    }

    // MARK: Listeners

    /// A client is in a room; the number is what its other events are noted with.
    package mutating func joined(listener: Int, room: Int, offset: Int? = nil) -> Int {
        memberships.append(Membership(listener: listener, room: room))
        if let offset { memberships[memberships.count - 1].events.append(.position(offset)) }
        return memberships.count - 1
    }

    /// Everything works: from now on messages are owed to all who are in their rooms.
    package mutating func everybodyIsOwed(from now: Int) {
        for index in memberships.indices where memberships[index].owedFrom == nil && memberships[index].endedAt == nil {
            memberships[index].owedFrom = now
        }
    }

    /// A client's connection has ended; for fast rooms.
    package mutating func ended(_ membership: Int, at now: Int) { memberships[membership].endedAt = now }

    package mutating func delivered(_ message: Message, to membership: Int, node: Int, offset: Int? = nil, at now: Int)
    {
        guard publications[message] != nil else { return contradict("\(message) was delivered and never sent") }
        guard message.room == memberships[membership].room else {
            return contradict("\(message) was delivered to room \(memberships[membership].room)")
        }
        if rooms[message.room] == .ordered, offset == nil { contradict("\(message) came without an offset") }
        memberships[membership].events.append(.delivered(message, offset: offset, node: node, at: now))
    }

    /// The client was told that something may be missing or that offsets begin anew: `room_state` `gap`, or a join that
    /// was not recovered. `position`: from where it goes on.
    package mutating func told(_ membership: Int, position: Int? = nil, at now: Int) {
        memberships[membership].events.append(.told(at: now))
        if let position { memberships[membership].events.append(.position(position)) }
    }

    /// Something that the protocol rules out, in words.
    package mutating func contradict(_ what: String) {
        if contradictions.count < 100 { contradictions.append(what) }
    }

    // MARK: How far things are

    /// Deliveries that are owed and have not come yet; publications that were sent before `time` only.
    package func outstanding(before time: Int = .max) -> Int {
        var missing = 0
        var byRoom: [Int: [(Message, Int)]] = [:]
        for (message, publication) in publications
        where publication.ackedAt != nil && publication.sentAt < time {
            byRoom[message.room, default: []].append((message, publication.sentAt))
        }
        for membership in memberships where membership.endedAt == nil {
            guard let from = membership.owedFrom else { continue }
            var seen: Set<Message> = []
            for case .delivered(let message, _, _, _) in membership.events { seen.insert(message) }
            missing += byRoom[membership.room]?.count { $0.1 >= from && !seen.contains($0.0) } ?? 0
        }
        return missing
    }
}
