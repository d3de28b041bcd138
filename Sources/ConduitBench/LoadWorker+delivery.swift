import NIOCore

/// The hot path: a mark was found in a frame.
extension LoadWorker {
    func deliver(_ mark: DeliveryMark, to connection: LoadConnection, at now: UInt64) {
        let publisher = Int(mark.publisher)
        guard publisher < layout.publishers, layout.room(ofPublisher: publisher) == connection.room else {
            return book.countInvalid()
        }
        guard mark.number > 0 else {
            connection.probes.insert(mark.publisher)
            return
        }
        guard connection.role != .churner else {
            figures.churn.received += 1
            return
        }
        let place = layout.place(ofPublisher: publisher)
        guard place < connection.trackers.count else { return book.countInvalid() }
        let isComplete = book.receive(
            mark, room: connection.room, node: connection.node, tracker: &connection.trackers[place], at: now)
        if isComplete { hasAdvanced(publisher) }
    }

    /// More of a publisher's messages are with everybody on this loop: its owner hears of it at the end of the turn.
    func hasAdvanced(_ publisher: Int) {
        advanced.append(publisher)
        scheduleEndOfTurn()
    }

    func memberLeft(_ connection: LoadConnection) {
        guard connection.role.receives else { return }
        for publisher in book.memberLeft(connection.room) { hasAdvanced(publisher) }
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

    /// All that was counted here.
    var allFigures: LoadFigures {
        var all = figures
        all.received = book.received
        all.duplicated = book.duplicated
        all.reordered = book.reordered
        all.invalid += book.invalid
        all.bytes = book.bytes
        all.measuredReceived = book.measuredReceived
        all.measuredBytes = book.measuredBytes
        all.latency = book.latency
        all.crossNodeLatency = book.crossNodeLatency
        return all
    }

    /// How much each publisher of this loop has sent.
    var sentByPublisher: [(id: Int, sent: UInt32)] { publishers.map { ($0.id, $0.sent) } }
}
