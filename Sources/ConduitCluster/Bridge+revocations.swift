import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging
import NIOCore

// Tokens that are good no more: told to every node at once, and kept in Redis as long as such a token could be shown, for
// nodes that were out of reach or start later. Each node holds to what it knows without asking.
extension Bridge {
    /// Most revocations in Redis, and in the memory of a node.
    private static let most: Int64 = 100_000
    /// Those in one command, and in one message to the other nodes.
    private static let batch = 100
    /// Those that are compared with what Redis has, in one turn.
    private static let slice = 1_000
    /// Up to so many new ones, their connections are looked for singly.
    private static let mostSingly = 32
    /// Most that are told later because nobody was in reach.
    private static let owedLimit = 10_000
    /// How often Redis is read again though nothing hints at anything missed, in milliseconds.
    private static let readInterval: Int64 = 600_000
    /// How soon when that failed, in milliseconds.
    private static let retryInterval: Int64 = 5_000

    /// Revokes; `done` is told whether all others know or will know.
    func revoke(_ revocation: Revocation, _ done: @escaping (Bool) -> Void) {
        learn([revocation])
        guard phase != .alone else { return done(true) }
        guard phase == .live, commands?.isReady == true else {
            owe([revocation])
            return done(false)
        }
        publishNow(.control, .revoke(revocation))
        storeOrOwe([revocation], done)
    }

    /// Revocations that were said anywhere: from now on they hold on this node.
    func learn(_ revocations: [Revocation]) {
        sink.revocations.add(revocations)
        // Also what was known: whoever says it again means the connections of now.
        for revocation in revocations { handOff.add(.revoked(revocation), to: handOff.all) }
        needsFlush()
    }

    // MARK: What is owed to the others

    /// To be told when the others are in reach again.
    private func owe(_ revocations: [Revocation]) {
        let room = phase == .closed ? 0 : max(0, Self.owedLimit - owedRevocations.count)
        owedRevocations += revocations.prefix(room)
        if revocations.count > room { drop(RelayDrop.revocation, UInt64(revocations.count - room)) }
    }

    /// The others are in reach: they are told what was said meanwhile. What doesn't get into Redis stays owed.
    func tellOwedRevocations() {
        guard phase == .live, commands?.isReady == true, !owedRevocations.isEmpty else { return }
        let owed = owedRevocations
        owedRevocations = []
        owedRevocationsToldAt = now
        tell(owed[...])
        storeOrOwe(owed) { _ in }
    }

    /// Those that tokens have lengthened that were refused here and live longer.
    func tellLengthenedRevocations() {
        guard isCommon else { return }
        let lengthened = sink.revocations.takeLengthened()
        guard !lengthened.isEmpty, phase != .alone else { return }
        owe(lengthened)
        tellOwedRevocations()
    }

    private func tell(_ revocations: ArraySlice<Revocation>) {
        var rest = revocations
        while !rest.isEmpty {
            var writer = NodeEnvelopeWriter()
            for revocation in rest.prefix(Self.batch) {
                writer.append { ControlMessage.revoke(revocation).write(to: &$0) }
            }
            rest = rest.dropFirst(Self.batch)
            publishNow(.control, .control, writer)
        }
    }

    // MARK: Redis

    /// What became of revocations that were to be written.
    private enum Outcome {
        case stored
        /// Redis doesn't take them.
        case refused
        /// Nobody knows whether it has got these.
        case lost([Revocation])
    }

    /// A link that breaks may have taken along what was published as well: it is said again then.
    private func storeOrOwe(_ revocations: [Revocation], _ done: @escaping (Bool) -> Void) {
        store(revocations[...]) { [weak self] outcome in
            switch outcome {
            case .stored: done(true)
            case .refused: done(false)
            case .lost(let rest):
                self?.owe(rest)
                done(false)
            }
        }
    }

    /// Writes some, then the rest.
    ///
    /// - Parameter tellsNew: the other nodes are told those that Redis didn't have.
    private func store(
        _ revocations: ArraySlice<Revocation>, tellsNew: Bool = false, _ done: @escaping (Outcome) -> Void
    ) {
        let some = revocations.prefix(Self.batch)
        guard !some.isEmpty else { return done(.stored) }
        let words = some.flatMap { revocation -> [RedisArgument] in
            [.string(Self.member(revocation)), .integer(revocation.expiresAt)]
        }
        evaluate(.revoke, keys: [keys.revoked], [.integer(Self.most)] + words) { [weak self] result in
            guard let self, self.phase != .closed else { return done(.refused) }
            switch result {
            case .success(let value):
                if let over = value.array?.first?.integer, over > 0 { self.drop(RelayDrop.revocation, UInt64(over)) }
                if tellsNew { self.tell(Self.new(of: some, value)[...]) }
                self.store(revocations.dropFirst(Self.batch), tellsNew: tellsNew, done)
            case .failure(let error) where error.code == .server:
                self.limitedLog.log(.error, "Redis refuses a revocation", [LogKey.error: "\(error)"])
                done(.refused)
            case .failure: done(.lost(Array(revocations)))
            }
        }
    }

    /// Those that the script says were new.
    private static func new(of revocations: ArraySlice<Revocation>, _ reply: RedisValue) -> [Revocation] {
        let places = reply.array?.last?.array ?? []
        return places.compactMap { place in
            guard let number = place.integer, (1...Int64(batch)).contains(number) else { return nil }
            return revocations.dropFirst(Int(number) - 1).first
        }
    }

    /// Reads all that Redis has; then writes what this node knows and Redis doesn't: said while it was away, or lost by it.
    func readRevocations() {
        // Of independent servers, the first has them.
        guard isCommon else { return }
        let scan = RevocationScan()
        revocationScan = scan
        readRevocations(scan, cursor: "0")
    }

    /// Once in a while, for what was said and not heard, or not taken.
    func readRevocationsAgain() {
        guard phase == .live else { return }
        if now - owedRevocationsToldAt >= Self.retryInterval { tellOwedRevocations() }
        if let last = revocationsReadAt, now - last >= Self.readInterval { readRevocations() }
    }

    private func readRevocations(_ scan: RevocationScan, cursor: String) {
        let words: [RedisArgument] = ["ZSCAN", .string(keys.revoked), .string(cursor), "COUNT", 1_000]
        commands?.send(words) { [weak self] result in
            guard let self, self.phase != .closed, scan === self.revocationScan else { return }
            guard case .success(let value) = result, let reply = value.array, reply.count == 2,
                let next = reply[0].string, let found = reply[1].array
            else {
                if case .failure(let error) = result, error.code == .server {
                    self.limitedLog.log(.error, "Redis doesn't show revocations", [LogKey.error: "\(error)"])
                }
                self.revocationScan = nil
                self.revocationsReadAt = self.now - Self.readInterval + Self.retryInterval
                return
            }
            let page = self.revocations(found)
            // At once: what comes next may fail, and none of these would be new to the next reading.
            self.endConnections(self.sink.revocations.add(page))
            // Redis may show more than there can be: what is over is read and not remembered here.
            if scan.known.count < 2 * Int(Self.most) { scan.known.formUnion(page) }
            guard next == "0" else { return self.readRevocations(scan, cursor: next) }
            self.revocationsReadAt = self.now
            scan.own = self.sink.revocations.slices
            self.storeMissing(scan)
        }
    }

    /// Members and ends, as Redis shows them.
    private func revocations(_ found: [RedisValue]) -> [Revocation] {
        var page: [Revocation] = []
        for index in stride(from: 0, to: found.count - 1, by: 2) {
            guard let name = found[index].string, let score = found[index + 1].string.flatMap(Double.init),
                let revocation = Self.revocation(name, expiresAt: score)
            else {
                drop(RelayDrop.badEntry)
                continue
            }
            page.append(revocation)
        }
        return page
    }

    /// Ends connections by revocations that this node didn't know: each by itself, or all clients are looked at.
    private func endConnections(_ revocations: [Revocation]) {
        guard !revocations.isEmpty else { return }
        if revocations.count > Self.mostSingly {
            handOff.add(.revoked(nil), to: handOff.all)
        } else {
            for revocation in revocations { handOff.add(.revoked(revocation), to: handOff.all) }
        }
        needsFlush()
    }

    /// Writes what Redis hasn't shown, and tells the others, who may not have heard of it either. A part in each turn: the
    /// loop has messages to carry.
    private func storeMissing(_ scan: RevocationScan) {
        guard phase != .closed, scan === revocationScan else { return }
        guard let some = scan.own?.take(Self.slice), !some.isEmpty else { return revocationScan = nil }
        // Their ends are written in whole milliseconds, and nobody shortens one.
        let missing = some.filter { !scan.known.contains($0.asStored) }
        store(missing[...], tellsNew: true) { [weak self] outcome in
            guard let self, scan === self.revocationScan else { return }
            // The next reading finds them missing.
            guard case .stored = outcome else { return self.revocationScan = nil }
            self.eventLoop.assumeIsolated().execute { self.storeMissing(scan) }
        }
    }

    // MARK: Their form

    /// `u:<since>:<user>` or `t:<id>`; the score is the end.
    private static func member(_ revocation: Revocation) -> String {
        switch revocation.target {
        case .user(let user): "u:\(revocation.revokedAt):\(user)"
        case .token(let id): "t:\(id)"
        }
    }

    private static func revocation(_ member: String, expiresAt: Double) -> Revocation? {
        guard expiresAt >= 0, expiresAt < 1e15 else { return nil }
        let end = Int64(expiresAt)
        let parts = member.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        switch parts[0] {
        case "t":
            guard (1...Revocation.maximumTokenIDBytes).contains(parts[1].utf8.count) else { return nil }
            return Revocation(.token(String(parts[1])), revokedAt: 0, expiresAt: end)
        case "u":
            let rest = parts[1].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard rest.count == 2, let since = Int64(rest[0]), let user = UserID(rest[1]) else { return nil }
            return Revocation(.user(user), revokedAt: since, expiresAt: end)
        default: return nil
        }
    }
}

/// A reading of all revocations in Redis that is under way. Loop-bound, owned by its ``Bridge``.
final class RevocationScan {
    /// What Redis has shown.
    var known: Set<Revocation> = []
    /// What this node knew when all was read, and is still to be looked for in ``known``.
    var own: RevocationTable.Slices?
}

@available(*, unavailable)
extension RevocationScan: Sendable {}

extension Revocation {
    /// As it is read from Redis: a token's says nothing of when it was revoked, which doesn't matter.
    fileprivate var asStored: Revocation {
        if case .token = target { return Revocation(target, revokedAt: 0, expiresAt: expiresAt) }
        return self
    }
}
