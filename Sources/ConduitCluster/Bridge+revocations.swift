import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitTelemetry
import ConduitWire
import Logging

// Tokens that are good no more: told to every node at once, and kept in Redis as long as such a token could be shown, for
// nodes that were out of reach or start later. Each node holds to what it knows without asking.
extension Bridge {
    /// Most revocations in Redis, and in the memory of a node.
    private static let most: Int64 = 100_000
    /// Those in one command, and in one message to the other nodes.
    private static let batch = 100
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
            if phase != .closed, owedRevocations.count < Self.owedLimit {
                owedRevocations.append(revocation)
            } else {
                drop(RelayDrop.revocation)
            }
            return done(false)
        }
        publishNow(.control, .revoke(revocation))
        store([revocation][...], done)
    }

    /// Revocations that were said anywhere: from now on they hold on this node.
    func learn(_ revocations: [Revocation]) {
        sink.revocations.add(revocations)
        // Also what was known: whoever says it again means the connections of now.
        for revocation in revocations { handOff.add(.revoked(revocation), to: handOff.all) }
        needsFlush()
    }

    /// The others are in reach again: they are told what was said meanwhile.
    func tellOwedRevocations() {
        store(owedRevocations[...]) { _ in }
        var rest = owedRevocations[...]
        owedRevocations = []
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

    /// Writes some, then the rest.
    private func store(_ revocations: ArraySlice<Revocation>, _ done: @escaping (Bool) -> Void) {
        let some = revocations.prefix(Self.batch)
        guard !some.isEmpty else { return done(true) }
        let words = some.flatMap { revocation -> [RedisArgument] in
            [.string(Self.member(revocation)), .integer(revocation.expiresAt)]
        }
        evaluate(.revoke, keys: [keys.revoked], [.integer(Self.most)] + words) { [weak self] result in
            guard let self, self.phase != .closed else { return done(false) }
            switch result {
            case .success(let value):
                if let over = value.integer, over > 0 { self.drop(RelayDrop.revocation, UInt64(over)) }
                self.store(revocations.dropFirst(Self.batch), done)
            case .failure(let error):
                if error.code == .server {
                    self.logger.error("Redis refuses a revocation", metadata: [LogKey.error: "\(error)"])
                }
                done(false)
            }
        }
    }

    /// Reads all that Redis has; then writes what this node knows and Redis doesn't: said while it was away, or lost by it.
    func readRevocations() {
        // Of independent servers, the first has them.
        guard isCommon else { return }
        revocationScan &+= 1
        readRevocations(revocationScan, cursor: "0", known: [], isNew: false)
    }

    /// Once in a while, for what was said and not heard.
    func readRevocationsAgain() {
        guard phase == .live, let last = revocationsReadAt, now - last >= Self.readInterval else { return }
        readRevocations()
    }

    private func readRevocations(_ number: UInt64, cursor: String, known: Set<Revocation>, isNew: Bool) {
        let words: [RedisArgument] = ["ZSCAN", .string(keys.revoked), .string(cursor), "COUNT", 1_000]
        commands?.send(words) { [weak self] result in
            guard let self, self.phase != .closed, number == self.revocationScan else { return }
            guard case .success(let value) = result, let reply = value.array, reply.count == 2,
                let next = reply[0].string, let found = reply[1].array
            else {
                if case .failure(let error) = result, error.code == .server {
                    self.logger.error("Redis doesn't show revocations", metadata: [LogKey.error: "\(error)"])
                }
                self.revocationsReadAt = self.now - Self.readInterval + Self.retryInterval
                return
            }
            var page: [Revocation] = []
            for index in stride(from: 0, to: found.count - 1, by: 2) {
                guard let name = found[index].string, let score = found[index + 1].string.flatMap(Double.init),
                    let revocation = Self.revocation(name, expiresAt: score)
                else {
                    self.drop(RelayDrop.badEntry)
                    continue
                }
                page.append(revocation)
            }
            let isNew = !self.sink.revocations.add(page).isEmpty || isNew
            // Redis may show more than there can be: what is over is read and not remembered here.
            let known = known.count < 2 * Int(Self.most) ? known.union(page) : known
            guard next == "0" else {
                return self.readRevocations(number, cursor: next, known: known, isNew: isNew)
            }
            self.revocationsReadAt = self.now
            if isNew {
                self.handOff.add(.revoked(nil), to: self.handOff.all)
                self.needsFlush()
            }
            self.storeMissing(known)
        }
    }

    private func storeMissing(_ known: Set<Revocation>) {
        // Their ends are written in whole milliseconds, and nobody shortens one.
        let missing = sink.revocations.all.filter { !known.contains($0.asStored) }
        guard !missing.isEmpty else { return }
        store(missing[...]) { _ in }
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

extension Revocation {
    /// As it is read from Redis: a token's says nothing of when it was revoked, which doesn't matter.
    fileprivate var asStored: Revocation {
        if case .token = target { return Revocation(target, revokedAt: 0, expiresAt: expiresAt) }
        return self
    }
}
