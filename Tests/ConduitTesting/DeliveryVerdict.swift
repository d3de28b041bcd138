/// What a ``DeliveryJudge`` makes of its evidence, for all rooms of one kind.
package struct DeliveryVerdict: Sendable {
    /// Messages, and how many of them were acknowledged.
    package var published = 0
    package var acknowledged = 0
    /// Acknowledged after they had been sent more than once.
    package var repeated = 0
    /// Deliveries that were owed.
    package var owed = 0
    package var received = 0
    /// Acknowledged and never received, and nobody was told.
    package var lost = 0
    /// Ordered rooms: the same, and the client was told (another epoch, trimmed).
    package var lostAndTold = 0
    /// Fast rooms: the last words of a node that was killed.
    package var lostWithNode = 0
    package var duplicated = 0
    /// Ordered rooms: received twice, because the store that remembers keys was lost between; the client was told.
    package var duplicatedOverEpochs = 0
    /// After a later one of the same publisher; in ordered rooms, also after a higher offset.
    package var reordered = 0
    /// Ordered rooms: offsets that were left out without a word.
    package var holes = 0
    /// Ordered rooms: clients, or a client and an ack, that disagree on a message's offset, and all else that the
    /// protocol rules out.
    package var contradictions = 0
    /// What was found, in words; the first few of each.
    package var examples: [String] = []
    /// Of messages that the window holds, from sending to reading.
    package var local = LatencySample()
    package var cross = LatencySample()
    package var acks = LatencySample()

    package init() {}

    /// Nothing is doubled, out of order or against the protocol.
    package var isConsistent: Bool { duplicated == 0 && reordered == 0 && holes == 0 && contradictions == 0 }

    fileprivate mutating func example(_ what: @autoclosure () -> String, of count: Int) {
        if count <= 5 { examples.append(what()) }
    }
}

/// Some durations, in microseconds.
package struct LatencySample: Sendable, CustomStringConvertible {
    private var values: [Int] = []
    private var isSorted = true

    package init() {}

    package var count: Int { values.count }

    package mutating func add(_ microseconds: Int) {
        values.append(microseconds)
        isSorted = false
    }

    package mutating func sort() {
        if !isSorted { values.sort() }
        isSorted = true
    }

    /// In milliseconds; `nil` when there is nothing. Sort first.
    package func percentile(_ part: Double) -> Double? {
        guard !values.isEmpty else { return nil }
        return Double(values[min(values.count - 1, Int(Double(values.count) * part))]) / 1_000
    }

    package var description: String {
        func text(_ value: Double?) -> String {
            guard let value else { return "-" }
            return value < 10 ? "\((value * 10).rounded() / 10)" : "\(Int(value.rounded()))"
        }
        return "\(text(percentile(0.5))) / \(text(percentile(0.99))) / \(text(percentile(1)))"
    }
}

extension DeliveryJudge {
    /// Judges all rooms of a kind. Latencies are of messages sent within `window`; nodes in `excluding` were stopped
    /// then, so neither their publishers nor their listeners count for them.
    package func verdict(
        _ kind: RoomKind, window: Range<Int> = 0..<Int.max, excluding stopped: Set<Int> = []
    ) -> DeliveryVerdict {
        var verdict = DeliveryVerdict()
        var byRoom: [Int: [(message: Message, publication: Publication)]] = [:]
        for (message, publication) in publications where rooms[message.room] == kind {
            verdict.published += 1
            guard let acked = publication.ackedAt else { continue }
            verdict.acknowledged += 1
            if publication.attempts > 1 { verdict.repeated += 1 }
            if window.contains(publication.sentAt), !stopped.contains(publication.node) {
                verdict.acks.add(acked - publication.sentAt)
            }
            byRoom[message.room, default: []].append((message, publication))
        }
        for membership in memberships where rooms[membership.room] == kind {
            let due = byRoom[membership.room] ?? []
            switch kind {
            case .fast: judgeFast(membership, due, &verdict)
            case .ordered: judgeOrdered(membership, due, &verdict)
            }
            addLatencies(membership, window, stopped, &verdict)
        }
        if kind == .ordered { compareOffsets(&verdict) }
        for what in contradictions {
            verdict.contradictions += 1
            verdict.example(what, of: verdict.contradictions)
        }
        verdict.local.sort()
        verdict.cross.sort()
        verdict.acks.sort()
        return verdict
    }

    private typealias Due = [(message: Message, publication: Publication)]

    // MARK: Fast rooms

    private func judgeFast(_ membership: Membership, _ due: Due, _ verdict: inout DeliveryVerdict) {
        var seen: Set<Message> = []
        var last: [Int: Int] = [:]
        for case .delivered(let message, _, _, _) in membership.events {
            guard seen.insert(message).inserted else {
                verdict.duplicated += 1
                verdict.example("listener \(membership.listener) got \(message) twice", of: verdict.duplicated)
                continue
            }
            verdict.received += 1
            if let before = last[message.publisher], message.number < before {
                verdict.reordered += 1
                verdict.example(
                    "listener \(membership.listener) got \(message) after #\(before)", of: verdict.reordered)
            }
            last[message.publisher] = max(last[message.publisher] ?? message.number, message.number)
        }
        guard let from = membership.owedFrom else { return }
        for (message, publication) in due where publication.sentAt >= from {
            let isLast = message.number > last[message.publisher] ?? -1
            // What was under way when the client itself went is nobody's fault.
            if membership.endedAt != nil, isLast { continue }
            verdict.owed += 1
            guard !seen.contains(message) else { continue }
            if orphans.contains(message.publisher), isLast {
                verdict.lostWithNode += 1
            } else {
                verdict.lost += 1
                verdict.example(
                    "listener \(membership.listener) never got \(message), sent at \(publication.sentAt)",
                    of: verdict.lost)
            }
        }
    }

    // MARK: Ordered rooms

    private func judgeOrdered(_ membership: Membership, _ due: Due, _ verdict: inout DeliveryVerdict) {
        var seen: [Message: (offset: Int?, life: Int)] = [:]
        var last: [Int: Int] = [:]
        var position: Int?
        /// How often it was told; offsets may begin anew after it.
        var life = 0
        var wasTold = false
        var lastTold = Int.min
        let who = "listener \(membership.listener)"
        for event in membership.events {
            switch event {
            case .told(let time):
                wasTold = true
                life += 1
                lastTold = max(lastTold, time)
            case .position(let offset):
                position = offset
                wasTold = false
            case .delivered(let message, let offset, _, _):
                if let first = seen[message] {
                    if first.life < life, first.offset != offset, publications[message]?.attempts ?? 1 > 1 {
                        verdict.duplicatedOverEpochs += 1
                    } else {
                        verdict.duplicated += 1
                        verdict.example(
                            "\(who) got \(message) twice (offsets \(first.offset ?? -1), \(offset ?? -1))",
                            of: verdict.duplicated)
                        continue
                    }
                } else {
                    seen[message] = (offset, life)
                    verdict.received += 1
                    if let before = last[message.publisher], message.number < before {
                        verdict.reordered += 1
                        verdict.example("\(who) got \(message) after #\(before)", of: verdict.reordered)
                    }
                    last[message.publisher] = max(last[message.publisher] ?? message.number, message.number)
                }
                guard let offset else { continue }
                if let position, !wasTold {
                    if offset <= position {
                        verdict.reordered += 1
                        verdict.example(
                            "\(who) got offset \(offset) after \(position) (\(message))", of: verdict.reordered)
                    } else if offset > position + 1 {
                        verdict.holes += offset - position - 1
                        verdict.example("\(who) got offset \(offset) after \(position) (\(message))", of: verdict.holes)
                    }
                }
                wasTold = false
                position = offset
            }
        }
        guard let from = membership.owedFrom else { return }
        for (message, publication) in due where publication.sentAt >= from {
            verdict.owed += 1
            guard seen[message] == nil else { continue }
            if lastTold >= publication.sentAt {
                verdict.lostAndTold += 1
            } else {
                verdict.lost += 1
                verdict.example(
                    "\(who) never got \(message), sent at \(publication.sentAt), stored as "
                        + "\(publication.epoch ?? "-")/\(publication.offset ?? -1)", of: verdict.lost)
            }
        }
    }

    /// All who speak of a message's offset say the same, and no two messages have the same one in an epoch.
    private func compareOffsets(_ verdict: inout DeliveryVerdict) {
        struct Place: Hashable {
            var room: Int
            var epoch: String
            var offset: Int
        }
        var places: [Place: Message] = [:]
        var offsets: [Message: Int] = [:]
        func disagree(_ what: String) {
            verdict.contradictions += 1
            verdict.example(what, of: verdict.contradictions)
        }
        // Where the store that remembers keys was lost, a message that was sent again may be there twice.
        let mayDiffer = Set(
            memberships.filter { membership in
                membership.events.contains { if case .told = $0 { true } else { false } }
            }.map(\.room))
        for (message, publication) in publications where rooms[message.room] == .ordered {
            guard let epoch = publication.epoch, let offset = publication.offset else { continue }
            let place = Place(room: message.room, epoch: epoch, offset: offset)
            if let other = places.updateValue(message, forKey: place) {
                disagree("\(message) and \(other) are both stored as \(epoch)/\(offset)")
            }
            offsets[message] = offset
        }
        for membership in memberships where rooms[membership.room] == .ordered {
            for case .delivered(let message, let offset?, _, _) in membership.events {
                guard let other = offsets[message] else {
                    offsets[message] = offset
                    continue
                }
                guard other != offset else { continue }
                if publications[message]?.attempts ?? 1 > 1, mayDiffer.contains(message.room) { continue }
                disagree("\(message) is \(other) and, for listener \(membership.listener), \(offset)")
            }
        }
    }

    // MARK: Times

    private func addLatencies(
        _ membership: Membership, _ window: Range<Int>, _ stopped: Set<Int>, _ verdict: inout DeliveryVerdict
    ) {
        var seen: Set<Message> = []
        for case .delivered(let message, _, let node, let at) in membership.events {
            guard seen.insert(message).inserted, let publication = publications[message],
                window.contains(publication.sentAt), !stopped.contains(node), !stopped.contains(publication.node)
            else { continue }
            if publication.node == node {
                verdict.local.add(at - publication.sentAt)
            } else {
                verdict.cross.add(at - publication.sentAt)
            }
        }
    }
}
