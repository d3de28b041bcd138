/// The report for people: one figure or one distribution a line.
extension BenchReport {
    package var table: String {
        var lines: [String] = []
        func row(_ name: String, _ value: String) {
            lines.append(name + String(repeating: " ", count: max(1, 22 - name.count)) + value)
        }
        func latency(_ name: String, _ recorder: LatencyRecorder) {
            guard let summary = recorder.summary else { return }
            let values = [
                ("p50", summary.p50), ("p90", summary.p90), ("p99", summary.p99), ("p99.9", summary.p999),
                ("max", summary.max),
            ]
            row(name, values.map { "\($0) \(Figure.duration($1))" }.joined(separator: "   "))
        }
        row("conduit bench", plan.mode.rawValue + (isInterrupted ? " (stopped early)" : ""))
        for target in plan.targets { row("", target.description) }
        row("load", loadText)
        row(
            "connections",
            "\(Figure.text(figures.ready)) of \(Figure.text(figures.opened)) in "
                + "\(Figure.text(connectSeconds, digits: 2)) s (\(Figure.text(connectionsPerSecond, digits: 0))/s)   "
                + "failed \(Figure.text(figures.failed))   closed by the server \(Figure.text(figures.lost))")
        if let stillOpen { row("still open", "\(Figure.text(stillOpen)) after \(Figure.text(plan.hold, digits: 1)) s") }
        latency("handshake", figures.handshake)
        if plan.mode != .connect || plan.joins { latency("until ready", figures.readiness) }
        if nodes.count > 1 {
            row("nodes", nodes.map { "\($0.name) \(Figure.text($0.connections))" }.joined(separator: "   "))
        }
        if plan.mode == .presence {
            let crowd = figures.crowd
            row(
                "in the room",
                "\(Figure.text(crowd.joined)) after \(Figure.text(crowd.joinSeconds ?? 0, digits: 2)) s   all "
                    + "told of all: \(Figure.text(crowd.settled))"
                    + (crowd.settleSeconds.map { " after \(Figure.text($0, digits: 2)) s" } ?? ""))
            latency("  room_joined after", crowd.joining)
            row(
                "presence_diff",
                "\(Figure.text(crowd.diffs))   to each member \(Figure.text(crowd.diffsPerMember, digits: 1))   "
                    + "at most \(Figure.text(crowd.mostDiffsASecond)) a second   "
                    + "\(Figure.text(Double(crowd.diffBytes) / 1e6, digits: 2)) MB in all")
            row("generator", "CPU \(Figure.text(generatorCPUPercent, digits: 0)) %")
        } else if plan.mode != .connect {
            traffic(row, latency)
        }
        if plan.mode == .churn {
            let churn = figures.churn
            row(
                "came and went",
                "\(Figure.text(churn.completed)) of \(Figure.text(churn.started))   failed \(Figure.text(churn.failed))"
            )
            latency("  handshake", churn.handshake)
            latency("  until in the room", churn.readiness)
        }
        for (text, count) in figures.failures.sorted { row("failure", "\(Figure.text(count)) x \(text)") }
        for (text, count) in figures.errors.sorted { row("error event", "\(Figure.text(count)) x \(text)") }
        for warning in warnings { row("warning", warning) }
        return lines.joined(separator: "\n") + "\n"
    }

    private func traffic(_ row: (String, String) -> Void, _ latency: (String, LatencyRecorder) -> Void) {
        row("measured", "\(Figure.text(measuredSeconds, digits: 1)) s")
        row(
            "messages", "\(Figure.text(messagesPerSecond, digits: 0))/s   sent \(Figure.text(figures.sent)) in all")
        row(
            "deliveries",
            "\(Figure.text(deliveriesPerSecond, digits: 0))/s   \(Figure.text(bytesPerSecond / 1e6, digits: 2)) MB/s   "
                + "got \(Figure.text(figures.received)) of \(Figure.text(expected)) in all")
        row(
            "lost",
            "\(Figure.text(lost))   duplicated \(Figure.text(figures.duplicated))   "
                + "reordered \(Figure.text(figures.reordered))"
                + (figures.invalid > 0 ? "   invalid \(Figure.text(figures.invalid))" : ""))
        if nodes.count > 1 {
            latency("latency, same node", figures.latency)
            latency("latency, cross node", figures.crossNodeLatency)
        } else {
            latency("latency", figures.latency)
        }
        if plan.acks {
            row("acks", "\(Figure.text(figures.acks))   missing \(Figure.text(unacknowledged))")
            latency("  after", figures.ackLatency)
        }
        if let perDelivery = serverMicrosecondsPerDelivery, let server {
            row(
                "server CPU",
                "\(Figure.text(perDelivery, digits: 2)) us a delivery   "
                    + "\(Figure.text(server.cpuSeconds, digits: 2)) s in all")
        }
        row(
            "generator",
            "CPU \(Figure.text(generatorCPUPercent, digits: 0)) %   busiest thread "
                + "\(Figure.text(busiestThreadPercent, digits: 0)) %"
                + (figures.lateness.summary.map { "   late p99 \(Figure.duration($0.p99))" } ?? ""))
    }

    private var loadText: String {
        let clients = "\(Figure.text(plan.clients)) client\(plan.clients == 1 ? "" : "s")"
        let pace =
            switch plan.load {
            case .rate(let rate): "\(Figure.text(rate, digits: rate < 10 ? 2 : 0)) messages/s (open loop)"
            case .window(let window): "\(window) under way each (closed loop)"
            }
        let payload = "\(Figure.text(plan.payloadBytes)) bytes of payload"
        let publishers = "\(Figure.text(plan.publishers)) publisher\(plan.publishers == 1 ? "" : "s")"
        switch plan.mode {
        case .presence:
            return "\(clients) into one room, "
                + (plan.joinRate.map { "\(Figure.text($0, digits: 0)) a second" } ?? "all at once")
        case .connect: return clients + (plan.joins ? " in \(Figure.text(plan.rooms)) rooms" : "")
        case .echo: return "\(clients), \(pace), \(payload)"
        case .rooms: return "\(clients) in \(Figure.text(plan.rooms)) rooms, \(pace), \(payload)"
        case .fanout, .cross: return "\(clients) in one room, \(publishers), \(pace), \(payload)"
        case .churn:
            return "\(clients) in one room, \(publishers), \(pace), \(payload), "
                + "\(Figure.text(plan.churnRate, digits: 0)) come and go a second"
        }
    }
}
