import ConduitCore
import ConduitWire
import NIOCore

/// Reading past NIO while a shard is flooded: the way in which network drivers poll under load and wait for interrupts
/// otherwise.
///
/// NIO takes about one and a half microseconds a read beyond the kernel's work, which counts when there are a hundred
/// thousand reads a second. So a turn with many reads makes the shard poll: whoever NIO reads from next is not read from by
/// NIO any more, but by the shard, which asks its own ``ReadyPoll`` once a turn. Between two turns NIO has its look at
/// everything else: other sockets, tasks, timers. A few quiet turns end it.
extension Shard {
    /// A turn with as many reads begins it.
    private static let floodedReads = 16
    /// So many turns in a row with fewer reads than this end it.
    private static let quietReads = 4
    private static let quietLimit = 8

    /// At the end of a turn: whether to go on, to begin, or to stop.
    func adaptPolling() {
        let reads = turnReads
        turnReads = 0
        guard isPolling else {
            if reads >= Self.floodedReads, poll != nil, yield?.isReady == true { isPolling = true }
            if isPolling { yield?.schedule() }
            return
        }
        quietTurns = reads < Self.quietReads ? quietTurns + 1 : 0
        if quietTurns < Self.quietLimit { yield?.schedule() } else { stopPolling() }
    }

    /// The loop has looked at its sockets: the next turn begins.
    func goOn() {
        beginTurn()
        guard isPolling, let poll else { return }
        // What came before they were taken over is told by no edge.
        let newlyPolled = self.newlyPolled
        self.newlyPolled.removeAll(keepingCapacity: true)
        for slot in newlyPolled { if let client = clients[slot] { readDirectly(from: slot, client.descriptor) } }
        poll.forEachReady { slot, socket in readDirectly(from: slot, socket) }
    }

    /// NIO has read from a client while the shard polls: from now on the shard does.
    func takeOver(_ client: Client) {
        guard client.descriptor >= 0, !client.isPolled, client.holds == 0, !client.isPaused, client.isOpen else {
            return
        }
        client.isPolled = true
        polled.insert(client.slot)
        newlyPolled.append(client.slot)
        stopReading(client)
    }

    private func stopPolling() {
        isPolling = false
        quietTurns = 0
        let all = polled
        polled = []
        newlyPolled = []
        for slot in all { if let client = clients[slot] { giveBack(client) } }
    }

    /// NIO reads from a client again: what its socket has is found by level, not by edge, so nothing is missed.
    private func giveBack(_ client: Client) {
        guard client.isPolled else { return }
        client.isPolled = false
        guard client.holds == 0, !client.isPaused else { return }
        try? client.context?.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    private func readDirectly(from slot: Int32, _ socket: Int32) {
        // The slot may be another client's by now; and what NIO reads from is not read from here, or the order of what
        // was read would be lost.
        guard let client = clients[slot], client.descriptor == socket, client.isPolled, client.holds == 0,
            !client.isPaused
        else { return }
        var memory = received
        received = []
        let count = ReadyPoll.receive(from: socket, into: &memory)
        if count > 0 {
            turnReads += 1
            statistics.polledReads += 1
            client.lastSeen = now
            statistics.bytesIn += UInt64(count)
            read(memory.span.extracting(0..<count), from: client)
        }
        received = memory
        // There may be more, of which no edge will tell.
        if count == memory.count { giveBack(client) }
    }
}
