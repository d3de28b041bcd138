import ConduitAuth
import ConduitCluster
import ConduitCore
import ConduitGateway
import ConduitHub
import ConduitTelemetry
import Logging

// Other settings while the node runs.
extension NodeParts {
    /// Reads, plans, tries what may fail, and only then changes anything.
    func reload(reading read: @escaping @Sendable () throws -> NodeConfiguration) async throws -> ReloadReport {
        try await live.serially { [self] in
            do {
                return try await take(read())
            } catch {
                live.failed()
                tellFailure(error)
                throw error
            }
        }
    }

    private func take(_ new: NodeConfiguration) async throws -> ReloadReport {
        var new = new
        if authenticator == nil, !decidesItself { new.applyOpenRules() }
        let plan = ReloadPlan(from: live.current, to: new, decidesItself: decidesItself)
        let next = plan.configuration
        let hasNewCertificate = try await gateway.reloadCertificates()
        if plan.changesAuthentication { try await authenticator?.replace(next.auth) }
        level.level = next.logLevel
        await hub.reload(next.hub, authorizes: asksServer ? authenticator?.questions : nil)
        await gateway.reload(next.gateway, clientLimits: next.hub)
        bridge.reload(rooms: next.hub.rooms, replayBytes: next.hub.pendingBytes / 2)
        live.took(next, isChanged: !plan.changed.isEmpty || hasNewCertificate)
        let report = ReloadReport(
            changed: plan.changed, needsRestart: plan.needsRestart, hasNewCertificate: hasNewCertificate)
        tell(report)
        return report
    }

    private func tell(_ report: ReloadReport) {
        var metadata: Logger.Metadata = [:]
        if !report.changed.isEmpty { metadata[LogKey.changed] = "\(report.changed.joined(separator: ","))" }
        guard report.needsRestart.isEmpty else {
            metadata[LogKey.needsRestart] = "\(report.needsRestart.joined(separator: ","))"
            return logger.warning("configuration reloaded; some settings need a new start", metadata: metadata)
        }
        if report.changed.isEmpty {
            logger.notice("configuration reloaded; no setting has changed")
        } else {
            logger.notice("configuration reloaded", metadata: metadata)
        }
    }

    /// Every problem, a line each, and never the value of a secret.
    private func tellFailure(_ error: any Error) {
        guard let error = error as? ConfigurationError else {
            return logger.error(
                "configuration not reloaded, the old one stays", metadata: [LogKey.error: "\(error)"])
        }
        for problem in error.problems.prefix(Self.toldProblems) {
            logger.error(
                "the configuration is wrong",
                metadata: [
                    LogKey.key: "\(problem.key)", LogKey.source: "\(problem.source)",
                    LogKey.error: "\(problem.message)",
                ])
        }
        logger.error(
            "configuration not reloaded, the old one stays", metadata: [LogKey.count: "\(error.problems.count)"])
    }

    private static let toldProblems = 100
}
