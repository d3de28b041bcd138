/// Which rooms and users this node must listen to: subscribed while a shard holds one of them, and a little longer.
///
/// A value: joins and leaves in, lists of topics to subscribe and unsubscribe out. The linger makes flapping free: a
/// topic whose last member left keeps its subscription until the linger is over, and one that is taken up again
/// before that causes no action at all.
package struct InterestTable: Sendable {
    /// Where the subscription of a topic stands.
    package enum State: Hashable, Sendable {
        /// Members are here; SUBSCRIBE is not sent yet.
        case wanted
        /// SUBSCRIBE is sent, not confirmed.
        case subscribing
        /// Redis refused the SUBSCRIBE; tried again when the time has come.
        case refused(until: Int64)
        /// Confirmed, with members.
        case live
        /// Confirmed, without members; unsubscribed when the time has come.
        case lingering(until: Int64)
    }

    private struct Entry {
        /// Members by shard; as long as the highest shard that ever held one needs.
        var counts: [Int32] = []
        var mask: UInt64 = 0
        var state: State = .wanted
        /// In `linger` already: a topic that flaps is queued once.
        var queued = false
        /// When the first confirmation came; a lost connection doesn't change it.
        var confirmedAt: Int64?
    }

    /// Shards that a mask can name.
    package static let maximumShards = 64
    /// How long a refused topic is left alone.
    package static let retryMilliseconds: Int64 = 5_000

    private var entries: [BusTopic: Entry] = [:]
    /// Topics to subscribe; some may not be wanted any more, or stand here twice.
    private var wanted: [BusTopic] = []
    private var wantedCount = 0
    private var subscribing = 0
    private var linger: [(until: Int64, topic: BusTopic)] = []
    private var lingerHead = 0
    /// What was refused, in the order of the times; some may not be refused any more.
    private var refusals: [(until: Int64, topic: BusTopic)] = []
    private var connected = false
    private let lingerMilliseconds: Int64

    /// An empty table; the linger is at least a second.
    package init(lingerMilliseconds: Int64 = 2_000) {
        self.lingerMilliseconds = max(1_000, lingerMilliseconds)
    }

    /// Topics that are subscribed or on the way to be.
    package var count: Int { entries.count }

    /// All of them, in no order.
    package var topics: some Collection<BusTopic> { entries.keys }

    /// Topics whose SUBSCRIBE isn't sent or not confirmed yet: 0 means that nothing is missed.
    package var unconfirmed: Int { wantedCount + subscribing }

    /// The shards that hold a member, as bits.
    package func shards(of topic: BusTopic) -> UInt64 { entries[topic]?.mask ?? 0 }

    /// Whether the confirmation has come and no UNSUBSCRIBE was sent since.
    package func isConfirmed(_ topic: BusTopic) -> Bool {
        switch entries[topic]?.state {
        case .live, .lingering: true
        case .wanted, .subscribing, .refused, nil: false
        }
    }

    /// Since when the topic is followed: the time of its first confirmation since it was taken up.
    package func followedSince(_ topic: BusTopic) -> Int64? { entries[topic]?.confirmedAt }

    /// Where a topic stands; `nil` when nobody is interested.
    package func state(of topic: BusTopic) -> State? { entries[topic]?.state }

    /// A shard holds one member more. Returns whether the topic had none on this node before.
    @discardableResult
    package mutating func joined(_ topic: BusTopic, shard: Int) -> Bool {
        guard (0..<Self.maximumShards).contains(shard) else { return false }
        var entry = entries[topic] ?? Entry()
        let isNew = entry.counts.isEmpty
        let wasEmpty = entry.mask == 0
        if entry.counts.count <= shard {
            entry.counts.append(contentsOf: repeatElement(0, count: shard + 1 - entry.counts.count))
        }
        entry.counts[shard] += 1
        entry.mask |= 1 << UInt64(shard)
        if isNew {
            wantedCount += 1
            wanted.append(topic)
        } else if case .lingering = entry.state {
            entry.state = .live
        }
        entries[topic] = entry
        // While Redis is away nobody takes the list: clients that come and go must not make it grow.
        if wanted.count > 2 * entries.count + 64 { listWanted() }
        return wasEmpty
    }

    /// A shard holds one member less. Returns whether that was the node's last one.
    @discardableResult
    package mutating func left(_ topic: BusTopic, shard: Int, now: Int64) -> Bool {
        guard var entry = entries[topic], entry.counts.indices.contains(shard), entry.counts[shard] > 0 else {
            return false
        }
        entry.counts[shard] -= 1
        if entry.counts[shard] == 0 { entry.mask &= ~(1 << UInt64(shard)) }
        if entry.mask == 0, entry.state == .wanted {
            entries[topic] = nil
            wantedCount -= 1
            return true
        }
        if entry.mask == 0, case .refused = entry.state {
            entries[topic] = nil
            return true
        }
        if entry.mask == 0, entry.state == .live { startLinger(&entry, topic, now) }
        entries[topic] = entry
        return entry.mask == 0
    }

    private mutating func startLinger(_ entry: inout Entry, _ topic: BusTopic, _ now: Int64) {
        let until = now + lingerMilliseconds
        entry.state = .lingering(until: until)
        if !entry.queued {
            entry.queued = true
            linger.append((until, topic))
        }
    }

    /// The subscription link is ready: topics may be subscribed.
    package mutating func connectionReady() { connected = true }

    private mutating func listWanted() {
        wanted = entries.compactMap { $0.value.state == .wanted ? $0.key : nil }
    }

    /// Up to `limit` topics to SUBSCRIBE now.
    package mutating func takeSubscriptions(limit: Int) -> [BusTopic] {
        guard connected, !wanted.isEmpty else { return [] }
        var taken: [BusTopic] = []
        var index = 0
        while index < wanted.count, taken.count < limit {
            let topic = wanted[index]
            index += 1
            guard var entry = entries[topic], entry.state == .wanted else { continue }
            entry.state = .subscribing
            wantedCount -= 1
            entries[topic] = entry
            subscribing += 1
            taken.append(topic)
        }
        wanted.removeFirst(index)
        return taken
    }

    /// Redis confirmed a SUBSCRIBE. Returns whether the topic became live by it.
    @discardableResult
    package mutating func confirmed(_ topic: BusTopic, now: Int64) -> Bool {
        guard var entry = entries[topic], entry.state == .subscribing else { return false }
        subscribing -= 1
        if entry.confirmedAt == nil { entry.confirmedAt = now }
        if entry.mask == 0 {
            startLinger(&entry, topic, now)
        } else {
            entry.state = .live
        }
        entries[topic] = entry
        return true
    }

    /// Redis refused a SUBSCRIBE. A topic with members is tried again after a while, one without is forgotten.
    package mutating func refused(_ topic: BusTopic, now: Int64) {
        guard var entry = entries[topic], entry.state == .subscribing else { return }
        subscribing -= 1
        guard entry.mask != 0 else {
            entries[topic] = nil
            return
        }
        let until = now + Self.retryMilliseconds
        entry.state = .refused(until: until)
        entries[topic] = entry
        refusals.append((until, topic))
    }

    /// Makes what was refused long enough ago wanted again.
    package mutating func retryRefused(now: Int64) {
        let due = Array(refusals.prefix { $0.until <= now })
        guard !due.isEmpty else { return }
        refusals.removeFirst(due.count)
        for (until, topic) in due where entries[topic]?.state == .refused(until: until) {
            entries[topic]?.state = .wanted
            wantedCount += 1
            wanted.append(topic)
        }
    }

    /// The subscriptions are gone. What has members is wanted again; the rest is forgotten. Returns that rest.
    @discardableResult
    package mutating func connectionLost() -> [BusTopic] {
        connected = false
        subscribing = 0
        refusals.removeAll()
        let dropped = entries.filter { $0.value.mask == 0 }.map(\.key)
        linger.removeAll()
        lingerHead = 0
        entries = entries.compactMapValues { entry in
            guard entry.mask != 0 else { return nil }
            var entry = entry
            entry.state = .wanted
            entry.queued = false
            return entry
        }
        listWanted()
        wantedCount = wanted.count
        return dropped
    }

    /// The subscriptions of these topics are gone, though the connection is there. What has members is wanted again;
    /// the rest is forgotten. Returns that rest.
    @discardableResult
    package mutating func lost(_ topics: [BusTopic]) -> [BusTopic] {
        var dropped: [BusTopic] = []
        for topic in topics {
            guard var entry = entries[topic] else { continue }
            switch entry.state {
            case .wanted, .refused: continue
            case .subscribing: subscribing -= 1
            case .live, .lingering: break
            }
            guard entry.mask != 0 else {
                entries[topic] = nil
                dropped.append(topic)
                continue
            }
            entry.state = .wanted
            entries[topic] = entry
            wantedCount += 1
            wanted.append(topic)
        }
        return dropped
    }

    /// Topics whose linger is over: UNSUBSCRIBE them now. They are forgotten; a later join subscribes anew, and since
    /// one connection keeps the order of commands, that SUBSCRIBE takes effect after this UNSUBSCRIBE.
    package mutating func takeUnsubscriptions(now: Int64) -> [BusTopic] {
        var taken: [BusTopic] = []
        while lingerHead < linger.count, linger[lingerHead].until <= now {
            let topic = linger[lingerHead].topic
            lingerHead += 1
            guard var entry = entries[topic] else { continue }
            entry.queued = false
            if case .lingering(let until) = entry.state {
                if until <= now {
                    entries[topic] = nil
                    taken.append(topic)
                    continue
                }
                entry.queued = true
                linger.append((until, topic))
            }
            entries[topic] = entry
        }
        if lingerHead > 64, lingerHead * 2 > linger.count {
            linger.removeFirst(lingerHead)
            lingerHead = 0
        }
        return taken
    }

    /// When the next linger may be over; `nil` when nothing lingers.
    package var nextDeadline: Int64? { lingerHead < linger.count ? linger[lingerHead].until : nil }
}
