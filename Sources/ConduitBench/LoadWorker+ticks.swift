import Glibc
import NIOCore

/// What a worker does every ten milliseconds beside its traffic, and how it watches itself.
extension LoadWorker {
    static let tick: UInt64 = 10_000_000

    func startTicking() {
        nextTick = now + Self.tick
        ticker = loop.assumeIsolated().nonisolated().scheduleRepeatedTask(
            initialDelay: .nanoseconds(Int64(Self.tick)), delay: .nanoseconds(Int64(Self.tick)),
            NIOLoopBound(self, eventLoop: loop))
    }

    func ticked() {
        let now = self.now
        // In a closed loop nothing else tells whether this loop keeps up with itself.
        if nextTick > 0, schedule == nil, windowSize > 0, book.isMeasured(now) {
            figures.lateness.record(nanoseconds: now > nextTick ? now - nextTick : 0)
        }
        nextTick = now + Self.tick
        if now >= book.measureStart, busyAtStart == nil { busyAtStart = ThreadTime.now() }
        if now >= book.measureEnd, busyAtEnd == nil { busyAtEnd = ThreadTime.now() }
        pumpOpening(now)
        sweepOpening(now)
        pumpChurn(now)
        pumpCrowd(now)
        giveUpLost(now)
    }

    /// How busy this thread was while it was measured; 100 is always.
    var busyPercent: Double {
        guard let start = busyAtStart else { return 0 }
        return (busyAtEnd ?? ThreadTime.now()).busyPercent(since: start)
    }

    /// Says goodbye on every connection.
    func leaveAll() {
        hasEnded = true
        stopOpening()
        for connection in connections + churners where connection.state != .closed { connection.leave(room: false) }
    }

    var openConnections: Int { (connections + churners).count { $0.state != .closed } }

    /// Closes what is left.
    func closeAll() {
        ticker?.cancel()
        for connection in connections + churners { connection.fail("the end") }
    }

    var stillReady: Int { connections.count { $0.state == .ready } }
}

extension EventLoop {
    fileprivate func scheduleRepeatedTask(
        initialDelay: TimeAmount, delay: TimeAmount, _ worker: NIOLoopBound<LoadWorker>
    ) -> RepeatedTask {
        scheduleRepeatedTask(initialDelay: initialDelay, delay: delay) { _ in worker.value.ticked() }
    }
}

/// How long a thread has worked, and when that was read.
struct ThreadTime: Sendable {
    var cpu: Double
    var wall: Double

    /// Of the calling thread.
    static func now() -> ThreadTime {
        ThreadTime(cpu: seconds(CLOCK_THREAD_CPUTIME_ID), wall: seconds(CLOCK_MONOTONIC))
    }

    func busyPercent(since earlier: ThreadTime) -> Double {
        wall > earlier.wall ? max(0, (cpu - earlier.cpu) / (wall - earlier.wall) * 100) : 0
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        // Unsafe for the pointer, which lives for the call only.
        unsafe clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
