import ConduitCore
import ConduitWire
import NIOCore

/// What one node has asked this one for, and how far the answer is.
struct RepairAnswer {
    /// Clocks of requests and messages are a little apart.
    private static let slack: Int64 = 2_000

    let asker: NodeID
    let request: UInt64
    /// When the request came.
    let askedAt: Int64
    /// All channels' messages since then.
    private let allSince: Int64?
    private let wanted: [BusTopic: (last: UInt64, since: Int64)]
    /// The next message to look at.
    var cursor: UInt64
    /// The last numbers that were looked at, of channels where something is wanted.
    private var seen: [BusTopic: UInt64] = [:]

    init(_ request: RepairRequest, for asker: NodeID, incarnation: UInt64, start: UInt64, now: Int64) {
        self.asker = asker
        self.request = request.request
        askedAt = now
        allSince = request.allMilliseconds.map { now - Int64($0) - Self.slack }
        var wanted: [BusTopic: (last: UInt64, since: Int64)] = [:]
        for topic in request.topics {
            // Numbers of an earlier life mean nothing.
            let last = request.incarnation == incarnation ? topic.last : 0
            wanted[topic.topic] = (last, now - Int64(topic.ageMilliseconds) - Self.slack)
        }
        self.wanted = wanted
        cursor = start
    }

    /// Whether the asker may have missed a message.
    mutating func wants(_ message: RecentMessages.Message) -> Bool {
        if let known = wanted[message.topic] {
            seen[message.topic] = message.last
            return known.last > 0 ? message.last > known.last : message.time >= known.since
        }
        guard let allSince, message.time >= allSince else { return false }
        switch message.topic {
        case .room, .user, .everyone: return true
        // What is for another node is nobody else's business.
        case .control, .node: return false
        }
    }

    /// Channels of which something is missing and nothing remembered. `source`: the numbers that were given.
    /// `waiting`: what will be sent after this answer.
    func lost(source: SequenceSource, waiting: some Sequence<RecentMessages.Message>) -> [RepairEnd.Lost] {
        var tops: [BusTopic: UInt64] = [:]
        for (topic, known) in wanted
        where known.last > 0 && known.last >= source.base && seen[topic, default: 0] <= known.last {
            if let top = source.newest(topic), top > known.last { tops[topic] = top }
        }
        guard !tops.isEmpty else { return [] }
        var found: Set<BusTopic> = []
        for message in waiting where tops[message.topic] != nil && found.insert(message.topic).inserted {
            tops[message.topic] = message.startsRun ? nil : message.first &- 1
        }
        return tops.compactMap { topic, top in
            top > (wanted[topic]?.last ?? 0) ? RepairEnd.Lost(topic: topic, last: top) : nil
        }
    }
}

/// Answers that are under way, a slice of one of them a turn.
struct RepairAnswers {
    private static let limit = NodeDirectory.maximumNodes
    private var answers: [NodeID: RepairAnswer] = [:]
    private var turns = CircularBuffer<NodeID>()
    /// The next turn is scheduled.
    var isRunning = false

    /// Begins an answer; a node's newest request replaces the one before.
    mutating func add(_ answer: RepairAnswer) {
        guard answers.count < Self.limit || answers[answer.asker] != nil else { return }
        answers[answer.asker] = answer
        turns.append(answer.asker)
    }

    /// The answer whose turn it is. Bring it back when something is left to do.
    mutating func next() -> RepairAnswer? {
        while let asker = turns.popFirst() {
            if let answer = answers[asker] { return answer }
        }
        return nil
    }

    /// An answer has got further. `waits`: it isn't its turn again before ``resume(_:request:)``.
    mutating func update(_ answer: RepairAnswer, waits: Bool) {
        guard answers[answer.asker]?.request == answer.request else { return }
        answers[answer.asker] = answer
        if !waits { turns.append(answer.asker) }
    }

    mutating func resume(_ asker: NodeID, request: UInt64) {
        if answers[asker]?.request == request { turns.append(asker) }
    }

    mutating func remove(_ asker: NodeID, request: UInt64) {
        if answers[asker]?.request == request { answers[asker] = nil }
    }

    var hasTurns: Bool { !turns.isEmpty }
}
