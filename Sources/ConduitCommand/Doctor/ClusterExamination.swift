package import ConduitCluster
import ConduitCore

/// What the nodes in Redis say of each other's health.
package enum ClusterExamination {
    /// `lease`: milliseconds after which a silent node is lost.
    package static func findings(_ rows: [NodeRow], leaseMilliseconds lease: Int64) -> [Finding] {
        guard !rows.isEmpty else { return [Finding("cluster", "nodes", .ok, "none has registered yet")] }
        var findings: [Finding] = []
        let states = Dictionary(grouping: rows, by: \.state).map { ($0.key, $0.value.count) }.sorted { $0.0 < $1.0 }
        let text = "\(rows.count): " + states.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
        let lost = rows.filter { $0.fields.isEmpty || $0.heartbeatAgeMilliseconds > lease }
        if lost.isEmpty {
            findings.append(Finding("cluster", "nodes", .ok, text))
        } else {
            let names = lost.prefix(5).map(\.node.rawValue).joined(separator: ", ")
            findings.append(
                Finding(
                    "cluster", "nodes", .warn, "\(text); silent for longer than a lease: \(names)",
                    remedy: "a node that runs cleans up after it; when it runs itself, it is cut off from Redis"))
        }
        let versions = Set(rows.compactMap { $0.fields["version"] }).sorted()
        if versions.count > 1 {
            findings.append(
                Finding("cluster", "versions", .warn, "different versions run: \(versions.joined(separator: ", "))"))
        }
        for row in rows {
            if let gone = row.number("unrecoverable"), gone > 0 {
                findings.append(
                    Finding(
                        "cluster", "losses", .warn, "\(row.node) has missed \(gone) messages for good since it started",
                        remedy: "a larger redis.ring-bytes and redis.ring-age; conduit audit says whether it goes on"))
            }
            if let lag = row.number("loop_lag_p99_us"), lag > 100_000 {
                findings.append(
                    Finding(
                        "cluster", "loop-lag", .warn,
                        "\(row.node): timers fire \(ShortFigure.duration(microseconds: Double(lag))) late (p99)",
                        remedy: "more CPU, fewer clients on it, or handlers that don't hold up the event loop"))
            }
        }
        // A sick cluster has one cause mostly; the rest is in `conduit cluster`.
        return Array(findings.prefix(20))
    }
}
