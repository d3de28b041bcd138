import ConduitCore
import ConduitHub

/// Counted deliveries that are under way: who waits, what was counted so far and what is still to come.
///
/// A value. Two kinds of people wait: a client of this node for its `ack`, and another node for this node's share.
/// Whatever is missing after a second is given up, and the count so far is the answer.
struct PendingSends {
    /// Who waits for the count.
    enum Waiting {
        case client(ReplyAddress)
        case node(NodeID, request: UInt64)
    }

    /// A count that is complete, or as complete as it gets.
    struct Finished {
        let waiting: Waiting
        let count: Int
    }

    private struct Entry {
        let waiting: Waiting
        let token: DeliveryToken
        let deadline: Int64
        var count: Int
        var awaitedShards: Int
        /// Nodes that the PUBLISH reached; `nil` until Redis has told.
        var receivers: Int?
        var answers = 0

        var isComplete: Bool { awaitedShards <= 0 && answers >= (receivers ?? .max) }
    }

    private struct Early {
        var count: Int
        var reports: Int
        var deadline: Int64
    }

    private let limit: Int
    private let patience: Int64
    private var entries: [UInt64: Entry] = [:]
    private var numbers: [DeliveryToken: UInt64] = [:]
    /// Reports of shards that came before the send itself: their loops don't wait for each other.
    private var early: [DeliveryToken: Early] = [:]
    private var lastNumber: UInt64 = 0

    init(limit: Int = 10_000, patienceMilliseconds: Int64 = 1_000) {
        self.limit = limit
        self.patience = patienceMilliseconds
    }

    /// Counts that are under way.
    var count: Int { entries.count }

    /// A number for a delivery that the bridge starts; also its token's number.
    mutating func nextNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    /// Begins to count under `number`. `remote`: whether other nodes will answer. Returns the result when there is
    /// nothing to wait for, or when too many wait already.
    mutating func begin(
        _ number: UInt64, token: DeliveryToken, waiting: Waiting, delivered: Int, awaitedShards: Int, remote: Bool,
        now: Int64
    ) -> Finished? {
        var entry = Entry(
            waiting: waiting, token: token, deadline: now + patience, count: delivered, awaitedShards: awaitedShards,
            receivers: remote ? nil : 0)
        if let reports = early.removeValue(forKey: token) {
            entry.count += reports.count
            entry.awaitedShards -= reports.reports
        }
        guard !entry.isComplete, entries.count < limit else { return Finished(waiting: waiting, count: entry.count) }
        entries[number] = entry
        numbers[token] = number
        return nil
    }

    /// A shard of this node has delivered.
    mutating func delivered(_ token: DeliveryToken, count: Int, now: Int64) -> Finished? {
        guard let number = numbers[token] else {
            guard early.count < limit else { return nil }
            early[token, default: Early(count: 0, reports: 0, deadline: now + patience)].count += count
            early[token]?.reports += 1
            return nil
        }
        return update(number) {
            $0.count += count
            $0.awaitedShards -= 1
        }
    }

    /// Redis tells how many connections got the PUBLISH, this node's own among them where it listens.
    mutating func published(_ number: UInt64, receivers: Int) -> Finished? {
        update(number) { $0.receivers = max(0, receivers) }
    }

    /// A node has answered; this node answers 0 for itself when its own message comes back.
    mutating func answered(_ number: UInt64, count: Int) -> Finished? {
        update(number) {
            // Another node's word is not trusted to be sane.
            $0.count += min(max(0, count), 1_000_000)
            $0.answers += 1
        }
    }

    /// Gives up what has waited for too long.
    mutating func sweep(now: Int64) -> [Finished] {
        early = early.filter { $0.value.deadline > now }
        let late = entries.filter { $0.value.deadline <= now }
        for (number, entry) in late {
            entries[number] = nil
            numbers[entry.token] = nil
        }
        return late.values.map { Finished(waiting: $0.waiting, count: $0.count) }
    }

    private mutating func update(_ number: UInt64, _ change: (inout Entry) -> Void) -> Finished? {
        guard var entry = entries[number] else { return nil }
        change(&entry)
        guard entry.isComplete else {
            entries[number] = entry
            return nil
        }
        entries[number] = nil
        numbers[entry.token] = nil
        return Finished(waiting: entry.waiting, count: entry.count)
    }
}
