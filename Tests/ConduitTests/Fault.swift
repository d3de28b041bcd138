import ConduitTesting
import Foundation
import Testing

/// What can go wrong, and how it is done.
enum Fault: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case none
    case killedNode
    case pausedNode
    case pausedRedis
    case killedRedis
    case forgetfulRedis
    case killedSubscriptions
    case killedCommands
    case blackHoleFromRedis
    case blackHoleToRedis
    case blackHole
    case resets
    case slowSubscriber
    case flushedRedis
    case flushedScripts
    case rollingRestart

    var testDescription: String { rawValue }

    /// How the table calls it.
    var title: String {
        switch self {
        case .none: "nothing (to compare)"
        case .killedNode: "`kill -9` of a node, started again"
        case .pausedNode: "SIGSTOP of a node, longer than its lease"
        case .pausedRedis: "SIGSTOP of Redis"
        case .killedRedis: "`kill -9` of Redis, started again (AOF)"
        case .forgetfulRedis: "`kill -9` of Redis, started again empty"
        case .killedSubscriptions: "`CLIENT KILL TYPE pubsub`, five times"
        case .killedCommands: "`CLIENT KILL TYPE normal`, five times"
        case .blackHoleFromRedis: "nothing from Redis reaches one node"
        case .blackHoleToRedis: "nothing of one node reaches Redis"
        case .blackHole: "black hole between one node and Redis"
        case .resets: "resets of all connections to Redis, five times"
        case .slowSubscriber: "full output buffer of one subscriber"
        case .flushedRedis: "`FLUSHALL`"
        case .flushedScripts: "`SCRIPT FLUSH`, five times"
        case .rollingRestart: "rolling restart of all nodes (SIGTERM)"
        }
    }

    /// Whether Redis keeps its data through it.
    var needsPersistence: Bool { self != .forgetfulRedis }

    /// Whether the logs are gone: clients of ordered rooms are told so, and what they had not had is lost.
    var losesLogs: Bool { self == .forgetfulRedis || self == .flushedRedis }

    /// Does it; returns when it is over. `hold` is how long what lasts lasts.
    func inflict(on cluster: FaultCluster, for hold: Duration) async throws {
        let clock = ContinuousClock()
        switch self {
        case .none: try await clock.sleep(for: hold)
        case .killedNode:
            let back = clock.now + hold
            try await cluster.kill(1)
            try await cluster.awaitPresence()
            try await clock.sleep(until: back)
            try await cluster.revive(1)
        case .pausedNode:
            cluster.pause(1)
            try await clock.sleep(for: hold)
            cluster.resume(1)
        case .pausedRedis:
            cluster.redis.pause()
            try await clock.sleep(for: hold)
            cluster.redis.resume()
        case .killedRedis, .forgetfulRedis:
            try await cluster.redis.kill()
            try await clock.sleep(for: hold)
            try await cluster.redis.restart()
        case .killedSubscriptions: try await fiveTimes(cluster, "CLIENT", "KILL", "TYPE", "pubsub")
        case .killedCommands: try await fiveTimes(cluster, "CLIENT", "KILL", "TYPE", "normal")
        case .blackHoleFromRedis, .blackHoleToRedis, .blackHole:
            var behaviour = TCPProxy.Behaviour.pass
            behaviour.passesDown = self == .blackHoleToRedis
            behaviour.passesUp = self == .blackHoleFromRedis
            try await cluster.proxies[1].set(behaviour)
            try await clock.sleep(for: hold)
            try await cluster.proxies[1].set(.pass)
        case .resets:
            for _ in 0..<5 {
                for proxy in cluster.proxies { try await proxy.reset() }
                try await clock.sleep(for: .milliseconds(700))
            }
        case .slowSubscriber:
            try await cluster.redis.redisCLI(
                "CONFIG", "SET", "client-output-buffer-limit", "pubsub 262144 0 0")
            var behaviour = TCPProxy.Behaviour.pass
            behaviour.downBytesPerSecond = 20_000
            try await cluster.proxies[1].set(behaviour)
            try await clock.sleep(for: hold)
            try await cluster.proxies[1].set(.pass)
            try await cluster.redis.redisCLI(
                "CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")
        case .flushedRedis:
            try await cluster.redis.redisCLI("FLUSHALL")
            // What was lost with it may show later.
            try await clock.sleep(for: hold / 2)
        case .flushedScripts: try await fiveTimes(cluster, "SCRIPT", "FLUSH")
        case .rollingRestart:
            for index in 0..<cluster.plan.nodes {
                let code = try await cluster.terminate(index)
                guard code == 0 else { throw NodeProcess.Failure(description: "node \(index) ended with \(code)") }
                try await cluster.revive(index)
                try await eventually("all are back", within: .seconds(30)) { await cluster.trouble().isEmpty }
            }
        }
    }

    private func fiveTimes(_ cluster: FaultCluster, _ command: String...) async throws {
        for _ in 0..<5 {
            try await cluster.redis.redisCLI(command)
            try await ContinuousClock().sleep(for: .milliseconds(700))
        }
    }
}
