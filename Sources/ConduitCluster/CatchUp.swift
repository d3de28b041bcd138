import ConduitCore
import ConduitWire

/// The other nodes whose messages this node may have missed, until each has answered what was missed. Messages of such
/// a node that come meanwhile wait, so that what it sent keeps its order over all rooms.
///
/// A value: times are arguments, in milliseconds in which this node has worked, so that a pause of its own isn't the
/// others' silence. Bounded: by bytes, and by two seconds in which the
/// other node is silent; then what waits goes on, and a hole in it is counted.
struct CatchUp {
    /// A message that waits.
    struct Held {
        let topic: BusTopic
        let envelope: NodeEnvelope
    }

    /// Names a PUBLISH of one origin.
    fileprivate struct Mark: Hashable {
        let topic: BusTopic
        let first: UInt64
    }

    /// One node that owes an answer.
    struct Repair {
        /// The number of the newest request; 0 when none was sent since the newest loss.
        var request: UInt64 = 0
        var askedAt: Int64
        /// The same by the clock.
        var clockAtRequest: Int64 = 0
        /// When it was last heard of.
        var quietSince: Int64
        /// Where a hole was seen, if that is why it is asked.
        var holes: Set<BusTopic> = []
        var held: [Held] = []
        var bytes = 0
        /// What waits, and was not in the answer so far.
        fileprivate var waiting: Set<Mark> = []
        /// What waits although it was in the answer.
        fileprivate var answered: Set<Mark> = []
    }

    /// What becomes of a message.
    enum Admission: Equatable {
        /// It is nobody's who owes an answer.
        case passes
        case held
        /// It waits, and its node has to be asked.
        case begins
        /// It goes on, behind all that waits.
        case overflows
    }

    /// What is to be done.
    enum Due: Hashable {
        case ask(NodeID)
        case giveUp(NodeID)
    }

    /// After how long it is asked again.
    static let repeatAfter: Int64 = 600
    /// Bytes that wait for one node, and for all of them.
    static let originBytes = 8 << 20
    static let totalBytes = 32 << 20
    /// How long a node that didn't answer isn't asked because of a hole.
    static let silence: Int64 = 60_000
    private static let maximumOrigins = 4_096
    private static let maximumHoles = 1_024

    private(set) var repairs: [NodeID: Repair] = [:]
    /// Who has answered since the last loss.
    private var synced: Set<NodeID> = []
    /// Who hasn't, and until when that is remembered.
    private var silent: [NodeID: Int64] = [:]
    private var isLossy = false
    private var lossyUntil: Int64?
    private var lastRequest: UInt64 = 0
    private var bytes = 0
    /// How long the others remember what they sent.
    private let memory: Int64
    /// How long a node may be silent that owes an answer.
    private let patience: Int64

    init(memoryMilliseconds: Int64, patienceMilliseconds: Int64 = 2_000) {
        memory = memoryMilliseconds
        patience = patienceMilliseconds
    }

    /// Whether messages have to be looked at one by one: never in quiet times.
    var isActive: Bool { isLossy || !repairs.isEmpty }
    /// Whether nobody owes an answer.
    var isDone: Bool { repairs.isEmpty }

    /// Subscriptions are gone: what others send may be missed from now on.
    mutating func lost() {
        isLossy = true
        lossyUntil = nil
        synced = []
        silent = [:]
        for origin in repairs.keys { repairs[origin]?.request = 0 }
    }

    /// All subscriptions are confirmed again: these nodes are to be asked. Nothing happens where nothing was lost.
    mutating func regained(_ origins: Set<NodeID>, now: Int64) {
        guard isLossy, lossyUntil == nil else { return }
        lossyUntil = now + memory
        silent = [:]
        for origin in origins.prefix(Self.maximumOrigins) { begin(origin, now: now) }
        for origin in repairs.keys { repairs[origin]?.quietSince = now }
    }

    /// A node listens. Returns whether it is to be asked (again).
    mutating func listens(_ origin: NodeID, now: Int64) -> Bool {
        guard repairs[origin] != nil || (isLossy && lossyUntil != nil && !synced.contains(origin)) else { return false }
        begin(origin, now: now)
        repairs[origin]?.quietSince = now
        return true
    }

    private mutating func begin(_ origin: NodeID, now: Int64) {
        guard repairs[origin] == nil, repairs.count < Self.maximumOrigins else { return }
        silent[origin] = nil
        synced.remove(origin)
        repairs[origin] = Repair(askedAt: now, quietSince: now)
    }

    /// A numbered message of another node. `bytes`: its size.
    mutating func admit(_ topic: BusTopic, _ envelope: NodeEnvelope, bytes: Int, now: Int64) -> Admission {
        let origin = envelope.origin
        guard repairs[origin] == nil else { return hold(topic, envelope, bytes) ? .held : .overflows }
        guard isLossy, !synced.contains(origin), silent[origin] == nil else { return .passes }
        begin(origin, now: now)
        return hold(topic, envelope, bytes) ? .begins : .passes
    }

    /// A message came behind a hole. Returns whether it waits, and its node has to be asked.
    mutating func holdBehindHole(_ topic: BusTopic, _ envelope: NodeEnvelope, bytes: Int, now: Int64) -> Bool {
        if let until = silent[envelope.origin] {
            guard until <= now else { return false }
            silent[envelope.origin] = nil
        }
        begin(envelope.origin, now: now)
        guard let holes = repairs[envelope.origin]?.holes.count else { return false }
        if holes < Self.maximumHoles { repairs[envelope.origin]?.holes.insert(topic) }
        return hold(topic, envelope, bytes)
    }

    private mutating func hold(_ topic: BusTopic, _ envelope: NodeEnvelope, _ size: Int) -> Bool {
        guard let held = repairs[envelope.origin]?.bytes, held + size <= Self.originBytes,
            bytes + size <= Self.totalBytes
        else { return false }
        repairs[envelope.origin]?.held.append(Held(topic: topic, envelope: envelope))
        repairs[envelope.origin]?.waiting.insert(Mark(topic: topic, first: envelope.sequence))
        repairs[envelope.origin]?.bytes += size
        bytes += size
        return true
    }

    /// A message of an answer is being delivered. Returns whether it had come already and waits: then it wasn't
    /// missing, and isn't delivered a second time.
    mutating func delivers(_ topic: BusTopic, _ envelope: NodeEnvelope) -> Bool {
        let mark = Mark(topic: topic, first: envelope.sequence)
        guard repairs[envelope.origin]?.waiting.remove(mark) != nil else { return false }
        repairs[envelope.origin]?.answered.insert(mark)
        return true
    }

    /// A request is being sent to a node, at a time by the clock; returns its number.
    mutating func asked(_ origin: NodeID, now: Int64, clock: Int64) -> UInt64 {
        lastRequest += 1
        repairs[origin]?.request = lastRequest
        repairs[origin]?.askedAt = now
        repairs[origin]?.clockAtRequest = clock
        return lastRequest
    }

    /// A node has answered a request. Returns when that was sent, by the clock; `nil` when it isn't the one that is waited for.
    mutating func heard(_ origin: NodeID, request: UInt64, now: Int64) -> Int64? {
        guard let repair = repairs[origin], repair.request == request, request != 0 else { return nil }
        repairs[origin]?.quietSince = now
        return repair.clockAtRequest
    }

    /// A node's answer is complete, or not waited for any more. Returns what waited for it.
    mutating func end(_ origin: NodeID, answered: Bool, now: Int64) -> [Held] {
        guard let repair = repairs.removeValue(forKey: origin) else { return [] }
        bytes -= repair.bytes
        if answered {
            synced.insert(origin)
        } else if silent.count < Self.maximumOrigins {
            silent[origin] = now + Self.silence
        }
        guard !repair.answered.isEmpty else { return repair.held }
        return repair.held.filter {
            !repair.answered.contains(Mark(topic: $0.topic, first: $0.envelope.sequence))
        }
    }

    /// What is due. `canAsk`: all subscriptions are confirmed and commands can be sent. `canHear`: the link for
    /// subscriptions is there; without it nothing comes that could overtake what waits.
    mutating func due(now: Int64, canAsk: Bool, canHear: Bool) -> [Due] {
        if let until = lossyUntil, until <= now {
            // Nobody remembers what was lost then.
            isLossy = false
            lossyUntil = nil
            synced = []
        }
        guard canHear else { return [] }
        return repairs.compactMap { origin, repair in
            if repair.request == 0, canAsk { return .ask(origin) }
            if now - repair.quietSince >= patience { return .giveUp(origin) }
            guard canAsk, now - max(repair.askedAt, repair.quietSince) >= Self.repeatAfter else { return nil }
            return .ask(origin)
        }
    }
}
