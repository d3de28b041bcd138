/// What a run found out. ``table`` is for people, ``json`` for programs.
package struct BenchReport: Sendable {
    package struct Node: Sendable, Hashable {
        package var name: String
        package var connections: Int
    }

    package let plan: BenchPlan
    package let figures: LoadFigures
    package var isInterrupted = false
    package var measuredSeconds = 0.0
    /// Deliveries that were due to members, from the first message to the last.
    package var expected: UInt64 = 0
    package var lost: UInt64 = 0
    package var sentByPublisher: [UInt32] = []
    package var nodes: [Node] = []
    package var generatorCPUPercent = 0.0
    package var busiestThreadPercent = 0.0
    package var server: ServerFigures?
    /// `connect`: connections that were still open after they were held.
    package var stillOpen: Int?

    package init(plan: BenchPlan, figures: LoadFigures) {
        self.plan = plan
        self.figures = figures
    }

    /// Nothing was lost, doubled or out of order, and every connection came and stayed.
    package var isClean: Bool {
        lost == 0 && figures.duplicated == 0 && figures.reordered == 0 && figures.invalid == 0 && figures.failed == 0
            && figures.lost == 0 && figures.churn.failed == 0
            && (plan.mode != .presence || crowdIsWhole) && unacknowledged == 0
    }

    /// Messages that were to be answered and were not: no `ack` came, or an `error`.
    package var unacknowledged: UInt64 {
        plan.acks && figures.sent > figures.acks ? figures.sent - figures.acks : 0
    }

    /// `presence`: everybody got in and was told the right number in the end.
    package var crowdIsWhole: Bool {
        figures.crowd.joined == figures.ready && figures.crowd.settled == figures.ready
    }

    package var connectSeconds: Double {
        figures.lastReadyAt > figures.firstOpenedAt
            ? Double(figures.lastReadyAt - figures.firstOpenedAt) / 1e9 : 0
    }

    package var connectionsPerSecond: Double {
        connectSeconds > 0 ? Double(figures.ready) / connectSeconds : 0
    }

    package var messagesPerSecond: Double { perSecond(figures.measuredSent) }
    package var deliveriesPerSecond: Double { perSecond(figures.measuredReceived) }
    package var bytesPerSecond: Double { perSecond(figures.measuredBytes) }

    private func perSecond(_ count: UInt64) -> Double { measuredSeconds > 0 ? Double(count) / measuredSeconds : 0 }

    /// Why the figures may say more about the generator than about the server; empty when it kept up.
    package var warnings: [String] {
        var warnings: [String] = []
        if busiestThreadPercent > 90 {
            warnings.append(
                "the generator was the bottleneck: its busiest thread worked "
                    + "\(Figure.text(busiestThreadPercent, digits: 0)) % of the time; use more --threads or machines")
        }
        if let lateness = figures.lateness.summary, lateness.p99 > 5000 {
            warnings.append(
                "the generator was late: p99 \(Figure.duration(lateness.p99)); latencies contain it, the server is "
                    + "better than they say")
        }
        if figures.held > 0 {
            warnings.append(
                "\(Figure.text(figures.held)) messages were due but not sent, because the server took no more "
                    + "of their publishers: the rate is above what it bears")
        }
        if figures.timeouts > 0 {
            warnings.append("\(Figure.text(figures.timeouts)) messages were given up after \(plan.lossTimeout) s")
        }
        if figures.churn.skipped > 0 {
            warnings.append("\(Figure.text(figures.churn.skipped)) comings were left out: too many were under way")
        }
        if !plan.adminURLs.isEmpty, server == nil, plan.mode != .connect {
            warnings.append("the figures of the servers could not be read from every --admin-url")
        }
        return warnings
    }

    package var isGeneratorTheBottleneck: Bool {
        busiestThreadPercent > 90 || (figures.lateness.summary.map { $0.p99 > 5000 } ?? false)
    }

    /// CPU of the servers for each delivery, in microseconds.
    package var serverMicrosecondsPerDelivery: Double? {
        guard let server, server.deliveries > 0 else { return nil }
        return server.cpuSeconds * 1e6 / server.deliveries
    }
}
