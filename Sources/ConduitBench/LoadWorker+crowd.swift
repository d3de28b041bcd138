import NIOCore

/// All connections of this loop come into one room and listen to what is said of the others.
extension LoadWorker {
    /// Lets everybody in: connection `k` of all loops at `k / rate`, or all at once.
    func beginCrowd(at start: UInt64) {
        book.begin(measureStart: start, measureEnd: .max, publisherNodes: [], window: nil)
        crowdStart = start
        crowdNext = 0
        loop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(start)) { self.pumpCrowd(self.now) }
    }

    func pumpCrowd(_ now: UInt64) {
        guard crowdStart > 0, now >= crowdStart, crowdNext < connections.count else { return }
        // So many in one turn that answers are read meanwhile.
        var budget = 500
        while crowdNext < connections.count, budget > 0 {
            var due = crowdStart
            if let rate = plan.joinRate { due += UInt64(Double(crowdNext * peers.count + index) / rate * 1e9) }
            guard due <= now else { break }
            let connection = connections[crowdNext]
            crowdNext += 1
            budget -= 1
            guard connection.state == .ready else { continue }
            // With a rate, this loop's own lateness of some milliseconds is not the server's.
            connection.attendance.askedAt = plan.joinRate == nil ? due : now
            let text = "{\"type\":\"join_room\",\"data\":{\"room\":\"\(plan.room(0))\",\"presence\":true}}"
            ClientFrame.writeText(text, mask: mask, to: &connection.out)
            connection.flush()
        }
        guard crowdNext < connections.count, budget == 0 else { return }
        loop.assumeIsolated().execute { self.pumpCrowd(self.now) }
    }

    /// A message to one of the crowd. Thousands of large ones may come: none is read but for its type and its count.
    func hear(_ buffer: ByteBuffer, _ range: Range<Int>, on connection: LoadConnection, at now: UInt64) {
        if ServerText.hasType("presence_diff", buffer, range) {
            figures.crowd.diffs += 1
            figures.crowd.diffBytes += UInt64(range.count)
            if let count = ServerText.lastNumber("count", buffer, range) { connection.attendance.told(count, at: now) }
            return
        }
        if ServerText.hasType("room_joined", buffer, range), connection.attendance.joinedAt == 0 {
            connection.attendance.joinedAt = now
            let asked = connection.attendance.askedAt
            figures.crowd.joining.record(nanoseconds: now > asked ? now - asked : 0)
            figures.crowd.joined += 1
            return
        }
        connection.control(ServerText(buffer.getString(at: range.lowerBound, length: range.count) ?? ""), now)
    }

    /// What this loop's members have been told so far, when so many are to be there.
    func crowd(of total: Int) -> CrowdFigures {
        var crowd = figures.crowd
        var lastJoin: UInt64 = 0
        var lastTold: UInt64 = 0
        for connection in connections where connection.state == .ready {
            let attendance = connection.attendance
            crowd.members += 1
            crowd.mostDiffsASecond = max(crowd.mostDiffsASecond, attendance.mostASecond)
            lastJoin = max(lastJoin, attendance.joinedAt)
            if attendance.joinedAt > 0, attendance.count == total {
                crowd.settled += 1
                lastTold = max(lastTold, attendance.toldAt, attendance.joinedAt)
            }
        }
        if lastJoin > crowdStart { crowd.joinSeconds = Double(lastJoin - crowdStart) / 1e9 }
        if lastTold > crowdStart, crowd.settled == crowd.members {
            crowd.settleSeconds = Double(lastTold - crowdStart) / 1e9
        }
        return crowd
    }

    /// An answer to a message; its `id` is the message's mark.
    func acknowledge(_ buffer: ByteBuffer, _ range: Range<Int>, at now: UInt64) {
        guard let index = DeliveryMark.find(in: buffer, range: range), let mark = DeliveryMark.read(buffer, at: index)
        else { return book.countInvalid() }
        // Number 0 is a probe from before the run.
        guard mark.number > 0 else { return }
        figures.acks += 1
        if book.isMeasured(mark.due) { figures.ackLatency.record(nanoseconds: now > mark.due ? now - mark.due : 0) }
    }
}
