/// Sees for each channel and origin whether messages are missing or come twice.
///
/// What was seen stays known when the origin seems to be gone or its channel isn't listened to for a while: a node that
/// only starved sends again what Redis hadn't answered. Bounded: over the limit, first those go of whom nothing is
/// expected any more, and if that isn't enough, everything; the next message of each then counts as its first.
package struct SequenceTracker: Sendable {
    /// What a sequence number says.
    package enum Verdict: Hashable, Sendable {
        /// The next one, or the first ever seen.
        case inOrder
        /// Seen before: to be dropped.
        case duplicate
        /// So many messages before this one never arrived.
        case gap(UInt64)
        /// No node counts like that: to be dropped, and not to be remembered.
        case malformed
    }

    /// What is known of one origin in one channel.
    package struct Position: Hashable, Sendable {
        /// Which life of the origin.
        package var incarnation: UInt64
        /// The highest number that was seen.
        package var last: UInt64
        /// The channel wasn't listened to since: a jump is no gap.
        package var isUnsure = false
    }

    /// No node sends so much in its life.
    private static let highest: UInt64 = 1 << 53
    /// No channel carries so much between two messages that arrive.
    private static let longestGap: UInt64 = 1 << 32
    /// Nodes that are remembered as gone.
    private static let maximumGone = 4_096

    private var origins: [BusTopic: [NodeID: Position]] = [:]
    /// Nodes that seem to be gone: the first to be forgotten.
    private var gone: Set<NodeID> = []
    /// Pairs of channel and origin that are remembered.
    package private(set) var count = 0
    /// How often everything was forgotten.
    package private(set) var resets: UInt64 = 0
    private let limit: Int

    /// Remembers at most `limit` pairs.
    package init(limit: Int = 200_000) { self.limit = max(1, limit) }

    /// Classifies `count` messages that begin with number `first`. `startsRun`: the origin has forgotten its count
    /// for this channel and begins anew above every number that it ever gave, so a jump is no gap.
    ///
    /// `passesGaps`: what is behind a gap counts as seen. Else nothing changes, so that the hole can be filled.
    package mutating func observe(
        _ topic: BusTopic, origin: NodeID, incarnation: UInt64, first: UInt64, count messages: UInt64, startsRun: Bool,
        passesGaps: Bool = true
    ) -> Verdict {
        let last = first &+ (messages &- 1)
        // A forged number must not make every later one a duplicate.
        guard messages > 0, last >= first, last <= Self.highest else { return .malformed }
        // Each table is asked once a message: what is found is changed in its place.
        guard let channel = origins.index(forKey: topic), let place = origins.values[channel].index(forKey: origin)
        else {
            if count >= limit { makeRoom() }
            origins[topic, default: [:]][origin] = Position(incarnation: incarnation, last: last)
            count += 1
            return .inOrder
        }
        let known = origins.values[channel].values[place]
        guard known.incarnation == incarnation else {
            origins.values[channel].values[place] = Position(incarnation: incarnation, last: last)
            return .inOrder
        }
        guard first > known.last else { return .duplicate }
        let missing = first - known.last - 1
        let mayJump = startsRun || known.isUnsure
        guard mayJump || missing < Self.longestGap else { return .malformed }
        if missing > 0, !mayJump, !passesGaps { return .gap(missing) }
        origins.values[channel].values[place] = Position(incarnation: incarnation, last: last)
        return missing == 0 || mayJump ? .inOrder : .gap(missing)
    }

    /// What is known of an origin in a channel.
    package func position(_ topic: BusTopic, _ origin: NodeID) -> Position? { origins[topic]?[origin] }

    /// All that is known of an origin.
    package func positions(of origin: NodeID) -> [(topic: BusTopic, position: Position)] {
        origins.compactMap { topic, nodes in nodes[origin].map { (topic, $0) } }
    }

    /// All channels that are remembered.
    package var topics: some Collection<BusTopic> { origins.keys }

    /// Nodes that are known in a channel.
    package func origins(of topic: BusTopic) -> [NodeID: Position] { origins[topic] ?? [:] }

    /// What is missing up to `last` will never come. Returns how many that is.
    package mutating func skip(_ topic: BusTopic, origin: NodeID, incarnation: UInt64, to last: UInt64) -> UInt64 {
        guard let known = origins[topic]?[origin], known.incarnation == incarnation, !known.isUnsure,
            last > known.last, last <= Self.highest, last - known.last < Self.longestGap
        else { return 0 }
        origins[topic]?[origin]?.last = last
        return last - known.last
    }

    /// The channel isn't listened to any more: what is missed from now on is no gap, what was seen stays seen.
    package mutating func pause(_ topic: BusTopic) {
        guard let channel = origins.index(forKey: topic) else { return }
        for origin in origins.values[channel].keys { origins.values[channel][origin]?.isUnsure = true }
    }

    /// The node seems to be gone. It may come back and send again what was seen.
    package mutating func retire(_ node: NodeID) {
        if gone.count >= Self.maximumGone { gone.removeAll() }
        gone.insert(node)
    }

    /// The node is there after all.
    package mutating func returned(_ node: NodeID) { gone.remove(node) }

    private mutating func makeRoom() {
        for topic in Array(origins.keys) {
            let kept = (origins[topic] ?? [:]).filter { !$0.value.isUnsure && !gone.contains($0.key) }
            origins[topic] = kept.isEmpty ? nil : kept
        }
        gone.removeAll()
        count = origins.values.reduce(0) { $0 + $1.count }
        // Nearly full already: the next time would come soon, and each costs a walk over everything.
        guard count > limit / 4 * 3 else { return }
        origins.removeAll()
        count = 0
        resets &+= 1
    }
}

/// Numbers what this node sends, for each channel by itself.
///
/// Bounded: over the limit all counts are forgotten and go on above the highest number ever given, marked as a new
/// run, so receivers neither drop them as duplicates nor count a gap.
package struct SequenceSource: Sendable {
    private var last: [BusTopic: UInt64] = [:]
    private var highest: UInt64 = 0
    /// Counts that were forgotten go on above this number.
    package private(set) var base: UInt64 = 0
    private let limit: Int

    /// Remembers at most `limit` channels.
    package init(limit: Int = 100_000) { self.limit = max(1, limit) }

    /// The highest number given in a channel; `nil` when none is known.
    package func newest(_ topic: BusTopic) -> UInt64? { last[topic] }

    /// All channels with their highest numbers.
    package var all: [BusTopic: UInt64] { last }

    /// The number of the first of `count` messages, and whether a new run begins with it.
    package mutating func take(_ topic: BusTopic, count: UInt64) -> (first: UInt64, startsRun: Bool) {
        let known = last[topic]
        if known == nil, last.count >= limit {
            last.removeAll(keepingCapacity: true)
            base = highest
        }
        let previous = known ?? base
        let newest = previous &+ count
        last[topic] = newest
        highest = max(highest, newest)
        return (previous &+ 1, known == nil)
    }
}
