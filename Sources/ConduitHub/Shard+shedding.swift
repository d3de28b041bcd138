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
    /// How far the pace is from letting the first one go, 0 to 1: shards that share a slow pace take turns.
    var phase = 0.0

    package init(
        count: Int = .max, perSecond: Double, reason: ReconnectReason, delay: TimeAmount, deadline: NIODeadline? = nil
    ) {
        self.count = count
        self.perSecond = perSecond
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
    /// Delays are spread by the golden ratio, not by chance: then the returns are as even as the leave-taking.
    var spread: Double
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
            pace: ShedPace(perSecond: order.perSecond, deadline: deadline, now: now, phase: order.phase),
            left: order.count,
            cursor: Int.random(in: 0...max(0, clients.slotCount - 1), using: &generator),
            takesYoung: order.reason == .drain, spread: Double.random(in: 0..<1, using: &generator), done: promise)
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
        for _ in 0..<current.pace.take(of: left, now: now) {
            guard let client = nextToShed(&current) else {
                isOver = true
                break
            }
            current.spread += 0.618_033_988_749_895
            current.spread -= current.spread.rounded(.down)
            let delay = current.spread * Double(current.order.delay.nanoseconds) / 1_000_000
            sendAway(client, current.order.reason, delay: Int(delay))
            current.told += 1
            if current.left != .max { current.left -= 1 }
        }
        shedding = current
        if isOver || current.left == 0 { return endShedding() }
        eventLoop.assumeIsolated().scheduleTask(in: Self.shedInterval) { self.shedSome(number) }
    }

    /// The next one, going round; `nil` when nobody is left.
    private func nextToShed(_ current: inout Shedding) -> Client? {
        let now = now
        while true {
            for _ in 0..<clients.slotCount {
                if current.cursor >= clients.slotCount { current.cursor = 0 }
                let client = clients.clients[current.cursor]
                current.cursor += 1
                guard let client, client.isOpen, client.leavesWith == nil else { continue }
                if current.takesYoung || now - client.connectedMonotonic >= Self.youth { return client }
            }
            guard !current.takesYoung else { return nil }
            current.takesYoung = true
        }
    }

    private func sendAway(_ client: Client, _ reason: ReconnectReason, delay: Int) {
        if client.identity.knowsAllEvents {
            queue(EventEncoder.reconnect(afterMilliseconds: delay, reason: reason).frame, for: client)
        }
        statistics.shed[reason.rawValue, default: 0] += 1
        closeWhenAnswered(client, .shutdown, hold: Self.answerTime)
    }

    /// How long the close frame of a client that is sent away waits for the answers that it is owed.
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
        if client.owedAnswers == 0, let reason = client.leavesWith { close(client, reason, isSentAway: true) }
    }

    /// Somebody will answer a request of a client.
    func owes(_ address: ReplyAddress?) {
        guard let address, address.request != nil, let client = client(address.client) else { return }
        client.owedAnswers += 1
    }
}
