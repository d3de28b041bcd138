import ConduitCore
import ConduitRedis
import ConduitTelemetry
import Logging
import NIOCore

// One process a node id: told apart by what stands beside the lease.
extension Bridge {
    /// How often a lease is looked at that somebody else holds.
    private static let lookMilliseconds: Int64 = 250

    /// Takes the lease, or waits for that of an earlier life of this node; `done` is called when it is this process's.
    func identify(_ done: @escaping () -> Void) {
        guard !isIdentifying else { return }
        isIdentifying = true
        renewIdentity { [weak self] verdict in
            guard let self else { return }
            self.isIdentifying = false
            switch verdict {
            case .ours?: done()
            case .taken?: break
            case .wait?, nil:
                if verdict == .wait, !toldWaiting {
                    toldWaiting = true
                    logger.notice("an earlier process of this node has its lease still; waiting for its end")
                }
                eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Self.lookMilliseconds)) { [weak self] in
                    guard let self, phase == .offline, commands?.isReady == true else { return }
                    self.identify(done)
                }
            }
        }
    }

    /// With each heartbeat.
    func renewIdentity() { renewIdentity { _ in } }

    /// `nil`: Redis didn't say.
    private func renewIdentity(_ done: @escaping (LeaseClaim.Verdict?) -> Void) {
        let holder = LeaseHolder(
            incarnation: incarnation, beats: lease.nextBeat(), host: configuration.host,
            address: configuration.address)
        let arguments: [RedisArgument] = [
            .string(String(incarnation)), .string(holder.text), .integer(configuration.leaseMilliseconds),
        ]
        evaluate(.identify, keys: [keys.holder(of: node)], arguments) { [weak self] result in
            guard let self, self.phase != .closed else { return }
            guard case .success(let value) = result else {
                if case .failure(let error) = result, error.code == .server {
                    self.leaseIsRefused = true
                    self.heartbeatRefused(error)
                }
                return done(nil)
            }
            self.leaseIsRefused = false
            let verdict = self.lease.looked(value.string.flatMap { LeaseHolder($0) })
            if case .taken(let other) = verdict { self.giveWay(to: other) }
            done(verdict)
        }
    }

    /// Ends without touching what the other one has in Redis.
    private func giveWay(to other: LeaseHolder) {
        logger.critical(
            "another running node has this id; this one ends",
            metadata: [LogKey.node: "\(node)", LogKey.host: "\(other.host)", LogKey.address: "\(other.address)"])
        onConflict?(NodeIDConflict(node: node, host: other.host, address: other.address))
        close(eventLoop.makePromise(of: Void.self))
    }

    /// A successor needn't wait.
    func releaseIdentity() {
        evaluate(.release, keys: [keys.holder(of: node)], [.string(String(incarnation))]) { _ in }
    }
}
