import ConduitTelemetry
import NIOCore

/// What happens in a run, one thing after the other. It asks the workers; it never touches a message.
struct BenchPhases {
    let run: BenchRun
    let workers: [WorkerRef]
    private let startedAt = NIODeadline.now()
    private var lastProgress = NIODeadline.now()
    private var lastSent: UInt64 = 0
    private var lastReceived: UInt64 = 0

    init(run: BenchRun, workers: [WorkerRef]) {
        self.run = run
        self.workers = workers
    }

    var plan: BenchPlan { run.plan }

    mutating func run() async throws -> BenchReport {
        try await connect()
        let figures = try await figures()
        guard figures.ready > 0 else {
            if run.stop.isStopped { throw BenchError("stopped before anything was connected") }
            let why = figures.failures.sorted.first?.text ?? "no reason known"
            throw BenchError("none of \(figures.opened) connections could be opened: \(why)")
        }
        return switch plan.mode {
        case .connect: try await holdConnections()
        case .presence: try await fillRoom()
        default: try await traffic()
        }
    }

    // MARK: Connecting

    private mutating func connect() async throws {
        var specs: [[ConnectionSpec]] = Array(repeating: [], count: workers.count)
        let layout = plan.layout
        let urls = plan.targets.count
        for member in 0..<plan.clients {
            let role: LoadConnection.Role =
                switch plan.mode {
                case .connect: plan.joins ? .member : .idle
                case .echo: .echo
                case .rooms: .both
                case .fanout, .cross, .churn: .member
                case .presence: .attendee
                }
            specs[member % workers.count].append(
                ConnectionSpec(
                    role: role, room: layout.room(ofMember: member), target: member % urls,
                    publisher: role.publishes ? member : nil))
        }
        if plan.connections > plan.clients {
            for publisher in 0..<plan.publishers {
                // Across nodes all publishers are on the first, so that both ways are seen apart.
                let target = plan.mode == .cross ? 0 : publisher % urls
                specs[publisher % workers.count].append(
                    ConnectionSpec(
                        role: .publisher, room: layout.room(ofPublisher: publisher), target: target,
                        publisher: publisher))
            }
        }
        for (worker, specs) in zip(workers, specs) { worker.execute { $0.open(specs) } }
        var isStopping = false
        while true {
            var isDone = true
            for worker in workers where try await !worker.query({ $0.isOpeningDone }) { isDone = false }
            if isDone { return }
            if !isStopping {
                // When nothing but failures comes, there is no sense in asking ten thousand times.
                var ready = 0
                var failed = 0
                for worker in workers {
                    // Not all figures: their distributions would have to be copied.
                    let counts = try await worker.query { ($0.figures.ready, $0.figures.failed) }
                    ready += counts.0
                    failed += counts.1
                }
                if run.stop.isStopped || (ready == 0 && failed >= 20) {
                    isStopping = true
                    for worker in workers { try await worker.query { $0.stopOpening() } }
                }
            }
            try await step(.connecting, .milliseconds(20))
        }
    }

    private mutating func holdConnections() async throws -> BenchReport {
        let end = NIODeadline.now() + .nanoseconds(Int64(plan.hold * 1e9))
        try await wait(until: end, .holding)
        var still = 0
        for worker in workers { still += try await worker.query { $0.stillReady } }
        var report = BenchReport(plan: plan, figures: try await figures())
        report.isInterrupted = run.stop.isStopped
        report.stillOpen = still
        return report
    }

    // MARK: Traffic

    private mutating func traffic() async throws -> BenchReport {
        let layout = plan.layout
        var members: [[UInt32]] = []
        var publishers: [(id: Int, node: String)] = []
        var connectionsByNode: [String: Int] = [:]
        for worker in workers {
            members.append(try await worker.query { $0.countMembers() })
            publishers += try await worker.query { $0.readyPublishers }
            connectionsByNode.merge(try await worker.query { $0.connectionsByNode }) { $0 + $1 }
        }
        let hasMembers = members.contains { $0.contains { $0 > 0 } }
        guard !publishers.isEmpty, hasMembers else {
            let why = try await figures().failures.sorted.first.map { ": \($0.text)" } ?? ""
            throw BenchError("no \(hasMembers ? "publisher" : "member") could be connected\(why)")
        }
        let names = connectionsByNode.keys.sorted()
        if plan.mode == .cross, names.count < 2 {
            throw BenchError(
                "all connections are on one node (\(names.first ?? "unnamed")): give a --url for each node, or "
                    + "one of a balancer with more clients")
        }
        let nodes = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, UInt16(clamping: $0)) })
        var publisherNodes = [UInt16](repeating: 0, count: layout.publishers)
        for (id, node) in publishers { publisherNodes[id] = nodes[node] ?? 0 }
        try await probe(publishers)

        let start = NIODeadline.now() + .milliseconds(20)
        let measureStart = start + .nanoseconds(Int64(plan.warmup * 1e9))
        let measureEnd = measureStart + .nanoseconds(Int64(plan.duration * 1e9))
        let order = LoadWorker.Start(
            at: start.uptimeNanoseconds, measureStart: measureStart.uptimeNanoseconds,
            measureEnd: measureEnd.uptimeNanoseconds, nodes: nodes, publisherNodes: publisherNodes,
            loopsOfRooms: (0..<layout.rooms).map { room in members.indices.filter { members[$0][room] > 0 } })
        for worker in workers { try await worker.query { $0.begin(order) } }

        try await wait(until: measureStart, .warmup)
        let before = ProcessFigures.now()
        let serverBefore = await ServerFigures.read(plan)
        try await wait(until: measureEnd, .measuring)
        let after = ProcessFigures.now()
        let serverAfter = await ServerFigures.read(plan)
        let end = min(NIODeadline.now(), measureEnd)
        for worker in workers { try await worker.query { $0.stopPublishing(measureEnd: end.uptimeNanoseconds) } }
        let isInterrupted = run.stop.isStopped

        let sums = try await drain()
        var report = BenchReport(plan: plan, figures: try await figures())
        report.isInterrupted = isInterrupted
        report.measuredSeconds = end > measureStart ? Double((end - measureStart).nanoseconds) / 1e9 : 0
        report.expected = sums.expected
        report.lost = sums.lost
        report.sentByPublisher = sums.sent
        report.nodes = names.map { BenchReport.Node(name: $0, connections: connectionsByNode[$0] ?? 0) }
        report.generatorCPUPercent = after.cpuPercent(since: before)
        for worker in workers {
            report.busiestThreadPercent = max(report.busiestThreadPercent, try await worker.query { $0.busyPercent })
        }
        if let serverBefore, let serverAfter { report.server = serverAfter.since(serverBefore) }
        return report
    }

    /// Until each member has had a message from each node that will publish to its room: then subscriptions between
    /// nodes are in place, and what is lost later is lost.
    private mutating func probe(_ publishers: [(id: Int, node: String)]) async throws {
        guard plan.mode != .echo else { return }
        struct Place: Hashable {
            var room: Int
            var node: String
        }
        var first: [Place: Int] = [:]
        for (id, node) in publishers {
            let place = Place(room: plan.layout.room(ofPublisher: id), node: node)
            first[place] = min(first[place] ?? .max, id)
        }
        var byRoom: [[UInt32]] = Array(repeating: [], count: plan.layout.rooms)
        for (place, id) in first { byRoom[place.room].append(UInt32(id)) }
        let probers = byRoom
        let ids = Array(first.values)
        let deadline = NIODeadline.now() + .seconds(15)
        while !run.stop.isStopped {
            for worker in workers { worker.execute { $0.probe(ids) } }
            // Answers may take a moment; probes that are on their way need no others behind them.
            let again = NIODeadline.now() + .milliseconds(250)
            var waiting = 0
            repeat {
                try await step(.probing, .milliseconds(5))
                waiting = 0
                for worker in workers { waiting += try await worker.query { $0.membersWaiting(for: probers) } }
            } while waiting > 0 && NIODeadline.now() < again && !run.stop.isStopped
            guard waiting > 0 else { return }
            guard NIODeadline.now() < deadline else {
                let errors = try await figures().errors.sorted.first.map { " (the server said: \($0.text))" } ?? ""
                throw BenchError(
                    "\(waiting) members did not get a first message of every publisher's node within 15 s\(errors)")
            }
        }
    }

    /// Waits for what is still on its way, as long as something comes.
    private mutating func drain() async throws -> (expected: UInt64, lost: UInt64, sent: [UInt32]) {
        var sent = [UInt32](repeating: 0, count: plan.layout.publishers)
        for worker in workers {
            for (id, count) in try await worker.query({ $0.sentByPublisher }) { sent[id] = count }
        }
        let sums = sent
        let deadline = NIODeadline.now() + .nanoseconds(Int64(plan.drain * 1e9))
        var last: UInt64 = .max
        var quietSince = NIODeadline.now()
        while true {
            var expected: UInt64 = 0
            var lost: UInt64 = 0
            for worker in workers {
                let part = try await worker.query { $0.missing(sent: sums) }
                expected += part.expected
                lost += part.lost
            }
            // Acks that are still to come, too.
            var missing = lost
            if plan.acks {
                var acks: UInt64 = 0
                for worker in workers { acks += try await worker.query { $0.figures.acks } }
                let all = sums.reduce(UInt64(0)) { $0 + UInt64($1) }
                missing += all > acks ? all - acks : 0
            }
            let now = NIODeadline.now()
            if missing != last {
                last = missing
                quietSince = now
            }
            guard missing > 0, now < deadline, now < quietSince + .seconds(2) else {
                return (expected, lost, sums)
            }
            try await step(.draining, .milliseconds(20))
        }
    }

    // MARK: Time

    mutating func wait(until end: NIODeadline, _ phase: BenchProgress.Phase) async throws {
        while NIODeadline.now() < end, !run.stop.isStopped {
            let rest = (end - NIODeadline.now()).nanoseconds
            try await step(phase, .nanoseconds(min(max(rest, 0), 100_000_000)))
        }
    }

    /// Sleeps; once a second it tells how far things are.
    mutating func step(_ phase: BenchProgress.Phase, _ time: Duration) async throws {
        try await Task.sleep(for: time)
        let now = NIODeadline.now()
        let since = Double((now - lastProgress).nanoseconds) / 1e9
        guard since >= 1 else { return }
        let figures = try await figures()
        run.report(
            BenchProgress(
                phase: phase, elapsed: Double((now - startedAt).nanoseconds) / 1e9, ready: figures.ready - figures.lost,
                wanted: plan.connections, failed: figures.failed,
                sentPerSecond: Double(figures.sent - lastSent) / since,
                deliveriesPerSecond: Double(figures.received - lastReceived) / since,
                latency: figures.latency.summary, churned: figures.churn.completed))
        lastProgress = now
        lastSent = figures.sent
        lastReceived = figures.received
    }

    func figures() async throws -> LoadFigures {
        var all = LoadFigures()
        for worker in workers { all.merge(try await worker.query { $0.allFigures }) }
        return all
    }
}
