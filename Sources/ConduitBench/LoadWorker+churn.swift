import NIOCore

/// Connections that come, join the room, stay a little, leave and close, while the others receive.
extension LoadWorker {
    func beginChurn(at start: UInt64) {
        // Connection `k` of all loops is due at `k / rate`; this loop opens each that falls to it.
        churnSchedule = OpenLoopSchedule(
            start: start, rate: plan.churnRate, publishers: peers.count, own: [index])
    }

    func pumpChurn(_ now: UInt64) {
        while let due = churnSchedule?.next(at: now), due.due < book.measureEnd {
            guard churnersUnderWay < max(1, plan.churners / peers.count) else {
                figures.churn.skipped += 1
                continue
            }
            figures.churn.started += 1
            churnersUnderWay += 1
            let target = Int(figures.churn.started) % endpoints.count
            churners.append(
                start(ConnectionSpec(role: .churner, room: 0, target: target, publisher: nil), joins: true, now))
        }
        guard !churners.isEmpty else { return }
        churners.removeAll { churner in
            switch churner.state {
            case .opening, .preparing: return false
            case .ready:
                guard now >= churner.leavesAt else { return false }
                churner.leave(room: true)
                churner.leavesAt = now + 2_000_000_000
                return false
            case .leaving:
                // The server closes after its answer; it gets two seconds for it.
                if now >= churner.leavesAt { churner.fail("the server did not close in time") }
                return churner.state == .closed
            case .closed: return true
            }
        }
    }
}
