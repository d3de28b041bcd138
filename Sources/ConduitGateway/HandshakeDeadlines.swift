import NIOCore

/// The time that each handshake of a loop has: one timer for all. Loop-bound.
///
/// Everybody has the same time, so who came first is due first, and a linked list is all that is needed. A scheduled
/// task for each would cost more than parsing its request.
final class HandshakeDeadlines {
    private let eventLoop: any EventLoop
    /// Of those who come from now on. A shorter one holds for who is here too, when the time of those before is over.
    var time: TimeAmount
    private var first: FrontDoorHandler?
    private var last: FrontDoorHandler?
    private var isTimerRunning = false
    private var count = 0

    init(eventLoop: any EventLoop, time: TimeAmount) {
        self.eventLoop = eventLoop
        self.time = time
    }

    /// From now on the time of this one runs.
    func add(_ handler: FrontDoorHandler) {
        handler.begun = eventLoop.now
        handler.deadline = handler.begun + time
        handler.earlier = last
        last?.later = handler
        last = handler
        if first == nil { first = handler }
        count += 1
        startTimer()
    }

    /// How long ago the time of this one has begun to run.
    func microseconds(since handler: FrontDoorHandler) -> Int64 {
        (eventLoop.now - handler.begun).nanoseconds / 1_000
    }

    /// Cuts the oldest until at most so many are left: who means it has asked long before 4,096 others have come.
    func shrink(to most: Int) {
        while count > most, let handler = oldest {
            remove(handler)
            handler.giveWay()
        }
    }

    /// The oldest that has not asked for anything yet, if there is one among the first few: who is being authenticated
    /// is likelier to be honest than who is silent.
    private var oldest: FrontDoorHandler? {
        var next = first
        for _ in 0..<64 {
            guard let handler = next else { break }
            if handler.isUnheard { return handler }
            next = handler.later
        }
        return first
    }

    /// Its handshake is over, or the connection is. Safe to be called twice.
    func remove(_ handler: FrontDoorHandler) {
        guard first === handler || handler.earlier != nil else { return }
        if first === handler { first = handler.later }
        if last === handler { last = handler.earlier }
        handler.earlier?.later = handler.later
        handler.later?.earlier = handler.earlier
        handler.earlier = nil
        handler.later = nil
        count -= 1
    }

    private func startTimer() {
        guard !isTimerRunning, let first else { return }
        isTimerRunning = true
        eventLoop.assumeIsolated().scheduleTask(deadline: first.deadline) {
            self.isTimerRunning = false
            self.expire()
        }
    }

    private func expire() {
        while let handler = first, handler.deadline <= eventLoop.now {
            remove(handler)
            handler.timeIsUp()
        }
        startTimer()
    }
}

@available(*, unavailable)
extension HandshakeDeadlines: Sendable {}
