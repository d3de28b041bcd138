import NIOCore

/// The hot path: a mark was found in a frame.
extension LoadWorker {
    func deliver(_ mark: DeliveryMark, to connection: LoadConnection, at now: UInt64) {
        let publisher = Int(mark.publisher)
        guard publisher < layout.publishers, layout.room(ofPublisher: publisher) == connection.room else {
            figures.invalid += 1
            return
        }
        guard mark.number > 0 else {
            connection.probes.insert(mark.publisher)
            return
        }
        if connection.role == .churner {
            figures.churn.received += 1
            return
        }
        let place = layout.place(ofPublisher: publisher)
        guard place < connection.trackers.count else {
            figures.invalid += 1
            return
        }
        switch connection.trackers[place].receive(mark.number) {
        case .new: break
        case .reordered: figures.reordered += 1
        case .duplicate:
            figures.duplicated += 1
            return
        }
        figures.received += 1
        if now >= measureStart, now < measureEnd { figures.measuredReceived += 1 }
        if mark.due >= measureStart, mark.due < measureEnd {
            let latency = now > mark.due ? now - mark.due : 0
            if publisherNodes[publisher] == connection.node {
                figures.latency.record(nanoseconds: latency)
            } else {
                figures.crossNodeLatency.record(nanoseconds: latency)
            }
        }
        guard windowSize > 0 else { return }
        if windows[publisher].receive(mark.number, members: roomMembers[connection.room]) {
            advanced.append(publisher)
            scheduleEndOfTurn()
        }
    }

    /// A member is gone: its room waits for one less.
    func memberLeft(_ connection: LoadConnection) {
        guard connection.role.receives, connection.room < roomMembers.count, roomMembers[connection.room] > 0 else {
            return
        }
        roomMembers[connection.room] -= 1
        guard windowSize > 0 else { return }
        for place in 0..<layout.publishers(inRoom: connection.room) {
            let publisher = layout.publisher(inRoom: connection.room, place: place)
            if windows[publisher].advance(members: roomMembers[connection.room]) {
                advanced.append(publisher)
                scheduleEndOfTurn()
            }
        }
    }

    /// What the members of this loop should have had, and what of it they lack, when each publisher has sent so much.
    func missing(sent: [UInt32]) -> (expected: UInt64, lost: UInt64) {
        var expected: UInt64 = 0
        var lost: UInt64 = 0
        for connection in connections where connection.wasReady && connection.role.receives {
            for place in connection.trackers.indices {
                let publisher = layout.publisher(inRoom: connection.room, place: place)
                guard publisher < sent.count else { continue }
                expected += UInt64(sent[publisher])
                lost += connection.trackers[place].lost(of: sent[publisher])
            }
        }
        return (expected, lost)
    }

    /// How much each publisher of this loop has sent.
    var sentByPublisher: [(id: Int, sent: UInt32)] { publishers.map { ($0.id, $0.sent) } }
}
