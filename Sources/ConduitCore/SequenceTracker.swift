/// Sees for each channel and origin whether messages are missing or come twice.
///
/// Bounded: when more channels and origins are known than allowed, everything is forgotten at once, and the next
/// message of each counts as its first. Nothing is lost by that but the knowledge of one possible gap.
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

    /// No node sends so much in its life.
    private static let highest: UInt64 = 1 << 53
    /// No channel carries so much between two messages that arrive.
    private static let longestGap: UInt64 = 1 << 32

    private struct Origin {
        var incarnation: UInt64
        var last: UInt64
    }

    private var origins: [BusTopic: [NodeID: Origin]] = [:]
    /// Pairs of channel and origin that are remembered.
    package private(set) var count = 0
    private let limit: Int

    /// Remembers at most `limit` pairs.
    package init(limit: Int = 200_000) { self.limit = max(1, limit) }

    /// Classifies `count` messages that begin with number `first`. `startsRun`: the origin has forgotten its count
    /// for this channel and begins anew above every number that it ever gave, so a jump is no gap.
    package mutating func observe(
        _ topic: BusTopic, origin: NodeID, incarnation: UInt64, first: UInt64, count messages: UInt64, startsRun: Bool
    ) -> Verdict {
        let last = first &+ (messages &- 1)
        // A forged number must not make every later one a duplicate.
        guard messages > 0, last >= first, last <= Self.highest else { return .malformed }
        // Each table is asked once a message: what is found is changed in its place.
        guard let channel = origins.index(forKey: topic), let place = origins.values[channel].index(forKey: origin)
        else {
            if count >= limit { forgetAll() }
            origins[topic, default: [:]][origin] = Origin(incarnation: incarnation, last: last)
            count += 1
            return .inOrder
        }
        let known = origins.values[channel].values[place]
        guard known.incarnation == incarnation else {
            origins.values[channel].values[place] = Origin(incarnation: incarnation, last: last)
            return .inOrder
        }
        guard first > known.last else { return .duplicate }
        let missing = first - known.last - 1
        guard startsRun || missing < Self.longestGap else { return .malformed }
        origins.values[channel].values[place].last = last
        return missing == 0 || startsRun ? .inOrder : .gap(missing)
    }

    /// The channel isn't listened to any more: what is missed from now on is no gap.
    package mutating func forget(_ topic: BusTopic) {
        count -= origins.removeValue(forKey: topic)?.count ?? 0
    }

    /// The node is gone for good.
    package mutating func forget(_ node: NodeID) {
        for topic in origins.keys where origins[topic]?.removeValue(forKey: node) != nil {
            count -= 1
            if origins[topic]?.isEmpty == true { origins[topic] = nil }
        }
    }

    private mutating func forgetAll() {
        origins.removeAll()
        count = 0
    }
}

/// Numbers what this node sends, for each channel by itself.
///
/// Bounded: over the limit all counts are forgotten and go on above the highest number ever given, marked as a new
/// run, so receivers neither drop them as duplicates nor count a gap.
package struct SequenceSource: Sendable {
    private var last: [BusTopic: UInt64] = [:]
    private var highest: UInt64 = 0
    private var base: UInt64 = 0
    private let limit: Int

    /// Remembers at most `limit` channels.
    package init(limit: Int = 100_000) { self.limit = max(1, limit) }

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
