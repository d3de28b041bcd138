import NIOCore
import NIOSSL

/// Everything of a run that happens on one event loop: its connections, its publishers, its figures.
///
/// Loop-bound; others reach it through its ``WorkerRef``.
final class LoadWorker {
    let loop: any EventLoop
    let index: Int
    let plan: BenchPlan
    let layout: TrafficLayout
    let endpoints: [Endpoint]
    /// The bytes of a handshake, by target.
    let requests: [ByteBuffer]
    let mask: UInt32
    let pool = ReceiveBufferPool()
    /// What is counted for each delivery; the rest is in ``figures``.
    var book: DeliveryBook
    var figures = LoadFigures()

    /// The doors to all workers, this one's too.
    var peers: [WorkerRef] = []

    // Opening: LoadWorker+opening.swift
    var toOpen: [ConnectionSpec] = []
    var nextToOpen = 0
    var opening: [LoadConnection] = []
    var openingCount = 0
    var openingSince: UInt64 = 0
    var sourceCounter: Int
    var lastSweep: UInt64 = 0
    var connections: [LoadConnection] = []

    // Traffic: LoadWorker+publishing.swift, LoadWorker+delivery.swift
    var publishers: [LoadPublisher] = []
    var schedule: OpenLoopSchedule?
    var windowSize = 0
    var isPublishing = false
    var dirty: [LoadConnection] = []
    /// Publishers of whose messages more are with everybody on this loop.
    var advanced: [Int] = []
    var isTurnScheduled = false

    // Comings and goings: LoadWorker+churn.swift
    var churnSchedule: OpenLoopSchedule?
    var churners: [LoadConnection] = []
    var churnersUnderWay = 0

    // All into one room: LoadWorker+crowd.swift
    var crowdStart: UInt64 = 0
    var crowdNext = 0

    // Itself: LoadWorker+ticks.swift
    var ticker: RepeatedTask?
    var nextTick: UInt64 = 0
    var busyAtStart: ThreadTime?
    var busyAtEnd: ThreadTime?
    var hasEnded = false

    /// Where a target is, resolved, and how TLS is made for it.
    struct Endpoint: Sendable {
        let target: BenchTarget
        let address: SocketAddress
        let tls: NIOSSLContext?
    }

    init(loop: any EventLoop, index: Int, plan: BenchPlan, endpoints: [Endpoint], mask: UInt32) {
        self.loop = loop
        self.index = index
        self.plan = plan
        self.layout = plan.layout
        self.book = DeliveryBook(layout: plan.layout)
        self.endpoints = endpoints
        self.requests = endpoints.map { plan.request.bytes(for: $0.target) }
        self.mask = mask
        self.sourceCounter = index
    }

    var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    func joinText(_ room: Int) -> String {
        "{\"type\":\"join_room\",\"data\":{\"room\":\"\(plan.room(room))\"}}"
    }

    func leaveText(_ room: Int) -> String {
        "{\"type\":\"leave_room\",\"data\":{\"room\":\"\(plan.room(room))\"}}"
    }

    /// A frame waits to be written: at the end of this turn.
    func markDirty(_ connection: LoadConnection) {
        guard !connection.isDirty else { return }
        connection.isDirty = true
        dirty.append(connection)
    }

    func flushDirty() {
        for connection in dirty { connection.flush() }
        dirty.removeAll(keepingCapacity: true)
    }

    func scheduleEndOfTurn() {
        guard !isTurnScheduled else { return }
        isTurnScheduled = true
        loop.assumeIsolated().execute { self.endTurn() }
    }
}

@available(*, unavailable)
extension LoadWorker: Sendable {}

/// The Sendable door to a worker.
struct WorkerRef: Sendable {
    let loop: any EventLoop
    private let worker: NIOLoopBound<LoadWorker>

    /// Call on the worker's loop.
    init(_ worker: LoadWorker) {
        self.loop = worker.loop
        self.worker = NIOLoopBound(worker, eventLoop: worker.loop)
    }

    func execute(_ work: @escaping @Sendable (LoadWorker) -> Void) {
        loop.execute { work(worker.value) }
    }

    func query<T: Sendable>(_ work: @escaping @Sendable (LoadWorker) throws -> T) async throws -> T {
        try await loop.submit { try work(worker.value) }.get()
    }
}

/// A connection that is to be opened.
struct ConnectionSpec: Sendable {
    var role: LoadConnection.Role
    var room: Int
    var target: Int
    /// The number of the publisher that it is.
    var publisher: Int?
}

/// One that publishes, on the loop of its connection.
struct LoadPublisher {
    let id: Int
    let connection: LoadConnection
    let template: MessageTemplate
    var sent: UInt32 = 0
    /// Closed loop: up to here everybody has everything.
    var done: UInt32 = 0
    /// The same by loop; loops without members have the highest number.
    var doneByLoop: [UInt32] = []
    /// When the messages under way were sent, in a ring.
    var sentAt: [UInt64] = []

    init(id: Int, connection: LoadConnection, template: MessageTemplate) {
        self.id = id
        self.connection = connection
        self.template = template
    }
}
