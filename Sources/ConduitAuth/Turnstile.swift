/// Lets some in at once and makes others wait, first come, first served; who finds too many waiting is sent away.
actor Turnstile {
    /// Too many wait already.
    struct Full: Error {}

    private let places: Int
    private let waitingPlaces: Int
    private var inside = 0
    private var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    /// Tickets are numbers in a row; those before `called` have been called or have left.
    private var called: UInt64 = 0
    private var issued: UInt64 = 0

    init(places: Int, waiting: Int) {
        self.places = places
        self.waitingPlaces = waiting
    }

    /// Waits for a place until then. Whoever gets one must ``leave()``.
    func enter(until deadline: ContinuousClock.Instant) async throws {
        guard inside >= places else {
            inside += 1
            return
        }
        guard waiting.count < waitingPlaces else { throw Full() }
        let ticket = issued
        issued += 1
        // What is given up here can't be given a place at the same moment, so that none is lost.
        let timer = Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            self.giveUp(ticket)
        }
        defer { timer.cancel() }
        let isAdmitted = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled { continuation.resume(returning: false) } else { waiting[ticket] = continuation }
            }
        } onCancel: {
            Task { await self.giveUp(ticket) }
        }
        guard isAdmitted else {
            try Task.checkCancellation()
            throw TimedOut()
        }
    }

    /// Gives the place to the one who has waited longest.
    func leave() {
        while called < issued {
            let ticket = called
            called += 1
            if let continuation = waiting.removeValue(forKey: ticket) {
                continuation.resume(returning: true)
                return
            }
        }
        inside -= 1
    }

    /// How many wait.
    var waitingCount: Int { waiting.count }

    private func giveUp(_ ticket: UInt64) {
        waiting.removeValue(forKey: ticket)?.resume(returning: false)
    }
}
