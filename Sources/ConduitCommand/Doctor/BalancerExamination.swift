package import ConduitBench

/// Two WebSockets through whatever stands before the nodes: one that lives as a client does, one that is silent.
package struct BalancerExamination: Sendable {
    private let target: BenchTarget
    private let request: HandshakeRequest
    private let insecure: Bool
    private let seconds: Double
    private let pingSeconds: Double
    private let timeoutSeconds: Double

    /// `pingSeconds`, `timeoutSeconds`: how often the nodes ping, and how long they wait for a sign of life.
    package init(
        target: BenchTarget, request: HandshakeRequest, insecure: Bool, seconds: Double, pingSeconds: Double,
        timeoutSeconds: Double
    ) {
        self.target = target
        self.request = request
        self.insecure = insecure
        self.seconds = seconds
        self.pingSeconds = pingSeconds
        self.timeoutSeconds = timeoutSeconds
    }

    package func findings() async -> [Finding] {
        let probe = IdleProbe(target: target, request: request, insecure: insecure)
        async let living = probe.run(seconds: seconds, answersPings: true)
        async let silent = probe.run(seconds: seconds, answersPings: false)
        return Self.findings(
            living: await living, silent: await silent, target: target, seconds: seconds,
            pingSeconds: pingSeconds, timeoutSeconds: timeoutSeconds)
    }

    /// What the two have seen.
    package static func findings(
        living: IdleProbe.Outcome, silent: IdleProbe.Outcome, target: BenchTarget, seconds: Double, pingSeconds: Double,
        timeoutSeconds: Double
    ) -> [Finding] {
        let area = "balancer"
        switch living.end {
        case .failed(let why):
            return [Finding(area, "connect", .fail, "\(target): \(why)", remedy: "the address that clients use")]
        case .refused(let why):
            return [
                Finding(
                    area, "connect", .fail, "\(target) gave no WebSocket: \(why)",
                    remedy: why.hasPrefix("401") || why.hasPrefix("403")
                        ? "--token, and --header \"Origin: …\" where http.origins asks for one"
                        : "the balancer must pass Upgrade and Connection on, and the path (http.path) unchanged")
            ]
        case .open, .closed, .cut: break
        }
        let took = ShortFigure.duration(microseconds: living.handshakeSeconds * 1e6)
        var findings = [Finding(area, "connect", .ok, "\(target) gave a WebSocket after \(took)")]
        findings.append(life(living, seconds, pingSeconds))
        if living.end == .open, living.pings == 0, seconds > pingSeconds + 1 {
            findings.append(
                Finding(
                    area, "pings", .warn,
                    "no ping of a node came in \(text(seconds)), though heartbeat.ping-interval is \(text(pingSeconds))",
                    remedy:
                        "the nodes may have another setting than this one; else something in between holds frames back")
            )
        } else if seconds <= pingSeconds {
            findings.append(
                Finding(
                    area, "pings", .warn,
                    "\(text(seconds)) is no longer than heartbeat.ping-interval (\(text(pingSeconds)))",
                    remedy: "--idle \(Int(pingSeconds) + 15), to see whether pings keep it open"))
        }
        findings.append(silence(silent, seconds, timeoutSeconds))
        return findings
    }

    private static func life(_ outcome: IdleProbe.Outcome, _ seconds: Double, _ pingSeconds: Double) -> Finding {
        let pings = "\(outcome.pings) ping\(outcome.pings == 1 ? "" : "s")"
        switch outcome.end {
        case .open where outcome.hasAnswered:
            return Finding(
                "balancer", "idle", .ok,
                "an idle client is still there after \(text(seconds)), by \(pings), and is answered")
        case .open:
            return Finding(
                "balancer", "idle", .fail,
                "after \(text(seconds)) nothing is answered any more, though nobody has closed the connection",
                remedy: "something in between forgets idle connections: a time-out above heartbeat.ping-interval "
                    + "(\(text(pingSeconds))), or a shorter heartbeat.ping-interval")
        case .closed(let code, let reason):
            return Finding(
                "balancer", "idle", .warn,
                "the node closed an idle client after \(text(outcome.seconds)): \(code) \(reason)",
                remedy: code == 3012
                    ? "the client's pongs don't arrive: something in between holds frames back" : nil)
        case .cut, .failed, .refused:
            return Finding(
                "balancer", "idle", .fail,
                "an idle client was cut after \(text(outcome.seconds)) without a close frame, after \(pings): by the "
                    + "balancer, for nodes say why",
                remedy:
                    "there, a time-out above heartbeat.ping-interval (\(text(pingSeconds))): timeout tunnel (HAProxy), "
                    + "proxy_read_timeout and proxy_send_timeout (nginx), idle timeout (cloud); or heartbeat.ping-interval "
                    + "below \(text(outcome.seconds))")
        }
    }

    private static func silence(_ outcome: IdleProbe.Outcome, _ seconds: Double, _ timeoutSeconds: Double) -> Finding {
        switch outcome.end {
        case .closed(let code, let reason):
            return Finding(
                "balancer", "silence", .ok,
                "a client that says nothing was closed by the node after \(text(outcome.seconds)): \(code) \(reason)")
        case .open:
            let text = "a client that says nothing was still there after \(text(seconds))"
            return seconds > timeoutSeconds * 2
                ? Finding(
                    "balancer", "silence", .warn, text + ", though heartbeat.timeout is \(Self.text(timeoutSeconds))",
                    remedy: "the nodes may have another setting; else something in between answers pings for clients")
                : Finding(
                    "balancer", "silence", .ok,
                    text + "; the node cuts it after heartbeat.timeout (\(Self.text(timeoutSeconds)))")
        case .cut:
            return Finding(
                "balancer", "silence", .ok,
                "a client that says nothing was cut after \(text(outcome.seconds)) by something in between")
        case .failed(let why), .refused(let why):
            return Finding("balancer", "silence", .warn, "a second connection failed: \(why)")
        }
    }

    private static func text(_ seconds: Double) -> String {
        let tenths = (seconds * 10).rounded() / 10
        return tenths == tenths.rounded() ? "\(Int(tenths)) s" : "\(tenths) s"
    }
}
