import ConduitCore
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

/// Ending connections: by the server, by the peer, by time.
extension Shard {
    /// How long a peer may take to answer a close frame, and bytes before it to drain, in milliseconds.
    private static let closeGrace: Int64 = 2_000
    /// How often a part of the clients is looked at, and how many parts there are.
    private static let sweepInterval = TimeAmount.milliseconds(100)
    private static let sweepParts = 10
    /// How often a client whose socket takes nothing is looked at, in milliseconds.
    static let blockedInterval: Int64 = 500

    /// Ends a connection with a reason: the close frame goes out behind everything that is queued before it.
    func close(_ client: Client, _ reason: CloseReason, isSentAway: Bool = false) {
        guard client.isOpen else {
            // Whoever ends it for another reason now wants nothing more of it.
            if !isSentAway { refuseLateMessages(of: client) }
            return
        }
        client.closeReason = reason
        // First of all: whatever writing brings about must find it closing.
        client.state = .closing(deadline: now + Self.closeGrace)
        closingCount += 1
        clients.look(at: client, by: now + Self.closeGrace)
        if isSentAway { takeLateMessages(of: client) }
        retire(client, isSentAway: isSentAway)
        enqueue(for: client) { $0.writeImmutableBuffer(FrameEncoder.close(reason)) }
        if reason == .slowConsumer {
            logger.debug("slow consumer", metadata: [LogKey.client: "\(client.id)"])
        }
    }

    /// The peer sent a close frame: answer it once and end the connection when the answer is written.
    func peerCloses(_ client: Client, code: UInt16?) {
        guard let context = client.context else { return }
        if case .closed = client.state { return }
        let wasOpen = client.isOpen
        refuseLateMessages(of: client)
        client.state = .closing(deadline: now + Self.closeGrace)
        clients.look(at: client, by: now + Self.closeGrace)
        if wasOpen {
            closingCount += 1
            client.closeReason = .normal
            retire(client)
            let answer = code.map { FrameEncoder.close(code: $0) } ?? FrameEncoder.emptyClose
            enqueue(for: client) { $0.writeImmutableBuffer(answer) }
        }
        // Behind the flush of this turn, so that the answer is in the socket before it is closed.
        let bound = NIOLoopBound(context, eventLoop: eventLoop)
        eventLoop.execute { bound.value.close(promise: nil) }
    }

    /// Closes a connection of this shard; nothing happens when it is gone.
    func disconnect(_ id: ClientID, _ reason: CloseReason) {
        if let client = client(id) { close(client, reason) }
    }

    /// Ends the connections of a user or client, and returns how many that were. Who was told to go elsewhere and hasn't gone
    /// yet is on its way out already: it says nothing more.
    @discardableResult
    func disconnect(_ target: SendTarget, _ reason: CloseReason) -> Int {
        for client in lateClients(of: target) { refuseLateMessages(of: client) }
        let open = openClients(of: target)
        for client in open { close(client, reason) }
        return open.count
    }

    func openClients(of target: SendTarget) -> [Client] {
        switch target {
        case .user(let user): (users[user] ?? []).compactMap { clients[$0] }.filter(\.isOpen)
        case .client(let id): client(id).map { $0.isOpen ? [$0] : [] } ?? []
        }
    }

    // MARK: Time

    /// Begins to look after the clients' times: one timer for all, a tenth of the clients at a time.
    func startSweeping() {
        expectedSweep = eventLoop.now.microseconds + Self.sweepInterval.nanoseconds / 1_000
        sweeper = eventLoop.assumeIsolated().scheduleTask(in: Self.sweepInterval) { self.sweep() }
    }

    private func sweep() {
        let now = self.now
        statistics.loopLag.record(microseconds: max(0, eventLoop.now.microseconds - expectedSweep))
        startSweeping()
        sweepAwaited(now)
        sweepQuestions(now)
        sweepTraffic(now)
        let part = (clients.slotCount + Self.sweepParts - 1) / Self.sweepParts
        for _ in 0..<part {
            if sweepPosition >= clients.slotCount { sweepPosition = 0 }
            if let client = clients.due(at: sweepPosition, now) {
                clients.looked(at: client, next: check(client, now))
            }
            sweepPosition += 1
        }
    }

    /// Does what a client's times ask for, and returns when to look again (monotonic, ms).
    private func check(_ client: Client, _ now: Int64) -> Int64 {
        guard let context = client.context else { return now + Self.blockedInterval }
        if case .closing(let deadline) = client.state {
            if now >= deadline { context.close(promise: nil) }
            return max(deadline, now + Self.blockedInterval)
        }
        if hasEnded(client, now) {
            close(client, .tokenExpired)
            return now + Self.closeGrace
        }
        if now - client.lastSeen >= Int64(configuration.idleTimeoutMilliseconds) {
            close(client, .noPong)
            return now + Self.closeGrace
        }
        if let since = client.unfinishedSince, now - since >= Int64(configuration.readTimeoutMilliseconds) {
            statistics.count(.readTimeout)
            close(client, .badRequest)
            return now + Self.closeGrace
        }
        if client.backlog != nil { feed(client) }
        let pending = clients.descriptors[Int(client.slot)] < 0 ? pendingBytes(of: context) : 0
        let isBlocked = pending > 0 || !context.channel.isWritable
        if !isBlocked {
            client.blockedSince = nil
            note(client.backlog?.bytes ?? 0, for: client)
        } else {
            note(pending + (client.backlog?.bytes ?? 0), for: client)
            noteProgress(of: client, pending: pending, now)
            if let since = client.blockedSince, now - since >= Int64(configuration.writeTimeoutMilliseconds) {
                closeSlow(client, .writeTimeout)
                return now + Self.closeGrace
            }
        }
        if now >= client.nextPing {
            // A second ping behind an unanswered one has the same number: the answer that comes next is the first one's.
            if !client.owesPong { client.pingedAt = max(1, eventLoop.now.microseconds) }
            let number = client.pingNumber
            answer(client) { FrameEncoder.writePing(number, to: &$0) }
            client.nextPing = now + Int64(configuration.pingIntervalMilliseconds)
        }
        return isBlocked ? now + Self.blockedInterval : client.nextDue(configuration)
    }
}
