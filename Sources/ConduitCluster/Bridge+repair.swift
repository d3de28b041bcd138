import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

// What this node has missed: asked for, delivered in order, counted.
extension Bridge {
    /// Channels that a request may name; with more of them, everything of the last seconds is asked for.
    private static let namedTopics = 2_048

    /// The longest time between two ticks that counts, in milliseconds.
    private static let longestTick: Int64 = 100

    private var canAsk: Bool {
        switch phase {
        case .asserting, .greeting, .live: !lacksTopics && commands?.isReady == true
        case .alone, .offline, .subscribing, .closed: false
        }
    }

    /// Whether a subscription that was taken away is still to come back. Some never will: nobody wants them any more.
    private var lacksTopics: Bool {
        lostTopics.contains { topic in
            switch topic {
            case .everyone, .control, .node: true
            case .room, .user: interest.state(of: topic) != nil
            }
        }
    }

    // MARK: Asking

    /// Everything that is wanted is confirmed again: whoever may have sent something meanwhile is asked for it.
    func askEverybody() {
        guard catchUp.isActive else { return }
        catchUp.regained(expected.union(directory.living).union(newcomers), now: awake)
        guard !catchUp.isDone, canAsk else { return }
        if toldDegraded { tellRooms(.catchingUp) }
        catchUpTick(now: now)
    }

    /// A node listens that may not have heard the question.
    func listens(_ origin: NodeID) {
        guard catchUp.isActive, origin != node, catchUp.listens(origin, now: awake), canAsk else { return }
        ask(origin)
    }

    /// A node is gone: it won't answer.
    func stopAsking(_ gone: NodeID) {
        if catchUp.repairs[gone] != nil { endRepair(gone, answered: false) }
    }

    func catchUpTick(now: Int64) {
        // When the loop was held up, nobody was silent.
        awake += min(max(0, now - lastTick), Self.longestTick)
        lastTick = now
        if trackerResets != tracker.resets {
            trackerResets = tracker.resets
            forgottenAt = now
        }
        guard catchUp.isActive else { return }
        for due in catchUp.due(now: awake, canAsk: canAsk, canHear: subscriptions?.isReady == true) {
            switch due {
            case .ask(let origin): ask(origin)
            case .giveUp(let origin):
                logger.debug("a node does not say what was missed", metadata: [LogKey.node: "\(origin)"])
                endRepair(origin, answered: false)
            }
        }
    }

    /// With the number of the last message that is known in each channel: nothing comes twice that way. Where none is
    /// known, everything since the channel is followed is missing.
    private func ask(_ origin: NodeID) {
        let holes = catchUp.repairs[origin]?.holes ?? []
        var topics: [BusTopic] = [.everyone, .node(node)]
        let isNamed = interest.count <= Self.namedTopics
        topics += isNamed ? interest.topics.filter(interest.isConfirmed) : Array(holes)
        let incarnation = topics.compactMap { tracker.position($0, origin)?.incarnation }.max() ?? 0
        let now = now
        let wanted = topics.prefix(RepairRequest.maximumTopics).map { topic in
            let position = tracker.position(topic, origin)
            let isKnown = position?.isUnsure == false && position?.incarnation == incarnation
            return RepairRequest.Wanted(
                topic: topic, last: isKnown ? position?.last ?? 0 : 0,
                ageMilliseconds: UInt32(clamping: now - (followedSince(topic) ?? now)))
        }
        let all = isNamed ? nil : UInt32(clamping: now - (provenAt ?? 0))
        let request = RepairRequest(
            request: catchUp.asked(origin, now: awake, clock: now), incarnation: incarnation,
            allMilliseconds: all.map { min($0, .max - 1) }, topics: wanted)
        publishNow(.node(origin), .repair(request))
    }

    /// Since when nothing of a channel was missed without being noticed; `nil` for one that isn't followed.
    private func followedSince(_ topic: BusTopic) -> Int64? {
        let since: Int64? =
            switch topic {
            case .room, .user: interest.followedSince(topic)
            case .everyone, .node(node): serviceSince
            case .control, .node: nil
            }
        return since.map { max($0, forgottenAt) }
    }

    // MARK: Live messages

    /// Whether a message waits until its node has said what is missing before it.
    func waits(_ topic: BusTopic, _ envelope: NodeEnvelope, bytes: Int) -> Bool {
        switch catchUp.admit(topic, envelope, bytes: bytes, now: awake) {
        case .passes: return false
        case .held: return true
        case .begins:
            if canAsk { ask(envelope.origin) }
            return true
        case .overflows:
            endRepair(envelope.origin, answered: false)
            return false
        }
    }

    /// Messages before this one are missing: it waits for them, if they can be had.
    func behindHole(_ topic: BusTopic, _ envelope: NodeEnvelope, bytes: Int) {
        guard catchUp.holdBehindHole(topic, envelope, bytes: bytes, now: awake) else { return accept(topic, envelope) }
        if canAsk { ask(envelope.origin) }
    }

    /// A message that has waited, or that nobody waits with.
    private func accept(_ topic: BusTopic, _ envelope: NodeEnvelope) {
        let mask = interest.shards(of: topic)
        guard mask != 0 || counts(topic) else { return }
        let count = UInt64(envelope.entries.count)
        switch tracker.observe(
            topic, origin: envelope.origin, incarnation: envelope.incarnation, first: envelope.sequence, count: count,
            startsRun: envelope.startsRun)
        {
        case .inOrder: break
        case .duplicate:
            counters.relayDuplicates += count
            return
        case .gap(let missing): missed(missing, in: topic)
        case .malformed: return drop(RelayDrop.malformed)
        }
        dispatch(topic, envelope, mask)
    }

    private func endRepair(_ origin: NodeID, answered: Bool) {
        for held in catchUp.end(origin, answered: answered, now: awake) { accept(held.topic, held.envelope) }
        tellLive()
        needsFlush()
    }

    /// Tells the rooms that they are live, when they are.
    func tellLive() {
        guard owesLive, phase == .live, catchUp.isDone else { return }
        owesLive = false
        tellRooms(.live)
    }

    // MARK: Answers

    /// A message that was missed. A node speaks for itself only.
    func repaired(_ message: RepairedMessage, from answer: NodeEnvelope) {
        let origin = answer.origin
        guard let askedAt = catchUp.heard(origin, request: message.request, now: awake) else {
            return answeredLate(origin)
        }
        guard let envelope = try? NodeEnvelope.decode(message.payload), envelope.origin == origin,
            envelope.incarnation == answer.incarnation, envelope.sequence > 0,
            envelope.kind == .broadcast || envelope.kind == .send
        else { return drop(RelayDrop.badEntry) }
        let topic = message.topic
        guard let since = followedSince(topic) else { return }
        let position = tracker.position(topic, origin)
        let isKnown = position?.isUnsure == false && position?.incarnation == envelope.incarnation
        // Sent before this node listened: nobody here is to have it.
        guard isKnown || askedAt - Int64(message.ageMilliseconds) >= since else { return }
        let count = UInt64(envelope.entries.count)
        switch tracker.observe(
            topic, origin: origin, incarnation: envelope.incarnation, first: envelope.sequence, count: count,
            startsRun: envelope.startsRun)
        {
        case .inOrder: break
        case .duplicate: return
        case .gap(let missing): missed(missing, in: topic)
        case .malformed: return drop(RelayDrop.malformed)
        }
        if !catchUp.delivers(topic, envelope) {
            counters.relayGaps &+= count
            counters.healed &+= count
        }
        dispatch(topic, envelope, interest.shards(of: topic))
    }

    /// What comes after this node has given up can't be put in its place any more: it asks once more. An answer to an
    /// earlier request than the newest is of no use, and no reason for another one.
    private func answeredLate(_ origin: NodeID) {
        if catchUp.repairs[origin] == nil { listens(origin) }
    }

    /// A node has said all that it remembers.
    func repairEnded(_ end: RepairEnd, from answer: NodeEnvelope) {
        guard catchUp.heard(answer.origin, request: end.request, now: awake) != nil else {
            return answeredLate(answer.origin)
        }
        for lost in end.lost where followedSince(lost.topic) != nil {
            let missing = tracker.skip(
                lost.topic, origin: answer.origin, incarnation: answer.incarnation, to: lost.last)
            if missing > 0 { missed(missing, in: lost.topic) }
        }
        endRepair(answer.origin, answered: true)
    }
}
