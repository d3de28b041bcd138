import ConduitCore
import ConduitWire
import NIOCore

/// Where this node stands in one ordered room: which message its members got last, what waits, what is missing.
///
/// A value: live messages, parts of the log and positions go in; messages to deliver come out, each offset of an epoch
/// once and in order. Whoever owns it reads the log when ``wantsRead`` says so and gives it the answer; reads of a
/// room follow each other, they never overlap.
struct OrderedRoom {
    /// A part of the log as Redis gave it.
    struct Page {
        let epoch: String
        /// The log's last offset.
        let top: UInt64
        /// Ascending. None when only the position was asked for.
        let messages: [OrderedMessage]
        /// Whether it reaches up to `top`.
        let isWhole: Bool
        /// The last offset that was looked at, where the entry there was no message.
        var reach: UInt64?
    }

    /// Gives a message of an epoch to the members.
    typealias Delivery = (_ message: OrderedMessage, _ epoch: String) -> Void

    /// Says, before what comes next is delivered, that so many messages are lost; `nil` when an epoch is over and nobody
    /// knows how many.
    typealias Loss = (_ count: UInt64?) -> Void

    /// What came of something that went in.
    struct Outcome: Equatable {
        /// Messages that were read from the log because they had not come by themselves.
        var healed: UInt64 = 0
        /// Messages that the log has no more.
        var unrecoverable: UInt64 = 0
        /// Messages that came again.
        var duplicates: UInt64 = 0
        /// The room has another epoch: how much of the old one is missing isn't known.
        var changedEpoch = false
    }

    private struct Waiting {
        let epoch: String
        let message: OrderedMessage
        /// It was here when the log was asked: an answer of another epoch makes it one of an earlier one.
        var isOlderThanRead = false
    }

    /// Former epochs that are remembered: what comes late with one of them is dropped.
    static let formerLimit = 4
    /// Messages that wait for a hole to be filled.
    static let waitingLimit = 4_096
    /// Their bytes.
    static let waitingByteLimit = 1 << 20

    /// `nil` until the first position is known.
    private(set) var epoch: String?
    /// The last offset that was delivered.
    private(set) var last: UInt64 = 0
    /// Nothing is known to be missing.
    private(set) var isLive = false
    private(set) var isReading = false
    private var former: [String] = []
    /// Live messages behind a hole or of an epoch that isn't ours yet, in the order in which they came.
    private var waiting: [Waiting] = []
    /// Bytes of what waits.
    private(set) var waitingBytes = 0
    /// Some were not kept, or a doubt came while the log was read: it is read once more.
    private var overflowed = false

    /// Whether the log is to be read now.
    var wantsRead: Bool { !isLive && !isReading }

    /// What this node knows, for the scripts: Redis must have that much of our epoch, and none of the former ones.
    var known: [RecoveryPoint] {
        guard let epoch else { return [] }
        return [RecoveryPoint(epoch: epoch, offset: last)]
            + former.map { RecoveryPoint(epoch: $0, offset: OrderedMessage.highestOffset) }
    }

    /// Where the node stands.
    var position: RecoveryPoint? { epoch.map { RecoveryPoint(epoch: $0, offset: last) } }

    // MARK: Live messages

    /// Messages came over the bus.
    mutating func received(_ batch: OrderedBatch, deliver: Delivery) -> Outcome {
        var outcome = Outcome()
        if former.contains(batch.epoch) {
            outcome.duplicates = UInt64(batch.messages.count)
            return outcome
        }
        for message in batch.messages {
            guard batch.epoch == epoch, isLive else {
                if batch.epoch == epoch, message.offset <= last {
                    outcome.duplicates += 1
                } else {
                    isLive = false
                    keep(message, batch.epoch)
                }
                continue
            }
            if message.offset <= last {
                outcome.duplicates += 1
            } else if message.offset == last + 1 {
                last = message.offset
                deliver(message, batch.epoch)
            } else {
                isLive = false
                keep(message, batch.epoch)
            }
        }
        return outcome
    }

    private mutating func keep(_ message: OrderedMessage, _ epoch: String) {
        let bytes = message.json.readableBytes
        guard waiting.count < Self.waitingLimit, waitingBytes + bytes <= Self.waitingByteLimit else {
            overflowed = true
            return
        }
        waiting.append(Waiting(epoch: epoch, message: message))
        waitingBytes += bytes
    }

    // MARK: Doubt

    /// Something may have been missed, as after a new subscription. A read that is under way is too old to tell.
    mutating func doubt() {
        isLive = false
        if isReading { overflowed = true }
    }

    /// Lets go of what waits; it is read from the log.
    mutating func dropWaiting() {
        guard !waiting.isEmpty else { return }
        waiting.removeAll()
        waitingBytes = 0
        overflowed = true
    }

    /// Redis told a position, asked for when this node stood at `asked`. Returns whether messages should have come by
    /// now or be on their way: if they aren't here in a moment, ``doubt()``.
    mutating func checked(_ told: RecoveryPoint, asked: RecoveryPoint) -> Bool {
        // An answer about another epoch than ours of today says nothing.
        guard let epoch, asked.epoch == epoch, !former.contains(told.epoch) else { return false }
        guard told.epoch == epoch else {
            isLive = false
            return false
        }
        // Less than what was had before: the read that follows starts a new epoch.
        if told.offset < asked.offset { isLive = false }
        return told.offset > last
    }

    // MARK: Reading the log

    /// The log is being read from ``position`` on.
    mutating func readStarted() {
        isReading = true
        for index in waiting.indices { waiting[index].isOlderThanRead = true }
    }

    /// That failed; ``wantsRead`` again.
    mutating func readFailed() { isReading = false }

    /// The answer of the read.
    mutating func readAnswered(_ page: Page, lost: Loss = { _ in }, deliver: Delivery) -> Outcome {
        isReading = false
        var outcome = Outcome()
        guard let epoch else {
            // The first position: what was before it is the past.
            open(page, lost, deliver)
            return outcome
        }
        if page.epoch != epoch {
            // What waits of the old epoch is the last that there is of it.
            let old = take(epoch)
            merge(log: [], old, until: old.last?.offset ?? last, &outcome, lost, deliver)
            forget(epoch)
            former.removeAll { $0 == page.epoch }
            self.epoch = page.epoch
            last = 0
            outcome.changedEpoch = true
            lost(nil)
        }
        let end = page.isWhole ? page.top : max(page.reach ?? 0, page.messages.last?.offset ?? last)
        merge(log: page.messages, take(page.epoch), until: end, &outcome, lost, deliver)
        settle(isWhole: page.isWhole)
        return outcome
    }

    private mutating func open(_ page: Page, _ lost: Loss, _ deliver: Delivery) {
        epoch = page.epoch
        last = page.top
        var ignored = Outcome()
        merge(log: [], take(page.epoch), until: last, &ignored, lost, deliver)
        settle(isWhole: true)
    }

    private mutating func settle(isWhole: Bool) {
        for late in waiting where late.isOlderThanRead && late.epoch != epoch { forget(late.epoch) }
        waiting.removeAll { former.contains($0.epoch) }
        waitingBytes = waiting.reduce(0) { $0 + $1.message.json.readableBytes }
        isLive = isWhole && waiting.isEmpty && !overflowed
        overflowed = false
    }

    /// An epoch is over.
    private mutating func forget(_ epoch: String) {
        guard !former.contains(epoch) else { return }
        former.append(epoch)
        if former.count > Self.formerLimit { former.removeFirst() }
    }

    /// Takes what waits of an epoch out.
    private mutating func take(_ epoch: String) -> [OrderedMessage] {
        guard !waiting.isEmpty else { return [] }
        let taken = waiting.filter { $0.epoch == epoch }.map(\.message)
        waiting.removeAll { $0.epoch == epoch }
        waitingBytes = waiting.reduce(0) { $0 + $1.message.json.readableBytes }
        return taken
    }

    /// Delivers a part of the log and what waited, in order. Up to `end` the log is all that there is; from there on
    /// what isn't here waits for the next read.
    private mutating func merge(
        log: [OrderedMessage], _ live: [OrderedMessage], until end: UInt64, _ outcome: inout Outcome,
        _ isLost: Loss, _ deliver: Delivery
    ) {
        var (read, came) = (log[...], live[...])
        while let next = Self.next(&read, &came) {
            guard next.message.offset > last else { continue }
            if next.message.offset > last + 1 {
                // A hole, as far as the log was read.
                let lost = min(end, next.message.offset - 1)
                if lost > last {
                    outcome.unrecoverable += lost - last
                    isLost(lost - last)
                    last = lost
                }
            }
            guard next.message.offset == last + 1, let epoch else {
                keep(next.message, epoch ?? "")
                continue
            }
            last = next.message.offset
            if next.isRead { outcome.healed += 1 }
            deliver(next.message, epoch)
        }
        if end > last {
            outcome.unrecoverable += end - last
            isLost(end - last)
            last = end
        }
    }

    /// The one with the lower offset; of two with the same the live one, and the other is dropped.
    private static func next(
        _ read: inout ArraySlice<OrderedMessage>, _ came: inout ArraySlice<OrderedMessage>
    ) -> (message: OrderedMessage, isRead: Bool)? {
        guard let old = read.first else { return came.popFirst().map { ($0, false) } }
        guard let live = came.first else { return read.popFirst().map { ($0, true) } }
        if old.offset < live.offset { return read.popFirst().map { ($0, true) } }
        if old.offset == live.offset { read.removeFirst() }
        return came.popFirst().map { ($0, false) }
    }
}
