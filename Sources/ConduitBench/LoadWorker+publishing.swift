import NIOCore

/// Messages go out when they are due (open loop) or when an earlier one is with everybody (closed loop).
extension LoadWorker {
    /// What a worker is told when the run begins.
    struct Start: Sendable {
        var at: UInt64
        var measureStart: UInt64
        var measureEnd: UInt64
        /// The number of each node.
        var nodes: [String: UInt16]
        /// The node of each publisher.
        var publisherNodes: [UInt16]
        /// For each room the loops that have members.
        var loopsOfRooms: [[Int]]
    }

    func begin(_ start: Start) {
        if case .window(let window) = plan.load { windowSize = window }
        book.begin(
            measureStart: start.measureStart, measureEnd: start.measureEnd, publisherNodes: start.publisherNodes,
            window: windowSize > 0 ? windowSize : nil)
        for connection in connections { connection.node = start.nodes[connection.nodeName ?? ""] ?? 0 }
        nextTick = 0
        isPublishing = true
        let ids = publishers.filter { $0.connection.state == .ready }.map(\.id)
        switch plan.load {
        case .rate(let rate):
            schedule = OpenLoopSchedule(start: start.at, rate: rate, publishers: layout.publishers, own: ids)
            scheduleSending()
        case .window(let window):
            for slot in publishers.indices {
                let loops = start.loopsOfRooms[layout.room(ofPublisher: publishers[slot].id)]
                publishers[slot].doneByLoop = (0..<peers.count).map { loops.contains($0) ? 0 : .max }
                publishers[slot].sentAt = Array(repeating: 0, count: window)
            }
            loop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(start.at)) {
                for slot in self.publishers.indices { self.refill(slot) }
                self.flushDirty()
            }
        }
        if plan.mode == .churn { beginChurn(at: start.at) }
    }

    /// No message is sent from now on; what is under way is still counted.
    func stopPublishing(measureEnd end: UInt64) {
        isPublishing = false
        schedule = nil
        churnSchedule = nil
        book.end(at: end)
    }

    // MARK: Open loop

    private func scheduleSending() {
        guard isPublishing, let due = schedule?.nextDue, due < book.measureEnd else { return }
        // Not sooner than this, so that the loop looks at its sockets while it catches up.
        let soonest = now + 10_000
        loop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(max(due, soonest))) { self.sendDue() }
    }

    private func sendDue() {
        guard isPublishing else { return }
        let now = self.now
        var budget = 1000
        while budget > 0, let (publisher, due) = schedule?.next(at: now), due < book.measureEnd {
            budget -= 1
            if due >= book.measureStart { figures.lateness.record(nanoseconds: now - due) }
            let slot = self.slot(ofPublisher: publisher)
            guard publishers[slot].connection.state == .ready, publishers[slot].connection.takesMore,
                publishers[slot].sent < .max
            else {
                figures.held += 1
                continue
            }
            publish(slot, due: due)
        }
        flushDirty()
        scheduleSending()
    }

    /// The place of one of this loop's publishers; they are opened in the order of their numbers.
    private func slot(ofPublisher publisher: Int) -> Int { publisher / peers.count }

    private func publish(_ slot: Int, due: UInt64) {
        publishers[slot].sent += 1
        let mark = DeliveryMark(publisher: UInt32(publishers[slot].id), number: publishers[slot].sent, due: due)
        let connection = publishers[slot].connection
        publishers[slot].template.write(mark, to: &connection.out)
        markDirty(connection)
        figures.sent += 1
        if book.isMeasured(due) { figures.measuredSent += 1 }
    }

    // MARK: Closed loop

    private func refill(_ slot: Int) {
        guard isPublishing, publishers[slot].connection.state == .ready,
            publishers[slot].doneByLoop.contains(where: { $0 != .max })
        else { return }
        let now = self.now
        guard now < book.measureEnd else { return }
        while publishers[slot].sent - publishers[slot].done < UInt32(windowSize), publishers[slot].sent < .max {
            publish(slot, due: now)
            publishers[slot].sentAt[Int(publishers[slot].sent) % windowSize] = now
        }
    }

    /// A loop says how far a publisher's messages are with all its members.
    private func apply(_ publisher: Int, done: UInt32, from loop: Int) {
        let slot = self.slot(ofPublisher: publisher)
        // What a server sends back could name a publisher that never came to be.
        guard slot < publishers.count, loop < publishers[slot].doneByLoop.count else { return }
        publishers[slot].doneByLoop[loop] = done
        let all = publishers[slot].doneByLoop.reduce(UInt32.max, min)
        guard all > publishers[slot].done else { return }
        publishers[slot].done = min(all, publishers[slot].sent)
        refill(slot)
    }

    /// Everything that this turn brought: the owners of publishers hear of it, and all is written.
    func endTurn() {
        isTurnScheduled = false
        var batches: [[(publisher: Int, done: UInt32)]] = []
        for publisher in advanced {
            let done = book.done(publisher)
            let owner = publisher % peers.count
            guard owner != index else {
                apply(publisher, done: done, from: index)
                continue
            }
            if batches.isEmpty { batches = Array(repeating: [], count: peers.count) }
            batches[owner].append((publisher, done))
        }
        advanced.removeAll(keepingCapacity: true)
        let index = self.index
        for (owner, batch) in batches.enumerated() where !batch.isEmpty {
            peers[owner].execute { worker in
                for (publisher, done) in batch { worker.apply(publisher, done: done, from: index) }
                worker.flushDirty()
            }
        }
        flushDirty()
    }

    /// Closed loop: gives up messages that don't arrive, so that the window opens again.
    func giveUpLost(_ now: UInt64) {
        guard windowSize > 0, isPublishing else { return }
        let limit = UInt64(plan.lossTimeout * 1e9)
        for slot in publishers.indices where publishers[slot].done < publishers[slot].sent {
            let oldest = publishers[slot].sentAt[Int(publishers[slot].done + 1) % windowSize]
            guard now > oldest + limit else { continue }
            let publisher = publishers[slot].id
            let number = publishers[slot].done + 1
            figures.timeouts += 1
            for (peer, done) in publishers[slot].doneByLoop.enumerated() where done < number {
                peers[peer].execute { $0.skip(publisher, through: number) }
            }
        }
    }

    private func skip(_ publisher: Int, through number: UInt32) {
        book.skip(publisher, through: number)
        hasAdvanced(publisher)
    }

    // MARK: Before the run

    /// Publishers that are ready: their numbers and their nodes.
    var readyPublishers: [(id: Int, node: String)] {
        publishers.filter { $0.connection.state == .ready }.map { ($0.id, $0.connection.nodeName ?? "") }
    }

    /// How many connections each node holds.
    var connectionsByNode: [String: Int] {
        var counts: [String: Int] = [:]
        for connection in connections where connection.state == .ready {
            counts[connection.nodeName ?? "", default: 0] += 1
        }
        return counts
    }

    /// Counts who is there.
    func countMembers() -> [UInt32] {
        var members = [UInt32](repeating: 0, count: layout.rooms)
        for connection in connections where connection.state == .ready && connection.role.receives {
            members[connection.room] += 1
        }
        book.count(members: members)
        return members
    }

    /// Sends a message with number 0 from each of these, where they are on this loop.
    func probe(_ ids: [Int]) {
        let now = self.now
        for id in ids where id % peers.count == index {
            let slot = self.slot(ofPublisher: id)
            guard publishers[slot].connection.state == .ready else { continue }
            publishers[slot].template.write(
                DeliveryMark(publisher: UInt32(id), number: 0, due: now), to: &publishers[slot].connection.out)
            markDirty(publishers[slot].connection)
        }
        flushDirty()
    }

    /// Members that have not had a probe of every one in their room; `probers` by room.
    func membersWaiting(for probers: [[UInt32]]) -> Int {
        connections.count { connection in
            connection.state == .ready && connection.role.receives
                && !probers[connection.room].allSatisfy { connection.probes.contains($0) }
        }
    }
}
