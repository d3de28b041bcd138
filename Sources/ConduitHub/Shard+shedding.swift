import ConduitCore
package import ConduitWire
package import NIOCore

/// Which clients a node sends to others, and how fast.
package struct ShedOrder: Sendable {
    /// How many; `Int.max` for all, those who come meanwhile too.
    package var count: Int
    /// How many a second at most, unless ``deadline`` needs more.
    package var perSecond: Double
    /// What they are told.
    package var reason: ReconnectReason
    /// The longest time that they are asked to wait before they come back.
    package var delay: TimeAmount
    /// When all of them must have been told.
    package var deadline: NIODeadline?
    /// How many may go in any second, all shards together: ``perSecond`` of the whole node unless something else is said.
    var limit: Int
    /// What counts them, together with those of the other shards.
    var limiter: ShedLimiter
    /// How far the pace is from letting the first one go, 0 to 1: shards that share a slow pace take turns.
    var phase = 0.0

    init(
        count: Int = .max, perSecond: Double, limit: Int? = nil, reason: ReconnectReason, delay: TimeAmount,
        deadline: NIODeadline? = nil, limiter: ShedLimiter = ShedLimiter()
    ) {
        self.count = count
        self.perSecond = perSecond
        self.limit = limit ?? max(1, Int(min(perSecond, 1_000_000_000)))
        self.limiter = limiter
        self.reason = reason
        self.delay = delay
        self.deadline = deadline
    }

    /// Its part for a shard that has so many of the node's clients.
    func share(_ part: Int, of whole: Int, count: Int, phase: Double) -> ShedOrder {
        var share = self
        share.phase = phase
        share.count = count
        share.perSecond = perSecond * Double(part) / Double(max(1, whole))
        return share
    }
}

/// An order that a shard is carrying out.
struct Shedding {
    let order: ShedOrder
    var pace: ShedPace
    /// Clients that are still to be told; `Int.max` for all.
    var left: Int
    /// Where the next one is looked for.
    var cursor: Int
    /// Whether those go too who have come within the last minute.
    var takesYoung: Bool
    var told = 0
    let done: EventLoopPromise<Int>
}

// Clients that are sent to other nodes, one after the other. Who waits for its turn is served as before.
extension Shard {
    private static let shedInterval = TimeAmount.milliseconds(20)
    /// Who has come within this time is left alone while there are others, in milliseconds: it may just have been sent here.
    private static let youth: Int64 = 60_000

    /// Sends clients away; completes with their number when that is done. A drain takes the place of what is under way;
    /// anything else that comes while something is under way does nothing.
    func shed(_ order: ShedOrder) -> EventLoopFuture<Int> {
        let promise = eventLoop.makePromise(of: Int.self)
        guard order.count > 0, !isStopping, shedding == nil || order.reason == .drain else {
            promise.succeed(0)
            return promise.futureResult
        }
        endShedding()
        let deadline = order.deadline.map { Int64($0.uptimeNanoseconds / 1_000_000) }
        shedding = Shedding(
            order: order,
            pace: ShedPace(perSecond: order.perSecond, deadline: deadline, now: clockNow, phase: order.phase),
            left: order.count,
            cursor: Int.random(in: 0...max(0, clients.slotCount - 1), using: &generator),
            takesYoung: order.reason == .drain, done: promise)
        shedNumber &+= 1
        shedSome(shedNumber)
        return promise.futureResult
    }

    /// No more are sent away.
    func endShedding() {
        guard let current = shedding.take() else { return }
        current.done.succeed(current.told)
    }

    private func shedSome(_ number: UInt64) {
        // Another order may have taken its place.
        guard number == shedNumber, var current = shedding else { return }
        let left = min(current.left, openCount)
        var isOver = left == 0
        let now = clockNow
        let wanted = current.pace.take(of: left, now: now)
        let isLate = current.order.reason == .drain && current.pace.isOver(now: now)
        let raised = Double(current.order.limit) * (current.order.reason == .drain ? current.pace.raise : 1)
        let delays = current.order.limiter.take(
            wanted, limit: isLate ? .max : Int(min(raised, 1_000_000_000)),
            delay: current.order.delay.nanoseconds / 1_000_000, now: now)
        var told = 0
        search: while told < delays.count {
            switch nextToShed(&current, waits: !isLate) {
            case .client(let client):
                sendAway(client, current.order.reason, delay: delays[told], hold: isLate ? Self.answerTime : .zero)
                told += 1
            case .waiting: break search
            case .nobody:
                isOver = true
                break search
            }
        }
        // Who waits for answers has no place kept meanwhile: other shards may have somebody for it.
        current.order.limiter.giveBack(delays[told...], now: now)
        current.pace.giveBack(wanted - told)
        current.told += told
        if current.left != .max { current.left -= told }
        shedding = current
        noteTold(told, current.order.limiter)
        if isOver || current.left == 0 { return endShedding() }
        eventLoop.assumeIsolated().scheduleTask(in: Self.shedInterval) { self.shedSome(number) }
    }

    /// Monotonic milliseconds of now, not of when the turn began: a turn may be long.
    private var clockNow: Int64 { Int64(eventLoop.now.uptimeNanoseconds / 1_000_000) }

    /// Notes when those were told, at the latest: behind the writes of this turn.
    private func noteTold(_ told: Int, _ limiter: ShedLimiter) {
        guard told > 0 else { return }
        eventLoop.assumeIsolated().execute { limiter.told(told, now: self.clockNow) }
    }

    private enum Next {
        case client(Client)
        /// All who are left wait for answers.
        case waiting
        case nobody
    }

    /// The next one, going round. `waits`: who is owed answers has its turn later, so that nothing bunches when they come.
    private func nextToShed(_ current: inout Shedding, waits: Bool) -> Next {
        let now = now
        while true {
            var isWaiting = false
            for _ in 0..<clients.slotCount {
                if current.cursor >= clients.slotCount { current.cursor = 0 }
                let client = clients.clients[current.cursor]
                current.cursor += 1
                guard let client, client.isOpen, client.leavesWith == nil else { continue }
                guard current.takesYoung || now - client.connectedMonotonic >= Self.youth else { continue }
                if waits, client.owedAnswers > 0 {
                    let since = client.turnWaitsSince ?? now
                    client.turnWaitsSince = since
                    if now - since < Self.answerTime.nanoseconds / 1_000_000 {
                        isWaiting = true
                        continue
                    }
                }
                return .client(client)
            }
            if isWaiting { return .waiting }
            guard !current.takesYoung else { return .nobody }
            current.takesYoung = true
        }
    }

    private func sendAway(_ client: Client, _ reason: ReconnectReason, delay: Int, hold: TimeAmount) {
        if client.identity.knowsAllEvents {
            queue(EventEncoder.reconnect(afterMilliseconds: delay, reason: reason).frame, for: client)
        }
        statistics.shed[reason.rawValue, default: 0] += 1
        closeWhenAnswered(client, .shutdown, hold: hold)
    }

    /// How long the turn of a client that is sent away, or at the deadline its close frame, waits for answers that it is owed.
    static let answerTime = TimeAmount.seconds(1)

    /// Closes a client that goes elsewhere behind the answers to what it has published, so that it knows what became of
    /// that; it is served until then.
    func closeWhenAnswered(_ client: Client, _ reason: CloseReason, hold: TimeAmount) {
        guard client.owedAnswers > 0, hold > .zero else { return close(client, reason, isSentAway: true) }
        client.leavesWith = reason
        eventLoop.assumeIsolated().scheduleTask(in: hold) { self.close(client, reason, isSentAway: true) }
    }

    /// The answer to a request of a client is behind everything else that is queued for it.
    func answered(_ client: Client) {
        guard client.owedAnswers > 0 else { return }
        client.owedAnswers -= 1
        guard client.owedAnswers == 0 else { return }
        client.turnWaitsSince = nil
        if let reason = client.leavesWith { close(client, reason, isSentAway: true) }
    }

    /// Somebody will answer a request of a client.
    func owes(_ address: ReplyAddress?) {
        guard let address, address.request != nil, let client = client(address.client) else { return }
        client.owedAnswers += 1
    }
}
